"""What comes from a server, as it comes, until it comes too slowly."""

from __future__ import annotations

import http.client
import queue
import socket
import threading
import time
from collections.abc import Generator
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from cnnkit.errors import DataError

TIMEOUT = 30.0
"""Seconds to wait for an answer, and for each LEAST bytes of the file after that."""
LEAST = 2**15
"""About 1 KiB in a second: slower than any telephone line, and not worth to be waited for."""
CHUNK = 2**16
WAITING = 16
"""Pieces that may have come and are not written yet."""


class CutError(Exception):
    """A connection ended before the file did, or is too slow; what has come is right as far as it goes."""


def arrivals(url: str, headers: dict[str, str]) -> Generator[Any, None, None]:
    """Yield the response to a request, then the file's bytes, as they are on the wire: nothing is decoded.

    A thread reads them, because no timeout of a socket ends what brings one byte now and then: a header, or the frame
    between two chunks of a file. Raises CutError for a connection that is cut or too slow, DataError for a refusal.
    """
    arrived: queue.Queue[Any] = queue.Queue(WAITING)
    given_up = threading.Event()
    threading.Thread(target=_read, args=(url, headers, arrived, given_up), daemon=True).start()
    try:
        until, count = time.monotonic() + TIMEOUT, 0
        while True:
            try:
                piece = arrived.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise CutError(f"less than {LEAST:,} bytes arrived in {TIMEOUT:g} seconds") from None
            if piece is None:
                return
            if isinstance(piece, Exception):
                raise piece
            yield piece
            count += len(piece) if isinstance(piece, bytes) else LEAST
            if count >= LEAST:
                until, count = time.monotonic() + TIMEOUT, 0
    finally:
        given_up.set()


def _read(url: str, headers: dict[str, str], arrived: queue.Queue[Any], given_up: threading.Event) -> None:
    """Put into the queue what comes, and at last None, or why there is no more."""

    def is_wanted(piece: Any) -> bool:
        while not given_up.is_set():
            try:
                arrived.put(piece, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    last: Exception | None = None
    try:
        with _get(url, headers) as response:
            more = is_wanted(response)
            while more and (chunk := response.raw.read1(CHUNK, decode_content=False)):
                more = is_wanted(chunk)
    except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
        last = CutError(f"the connection was cut: {error}")
    except Exception as error:
        last = error
    is_wanted(last)


def _why(error: requests.RequestException, url: str) -> str:
    """Why there is no connection, in the words of a person: those of the libraries name objects and repeat the address.

    The first of all causes knows it.
    """
    causes: list[Any] = [error]
    while more := [one for one in _reasons(causes[-1]) if one not in causes]:
        causes.append(more[0])
    host = urlsplit(url).hostname
    if any(isinstance(one, socket.gaierror) for one in causes):
        return f"no address is known for {host}: is this machine offline?"
    if isinstance(error, requests.Timeout):
        return f"no answer in {TIMEOUT:g} seconds"
    return f"no connection to {host}: {getattr(causes[-1], 'strerror', None) or causes[-1]}"


def _reasons(error: Any) -> list[BaseException]:
    found = (getattr(error, "reason", None), *getattr(error, "args", ()), error.__cause__, error.__context__)
    return [one for one in found if isinstance(one, BaseException)]


def _get(url: str, headers: dict[str, str]) -> Any:
    try:
        response = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT)
    except (requests.ConnectionError, requests.Timeout) as error:
        raise CutError(_why(error, url)) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise DataError(f"{url}: {error}") from error
    if response.status_code in (200, 206, 416):
        return response
    response.close()
    raise DataError(f"{url}: {response.status_code} {response.reason}")
