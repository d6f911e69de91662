"""Arrays as small PNG files, written by hand."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

GREY, COLOUR, INDEXED = 0, 2, 3
"""Colour types."""


def png(pixels: NDArray[np.uint8], palette: bytes = b"") -> bytes:
    """A PNG file of 8 bits: of (H, W) in shades of grey, or with indices into a palette, or of (H, W, 3) in colour.

    palette: red, green and blue of each index.
    Source: W3C (2003), Portable Network Graphics Specification, second edition.
    """
    height, width = pixels.shape[:2]
    colour_type = INDEXED if palette else COLOUR if pixels.ndim == 3 else GREY
    rows = pixels.reshape(height, -1)
    unfiltered = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)  # each row says that it has no filter
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    chunks: list[tuple[bytes, Any]] = [(b"IHDR", header)]
    chunks += [(b"PLTE", palette)] if palette else []
    chunks += [(b"IDAT", zlib.compress(unfiltered.tobytes(), 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
