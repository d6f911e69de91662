"""A process of Node that executes a model: arrays are sent over pipes, as run.mjs says."""

from __future__ import annotations

import contextlib
import json
import math
import resource
import subprocess
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from cnnkit.plugin import Array

SCRIPT = Path(__file__).with_name("run.mjs")


class Node:
    """A process with one model. Raises RuntimeError if it cannot execute that, OSError if it cannot be started."""

    def __init__(self, program: str, package: Path, model: bytes) -> None:
        with _any_address_space():
            self._process = subprocess.Popen(  # noqa: S603  # the user's own Node
                [program, str(SCRIPT), str(package)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        self._close = weakref.finalize(self, _end, self._process)
        self.run({"model": np.frombuffer(model, np.uint8)})

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs of the model, by name. Raises RuntimeError if there are none."""
        with contextlib.suppress(BrokenPipeError):  # that it has ended is told by what it does not reply
            _write(cast("IO[bytes]", self._process.stdin), inputs)
        try:
            facts, outputs = _read(cast("IO[bytes]", self._process.stdout))
        except (EOFError, ValueError):
            self._close()
            raise RuntimeError(f"Node ended with exit code {self._process.returncode} and without an answer") from None
        if "error" in facts:
            raise RuntimeError(str(facts["error"]))
        return outputs


def _write(stream: IO[bytes], arrays: Mapping[str, Array]) -> None:
    little = {name: array.astype(array.dtype.newbyteorder("<")) for name, array in arrays.items()}
    shapes = [[name, array.dtype.str, array.shape] for name, array in little.items()]
    head = json.dumps({"facts": {}, "arrays": shapes}).encode()
    stream.write(len(head).to_bytes(8, "little") + head)
    for array in little.values():
        stream.write(array.tobytes())
    stream.flush()


def _read(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, Array]]:
    head = json.loads(_exactly(stream, int.from_bytes(_exactly(stream, 8), "little")))
    arrays = {}
    for name, code, shape in head["arrays"]:
        dtype = np.dtype(code)
        data = _exactly(stream, math.prod(shape) * dtype.itemsize)
        arrays[str(name)] = np.frombuffer(data, dtype).reshape(shape)
    return head["facts"], arrays


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


@contextmanager
def _any_address_space() -> Iterator[None]:
    """While it lasts, what is started has no soft limit: V8 reserves far more addresses than it uses memory."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _end(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # a request that was not read any more
            cast("IO[bytes]", stream).close()
    process.kill()
    process.wait()
