"""One file from one address over HTTP, continued where an earlier transfer ended.

This is `requests` itself: pooch, which is made of it, always begins at the first byte, so that a large file never
comes over a connection that is cut now and then. Nothing that a server says is believed: its word decides what is
asked for next, never what is right.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import requests
import urllib3

from cnnkit.errors import DataError

MAX_BYTES = 2**27
"""Most bytes of a file whose size is not known; the largest of them has 26 million."""
TIMEOUT = 30.0
"""Seconds to wait for a connection, and for each further piece of a file."""
CHUNK = 2**16
TRIES = 4
"""Connections in a row that bring nothing new, after which a server is given up."""
PAUSE = 1.0
"""Seconds before the second of them; each further one waits twice as long."""
_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")

Report = Callable[[int, int | None], None]
"""Told how many bytes there are, and how many there will be, if that is known."""


class _CutError(Exception):
    """A connection ended before the file did; what has come is right as far as it goes."""


def receive(url: str, file: BinaryIO, size: int | None, report: Report) -> bool:
    """Append to a file what it lacks of the one at `url`; return whether its beginning is from another connection.

    size: bytes of the whole file, None if that is not known. A connection that is cut is made again, as long as that
    brings something. Whatever the server sends, `file` never grows beyond `size`, or else MAX_BYTES.
    Raises DataError if the server does not give the rest; what has come stays in `file`.
    """
    begun = _length(file)
    failures = 0
    while True:
        before = _length(file)
        try:
            return _request(url, file, before, size, report) > 0
        except _CutError as error:
            now = _length(file)
            failures = 0 if now > before else failures + 1
            if now <= begun or failures >= TRIES:
                raise DataError(f"{url}: {error}") from error
            if failures:
                time.sleep(PAUSE * 2 ** (failures - 1))


def _request(url: str, file: BinaryIO, offset: int, size: int | None, report: Report) -> int:
    """Receive from `offset` on, or from the start if the server knows no ranges; where it began."""
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
    with _get(url, headers) as response:
        if offset and response.status_code == requests.codes.range_not_satisfiable:
            return offset  # there is no more: whether this is the file, its hash will say
        begins, total = _extent(url, response)
        if begins in (0, offset):
            _check_total(url, total, size)
            file.seek(begins)
            file.truncate()
            _store(url, response, file, size or total, size or MAX_BYTES, report)
            return begins
    if offset:
        return _request(url, file, 0, size, report)
    raise DataError(f"{url}: expected the whole file, the server sends a part of it")


def _get(url: str, headers: dict[str, str]) -> Any:
    try:
        response = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT)
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _CutError(str(error)) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise DataError(f"{url}: {error}") from error
    if response.status_code in (200, 206, 416):
        return response
    response.close()
    raise DataError(f"{url}: {response.status_code} {response.reason}")


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
    if total is not None and size is None and total > MAX_BYTES:
        raise DataError(f"{url}: expected at most {MAX_BYTES:,} bytes, the server has {total:,}")


def _store(url: str, response: Any, file: BinaryIO, whole: int | None, most: int, report: Report) -> None:
    report(file.tell(), whole)
    for chunk in _chunks(response):
        if file.tell() + len(chunk) > most:
            file.seek(0)
            file.truncate()
            raise DataError(f"{url}: expected at most {most:,} bytes, the server sends more")
        file.write(chunk)
        report(file.tell(), whole)
    if whole is not None and file.tell() < whole:
        raise _CutError(f"the connection was cut after {file.tell():,} of {whole:,} bytes")


def _chunks(response: Any) -> Iterator[bytes]:
    """What comes over the wire, as it comes: a `Content-Encoding` would not keep the file's bytes."""
    try:
        yield from response.raw.stream(CHUNK, decode_content=False)
    except urllib3.exceptions.HTTPError as error:
        raise _CutError(f"the connection was cut: {error}") from error


def _length(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)
