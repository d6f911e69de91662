"""IDX files as bytes, a small stand-in for MNIST, and a mirror on this machine."""

from __future__ import annotations

import gzip
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from cnnkit.data import MNIST
from cnnkit.types import Array


def idx_bytes(array: Array) -> bytes:
    header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def idx() -> Callable[[Array], bytes]:
    return idx_bytes


@pytest.fixture
def small_mnist(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Raw files with 20 and 10 images; MNIST's hashes are theirs for the time of the test."""
    rng = np.random.default_rng(0)
    files = {}
    for part, count in (("train", 20), ("t10k", 10)):
        files[f"{part}-images-idx3-ubyte"] = idx_bytes(rng.integers(0, 256, (count, 28, 28)))
        files[f"{part}-labels-idx1-ubyte"] = idx_bytes(np.arange(count) % 10)
    monkeypatch.setattr(
        MNIST, "hashes", {name: f"sha256:{hashlib.sha256(raw).hexdigest()}" for name, raw in files.items()}
    )
    return files


class Mirror:
    """Serves `files` by name."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[str] = []
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[1]
                mirror.asked.append(name)
                if name not in mirror.files:
                    self.send_error(404)
                    return
                content = mirror.files[name]
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/mnist/"


@pytest.fixture
def mirror(small_mnist: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A mirror with the gzipped files of `small_mnist`; MNIST's mirrors are a port without a server, then this."""
    made = Mirror({f"{name}.gz": gzip.compress(raw, mtime=0) for name, raw in small_mnist.items()})
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        monkeypatch.setattr(MNIST, "mirrors", (f"http://127.0.0.1:{silent.getsockname()[1]}/", made.url))
        yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()
