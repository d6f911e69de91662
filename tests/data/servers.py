"""A file server that does what servers do, or should not do, when a download is continued."""

from __future__ import annotations

import gzip
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NAME = "images.gz"
Answer = Callable[["Server", BaseHTTPRequestHandler, int | None], None]
"""Answers a request for the file from a byte on; None: a request for all of it."""


class Server:
    """Serves `content`, in the way of `answer`; `asked` has the offset of each request, None without a range."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.answer: Answer = honest
        self.asked: list[int | None] = []
        self.stalled, self.go_on = threading.Event(), threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
                offset = int(found[1]) if found else None
                server.asked.append(offset)
                server.answer(server, self, offset)

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"


@contextmanager
def serving(content: bytes) -> Iterator[Server]:
    server = Server(content)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.http.shutdown()
        thread.join()
        server.http.server_close()


def send(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], content: bytes) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(content)


def length(value: int) -> dict[str, str]:
    return {"Content-Length": str(value)}


def content_range(offset: int, total: int) -> dict[str, str]:
    return {"Content-Range": f"bytes {offset}-{total - 1}/{total}"}


def honest(server: Server, handler: BaseHTTPRequestHandler, offset: int | None) -> None:
    whole = server.content
    if offset is None:
        send(handler, 200, length(len(whole)), whole)
    elif offset >= len(whole):
        send(handler, 416, {"Content-Range": f"bytes */{len(whole)}"} | length(0), b"")
    else:
        send(handler, 206, content_range(offset, len(whole)) | length(len(whole) - offset), whole[offset:])


def ignores_ranges(server: Server, handler: BaseHTTPRequestHandler, offset: int | None) -> None:
    honest(server, handler, None)


def sends_another_range(server: Server, handler: BaseHTTPRequestHandler, offset: int | None) -> None:
    honest(server, handler, offset and offset // 2)


def sends_other_bytes_for_a_range(server: Server, handler: BaseHTTPRequestHandler, offset: int | None) -> None:
    if offset is None or offset >= len(server.content):
        return honest(server, handler, offset)
    rest = bytes(byte ^ 1 for byte in server.content[offset:])
    return send(handler, 206, content_range(offset, len(server.content)) | length(len(rest)), rest)


def sends_other_bytes(server: Server, handler: BaseHTTPRequestHandler, offset: int | None) -> None:
    send(handler, 200, length(len(server.content)), server.content[::-1])


def sends_more(server: Server, handler: BaseHTTPRequestHandler, offset: int | None) -> None:
    send(handler, 200, length(len(server.content) + 9), server.content + b"and more.")


def sends_more_without_a_length(server: Server, handler: BaseHTTPRequestHandler, offset: int | None) -> None:
    send(handler, 200, {}, server.content + b"and more.")


def announces_more_than_it_sends(server: Server, handler: BaseHTTPRequestHandler, offset: int | None) -> None:
    send(handler, 200, length(len(server.content) + 9), server.content)


def announces_less_than_it_sends(server: Server, handler: BaseHTTPRequestHandler, offset: int | None) -> None:
    send(handler, 200, length(len(server.content) - 9), server.content)


def announces_nonsense(server: Server, handler: BaseHTTPRequestHandler, offset: int | None) -> None:
    send(handler, 206 if offset else 200, {"Content-Length": "-5", "Content-Range": "bytes x-y/z"}, server.content)


def refuses_ranges(server: Server, handler: BaseHTTPRequestHandler, offset: int | None) -> None:
    send(handler, 416, length(0), b"") if offset else honest(server, handler, None)


def sends_a_login_page(server: Server, handler: BaseHTTPRequestHandler, offset: int | None) -> None:
    page = b"<html>log in</html>"
    send(handler, 200, length(len(page)), page)


def is_broken(server: Server, handler: BaseHTTPRequestHandler, offset: int | None) -> None:
    send(handler, 503, length(0), b"")


def compresses(server: Server, handler: BaseHTTPRequestHandler, offset: int | None) -> None:
    if "gzip" not in handler.headers.get("Accept-Encoding", "gzip"):
        return honest(server, handler, offset)
    content = gzip.compress(server.content)
    return send(handler, 200, length(len(content)) | {"Content-Encoding": "gzip"}, content)


def sends_a_login_page_without_a_length(server: Server, handler: BaseHTTPRequestHandler, offset: int | None) -> None:
    chunk = b"13\r\n<html>log in</html>\r\n0\r\n\r\n"
    handler.protocol_version = "HTTP/1.1"
    send(handler, 200, {"Transfer-Encoding": "chunked", "Connection": "close"}, chunk)


def sends_a_byte_for_each_connection(server: Server, handler: BaseHTTPRequestHandler, offset: int | None) -> None:
    cuts((offset or 0) + 1, once=False)(server, handler, offset)


def drips(head: bytes, drop: bytes) -> Answer:
    """Send something, and then a little for ever."""

    def answer(server: Server, handler: BaseHTTPRequestHandler, offset: int | None) -> None:
        handler.wfile.write(head)
        while not server.go_on.wait(0.02):
            handler.wfile.write(drop)

    return answer


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
DRIPPING = {
    "in the status": drips(b"", b"H"),
    "in the headers": drips(b"HTTP/1.1 200 OK\r\n", b"a"),
    "in the file": drips(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", b"x"),
    "in a chunk's size": drips(CHUNKED, b"0"),
    "in the trailer": drips(CHUNKED + b"1\r\nx\r\n0\r\n", b"a: b\r\n"),
}
"""Where a server lets drip what it sends."""


def cuts(end: int, *, known: bool = True, ranges: bool = True, once: bool = True) -> Answer:
    """Close the connection at that byte of the file: the first time, or every time."""

    def answer(server: Server, handler: BaseHTTPRequestHandler, offset: int | None) -> None:
        offset = offset if ranges else None
        if once and len(server.asked) > 1:
            return honest(server, handler, offset)
        total = len(server.content)
        headers = length(total - (offset or 0)) if known else {}
        if offset is None:
            return send(handler, 200, headers, server.content[:end])
        return send(handler, 206, headers | content_range(offset, total), server.content[offset:end])

    return answer


def stalls(end: int) -> Answer:
    """Send the file up to a byte, and the rest when `go_on` is set."""

    def answer(server: Server, handler: BaseHTTPRequestHandler, offset: int | None) -> None:
        send(handler, 200, length(len(server.content)), server.content[:end])
        server.stalled.set()
        server.go_on.wait(600)
        handler.wfile.write(server.content[end:])

    return answer


MISBEHAVIOUR: tuple[Answer, ...] = (
    ignores_ranges,
    sends_another_range,
    sends_other_bytes_for_a_range,
    sends_other_bytes,
    sends_more,
    sends_more_without_a_length,
    announces_more_than_it_sends,
    announces_less_than_it_sends,
    announces_nonsense,
    refuses_ranges,
    sends_a_login_page,
    sends_a_login_page_without_a_length,
    compresses,
    is_broken,
)
