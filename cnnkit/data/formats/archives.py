"""Reading members of archives where they lie, by their exact names: nothing is ever extracted.

An archive may come from anybody. One with a link, a device or a name that leads out of it is refused as a whole, even
if the members that are wanted look right.
"""

from __future__ import annotations

import gzip
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from cnnkit.data.formats.checked_files import MAX_DATA_FILE_BYTES
from cnnkit.errors import DataError

SLACK = 2**22
"""Bytes that a tar archive may have besides the members that are wanted: headers, a page that describes it."""
MAX_MEMBERS = 100
"""Members of an archive; the largest that is known here has 31."""
_ENCRYPTED = 0x1
_ALLOWED = "expected files and folders only"


@dataclass
class _Limited:
    """A stream that refuses to give more than some bytes: a few kilobytes of gzip may hold gigabytes."""

    stream: gzip.GzipFile
    most: int
    path: Path

    def read(self, size: int) -> bytes:
        content = self.stream.read(size)
        if self.stream.tell() > self.most:
            raise DataError(f"{self.path}: expected at most {self.most:,} bytes in the archive, it has more")
        return content


def read_tar(file: BinaryIO, path: Path, sizes: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
    """Yield the members of a gzipped tar archive that are named in `sizes`, each as long as it says there.

    path: the archive's, for messages. Raises DataError for an archive that is damaged, or anything else than expected.
    """
    missing = set(sizes)
    try:
        with gzip.GzipFile(fileobj=file) as stream:
            limited = _Limited(stream, sum(sizes.values()) + SLACK, path)
            with tarfile.open(fileobj=cast(BinaryIO, limited), mode="r|") as archive:
                for number, member in enumerate(archive):
                    name = _tar_name(member, path)
                    if number >= MAX_MEMBERS:
                        raise DataError(f"{path}: expected at most {MAX_MEMBERS} members, it has more")
                    if name not in sizes:
                        continue
                    if name not in missing:
                        raise DataError(f"{path}: expected {name!r} once, found it again")
                    content = archive.extractfile(member) if member.isfile() and not member.issparse() else None
                    if content is None or member.size != sizes[name]:
                        raise DataError(f"{path}: expected {name!r} of {sizes[name]:,} bytes, got {member.size:,}")
                    missing.remove(name)
                    yield name, content.read()
            while rest := limited.read(2**16):  # zeros, and then the checksum of all
                if rest.strip(b"\0"):
                    raise DataError(f"{path}: trailing bytes after the end of the archive")
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
        raise DataError(f"{path}: the archive is damaged: {error}") from error
    if missing:
        raise DataError(f"{path}: expected the members {', '.join(sorted(missing))}, which are missing")


def _tar_name(member: tarfile.TarInfo, path: Path) -> str:
    _check_name(member.name, path)
    if not (member.isfile() or member.isdir()):
        raise DataError(f"{path}: its member {member.name!r} is a link or a device; {_ALLOWED}")
    return posixpath.normpath(member.name)


def read_zip(file: BinaryIO, path: Path, name: str) -> bytearray:
    """The member of that name. Raises DataError for an archive that is damaged, or anything else than expected."""
    try:
        with zipfile.ZipFile(file) as archive:
            entry = _zip_entry(archive.infolist(), path, name)
            with archive.open(entry) as member:
                return bytearray(member.read(MAX_DATA_FILE_BYTES))
    except DataError:
        raise
    except Exception as error:  # a damaged archive makes zipfile and zlib fail in a dozen ways
        raise DataError(f"{path}: the archive is damaged: {error} ({type(error).__name__})") from error


def _zip_entry(entries: list[zipfile.ZipInfo], path: Path, name: str) -> zipfile.ZipInfo:
    if len(entries) > MAX_MEMBERS:
        raise DataError(f"{path}: expected at most {MAX_MEMBERS} members, it has {len(entries):,}")
    for entry in entries:
        _check_name(entry.orig_filename, path)
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(f"{path}: its member {entry.orig_filename!r} is a link or a device; {_ALLOWED}")
    found = [entry for entry in entries if entry.filename == name]
    if len(found) != 1:
        raise DataError(f"{path}: expected the member {name!r} once, found it {len(found)} times")
    if found[0].flag_bits & _ENCRYPTED or found[0].file_size > MAX_DATA_FILE_BYTES:
        raise DataError(f"{path}: its member {name!r} is encrypted, or has more than {MAX_DATA_FILE_BYTES:,} bytes")
    return found[0]


def _check_name(name: str, path: Path) -> None:
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or ":" in name or "\0" in name:
        raise DataError(f"{path}: its member {name!r} points outside the archive, so the archive is not used")
