"""One file from one address over HTTP, continued where an earlier transfer ended.

This is `requests` itself: pooch, which is made of it, always begins at the first byte, so that a large file never
comes over a connection that is cut now and then. Nothing that a server says is believed: its word decides what is
asked for next, never what is right.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import requests

from cnnkit.data.downloading.arrivals import CutError, arrivals
from cnnkit.errors import DataError

MAX_DOWNLOAD_BYTES = 2**27
"""Most bytes of a file whose size is not known; the largest of them has 26 million."""
PROGRESS = 2**16
"""Bytes that a connection must deliver so that it does not count as failed."""
CONNECTIONS = 1000
"""Most connections for one file."""
TRIES = 4
"""Failed connections in a row after which the download gives up."""
PAUSE = 1.0
"""Seconds before the second of them; each further one waits twice as long."""
_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")

Report = Callable[[int, int | None], None]
"""Is told how many bytes have arrived, and how many there will be, if known."""


def receive(url: str, file: BinaryIO, folder: Path, size: int | None, report: Report) -> bool:
    """Append to a file what it lacks of the one at `url`; return whether its beginning is from another connection.

    folder: for what comes from the start again; size: bytes of the whole file, None if that is not known. A connection
    that is cut, or too slow, is made again, as long as that brings something. Whatever the server sends, `file` never
    grows beyond `size`, or else MAX_DOWNLOAD_BYTES, and loses nothing before more has come.
    Raises DataError if the server does not give the rest; what has come stays in `file`.
    """
    begun = _length(file)
    failures = 0
    for _ in range(CONNECTIONS):
        before = _length(file)
        try:
            return _request(url, file, folder, before, size, report) > 0
        except CutError as error:
            now = _length(file)
            failures = 0 if now - before >= PROGRESS else failures + 1
            if now <= begun or failures >= TRIES:
                raise DataError(f"{url}: {error}") from error
            if failures:
                time.sleep(PAUSE * 2 ** (failures - 1))
    raise DataError(f"{url}: the connection was cut {CONNECTIONS:,} times")


def _request(url: str, file: BinaryIO, folder: Path, offset: int, size: int | None, report: Report) -> int:
    """Receive from `offset` on, or from the start if the server knows no ranges; where it began."""
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
    with contextlib.closing(arrivals(url, headers)) as arriving:
        response = next(arriving)
        if offset and response.status_code == requests.codes.range_not_satisfiable:
            return offset  # there is no more: whether this is the file, its hash will say
        begins, total = _extent(url, response)
        if begins in (0, offset):
            _check_total(url, total, size)
            receiver = _store if begins == _length(file) else partial(_restart, folder)
            receiver(url, arriving, file, size or total, size or MAX_DOWNLOAD_BYTES, report)
            return begins
    if offset:
        return _request(url, file, folder, 0, size, report)
    raise DataError(f"{url}: expected the whole file, the server sends a part of it")


def _extent(url: str, response: Any) -> tuple[int | None, int | None]:
    """Where what a server sends begins, None if it does not say so, and how long it says that the whole file is."""
    if response.status_code == requests.codes.partial_content:
        found = _RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        if not found:
            return None, None
        return int(found[1]), None if found[2] == "*" else int(found[2])
    if response.status_code != requests.codes.ok:
        raise DataError(f"{url}: {response.status_code} {response.reason}, though no range was asked for")
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if re.fullmatch(r"\d{1,18}", length) else None


def _check_total(url: str, total: int | None, size: int | None) -> None:
    """Refuse another file before any of it comes, such as a login page."""
    if total is not None and size is not None and total != size:
        raise DataError(f"{url}: expected a file of {size:,} bytes, the server has one of {total:,}")
    if total is not None and size is None and total > MAX_DOWNLOAD_BYTES:
        raise DataError(f"{url}: expected at most {MAX_DOWNLOAD_BYTES:,} bytes, the server has {total:,}")


def _store(url: str, arriving: Iterator[bytes], file: BinaryIO, whole: int | None, most: int, report: Report) -> None:
    """Write at the end of the file what comes."""
    report(_length(file), whole)
    for chunk in arriving:
        if file.tell() + len(chunk) > most:
            file.seek(0)
            file.truncate()
            raise DataError(f"{url}: expected at most {most:,} bytes, the server sends more")
        file.write(chunk)
        file.flush()
        report(file.tell(), whole)
    if whole is not None and file.tell() < whole:
        raise CutError(f"the connection was cut after {file.tell():,} of {whole:,} bytes")


def _restart(
    folder: Path,
    url: str,
    arriving: Iterator[bytes],
    file: BinaryIO,
    whole: int | None,
    most: int,
    report: Report,
) -> None:
    """Put what comes from the start in the file's place once it is all, or more than was there: it may be a login page.

    That a server ends without having said how much it has, says nothing.
    """
    there = _length(file)
    with tempfile.TemporaryFile(dir=folder) as anew:
        try:
            _store(url, arriving, anew, whole, most, report)
            if whole is None and _length(anew) < there:
                raise CutError(f"the server sent only {_length(anew):,} bytes, but {there:,} were received before")
        except CutError:
            if _length(anew) > there:
                _replace(file, anew)
            raise
        _replace(file, anew)


def _replace(file: BinaryIO, other: BinaryIO) -> None:
    file.seek(0)
    file.truncate()
    other.seek(0)
    shutil.copyfileobj(other, file)


def _length(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)
