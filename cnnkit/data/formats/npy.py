"""NumPy's format, from any stream: what is declared is known before anything is allocated for it."""

from __future__ import annotations

import io
import math
from typing import IO, Any, NamedTuple

import numpy as np

from cnnkit.types import Array, Shape

MAX_HEADER = 10_000
"""Characters of a header, as NumPy has it too; in a compressed stream, some bytes may say that there are gigabytes."""
_LENGTH_BYTES = {(1, 0): 2, (2, 0): 4, (3, 0): 4}


class Header(NamedTuple):
    """What an array is, before its values."""

    shape: Shape
    in_columns: bool
    """Fortran order."""
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(stream: IO[bytes]) -> Header:
    """What is declared; the stream is then at the first value. Raises ValueError unless it is an array of numbers."""
    version = np.lib.format.read_magic(stream)
    if version not in _LENGTH_BYTES:
        raise ValueError(f"expected version 1.0, 2.0 or 3.0 of the format, got {version}")
    length = stream.read(_LENGTH_BYTES[version])
    size = int.from_bytes(length, "little")
    if size > MAX_HEADER:
        raise ValueError(f"expected a header of at most {MAX_HEADER:,} bytes, it declares {size:,}")
    parse = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, in_columns, dtype = parse(io.BytesIO(length + stream.read(size)))
    if not all(type(axis) is int and axis >= 0 for axis in shape):
        raise ValueError(f"expected a shape of whole numbers from 0 on, got {shape}")
    if dtype.hasobject:
        raise ValueError("it has Python objects")
    return Header(shape, in_columns, dtype)


def read_values(stream: IO[bytes], header: Header) -> Array:
    """The array whose header was read. Raises ValueError if the stream ends before."""
    content = np.empty(header.nbytes, np.uint8)  # takes no memory before it is filled
    left = content.data
    while left:
        piece = stream.read(min(len(left), 2**20))
        if not piece:
            raise ValueError(f"it declares {header.nbytes:,} bytes of values and has {header.nbytes - len(left):,}")
        left[: len(piece)] = piece
        left = left[len(piece) :]
    return np.ndarray(header.shape, header.dtype, content, order="F" if header.in_columns else "C")
