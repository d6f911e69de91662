"""Downloading files from mirrors; the only place that talks to the network."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

import pooch

from cnnkit.errors import DataError

MAX_BYTES = 2**27
"""Most bytes of a file; the largest that is known here has 26 million."""
TIMEOUT = 30.0
"""Seconds to wait for a connection, and for each further piece of a file."""


class _Limited:
    """A file that takes MAX_BYTES: what a server announces, or sends without announcing, proves nothing."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, chunk: bytes) -> None:
        if self._file.tell() + len(chunk) > MAX_BYTES:
            raise DataError(f"{self._file.name}: expected at most {MAX_BYTES:,} bytes, the server sends more")
        self._file.write(chunk)

    def flush(self) -> None:
        self._file.flush()


def download(name: str, mirrors: Iterable[str], folder: Path, check: Callable[[Path], object]) -> None:
    """Bring one file into a folder, from the first mirror that gives it whole and right.

    check: raises DataError for wrong content; it sees the file before it gets its place, so that what lies there is
    always complete and right.
    Raises DataError with the reason of each mirror.
    """
    fetch = pooch.HTTPDownloader(timeout=TIMEOUT, chunk_size=2**16)
    reasons = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as scratch:
            part = Path(scratch, name)
            for url in (mirror + name for mirror in mirrors):
                try:
                    with part.open("wb") as file:
                        fetch(url, _Limited(file), None)
                    check(part)
                except DataError as error:
                    reasons.append(str(error).replace(str(part), url))
                except (OSError, ValueError) as error:  # those of requests are OSErrors; pooch parses a header's number
                    reasons.append(f"{url}: {error}")
                else:
                    os.replace(part, folder / name)
                    return
    except OSError as error:
        raise DataError(f"the folder cannot be written: {error}") from error
    raise DataError("\n  ".join(["no mirror gave it:", *reasons]))
