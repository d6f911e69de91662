"""Files from elsewhere: only regular ones are opened, and size and hash are checked before anything else is read."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from cnnkit.errors import DataError
from cnnkit.file_kinds import GZIP, SAMPLE, ZIP, foreign
from cnnkit.user_folders import expanded

MAX_DATA_FILE_BYTES = 2**30
"""Neither a file nor what is compressed in it may be larger; the largest that is known here has 562 million bytes."""


@dataclass(frozen=True)
class Published:
    """A file as it is published."""

    name: str
    size: int
    hash: str
    """The hash of its bytes, after the algorithm's name and a colon."""


def find_given(name: str, data_dir: Path) -> Path:
    """The file or folder that a user names, below `data_dir` or below the working directory.

    Raises DataError where nothing is, naming both.
    """
    given = expanded(name)
    candidates = dict.fromkeys((data_dir / given, given.absolute()))
    found = next((path for path in candidates if os.path.exists(path)), None)
    if found is None:
        raise DataError(
            f"no file {name}: looked for {' and '.join(map(str, candidates))}; "
            "name its folder with --data-dir or CNNKIT_DATA_DIR"
        )
    return found


def open_regular(path: Path, kind: str) -> BufferedReader:
    """Open a file for reading; kind: what it is expected to be, for the message, such as "an IDX file".

    Raises DataError if it cannot be read, is not a regular file, or is larger than MAX_DATA_FILE_BYTES.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # asked before opening, because opening a pipe would wait forever
            raise DataError(f"{path}: expected {kind}, this is not a regular file")
        if status.st_size > MAX_DATA_FILE_BYTES:
            raise DataError(f"{path}: expected {kind} of at most {MAX_DATA_FILE_BYTES:,} bytes, got {status.st_size:,}")
        return path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: expected {kind}, it cannot be read: {error.strerror}") from error


def open_published(path: Path, published: Published) -> BufferedReader:
    """Open a file that has the size and the hash of the published one. Raises DataError for any other."""
    file = open_regular(path, published.name)
    try:
        size = os.fstat(file.fileno()).st_size
        if size != published.size:
            what = (
                "it is truncated, or a different file"
                if size < published.size
                else "it is a different file, or has extra bytes"
            )
            what = foreign(file.read(SAMPLE), GZIP, ZIP) or what
            raise DataError(f"{path}: expected the {published.size:,} bytes of {published.name}, got {size:,}: {what}")
        algorithm = published.hash.partition(":")[0]
        _compare(hashlib.file_digest(file, lambda: _hasher(algorithm)).hexdigest(), published.hash, "a file ", path)
        file.seek(0)
    except BaseException as error:
        file.close()
        if isinstance(error, OSError):
            raise DataError(f"{path}: it cannot be read: {error.strerror}") from error
        raise
    return file


def check_hash(content: bytes | bytearray, expected: str, path: Path, what: str = "content ") -> None:
    """Raise DataError unless the content hashes to what is expected, such as "sha256:0fa7..."."""
    hasher = _hasher(expected.partition(":")[0])
    hasher.update(content)
    _compare(hasher.hexdigest(), expected, what, path)


def _hasher(algorithm: str) -> hashlib._Hash:
    return hashlib.new(algorithm, usedforsecurity=False)


def _compare(got: str, expected: str, what: str, path: Path) -> None:
    algorithm, _, digits = expected.partition(":")
    if got != digits:
        raise DataError(
            f"{path}: this is a different file, or a damaged one: expected {what}with {algorithm} {digits}, got {got}"
        )
