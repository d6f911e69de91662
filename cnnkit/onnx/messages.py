"""Messages between a process and its child: facts as JSON and arrays as their bytes; nothing in them is ever run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from cnnkit.types import Array

MAX_FACTS = 2**24
"""Most bytes of the facts of one message."""
KINDS = "biuf"
"""Arrays may hold truth values, whole numbers and floating-point numbers."""


def write(stream: IO[bytes], facts: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> None:
    """Send a message. Raises ValueError, before anything is sent, for an array that holds no plain numbers."""
    arrays = arrays or {}
    for name, array in arrays.items():
        if array.dtype.kind not in KINDS:
            raise ValueError(f"{name!r} holds {array.dtype.name}; expected numbers")
    shapes = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    head = json.dumps({"facts": facts, "arrays": shapes}).encode()
    stream.write(len(head).to_bytes(8, "little") + head)
    for array in arrays.values():
        stream.write(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    stream.flush()


def read(stream: IO[bytes], most: int) -> tuple[dict[str, Any], dict[str, Array]]:
    """The next message; most: bytes of all arrays together.

    Raises EOFError where there are no more, ValueError for one that is not as `write` makes it.
    """
    size = int.from_bytes(_exactly(stream, 8), "little")
    if size > MAX_FACTS:
        raise ValueError(f"a message declares {size:,} bytes of facts, more than {MAX_FACTS:,}")
    head = json.loads(_exactly(stream, size))
    arrays = {}
    for name, code, shape in head["arrays"]:
        dtype = np.dtype(str(code))
        if dtype.kind not in KINDS or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise ValueError(f"a message declares an array of {code!r} and shape {shape}")
        count = math.prod(shape) * dtype.itemsize
        if (most := most - count) < 0:
            raise ValueError("a message declares more bytes of arrays than were asked for")
        arrays[str(name)] = np.frombuffer(_exactly(stream, count), dtype).reshape(shape)
    return dict(head["facts"]), arrays


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError(f"a message ends after {len(data):,} of {size:,} bytes")
    return data
