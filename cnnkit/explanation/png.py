"""Arrays as pictures inside the page: small PNG files as data URIs."""

from __future__ import annotations

import base64
import functools
import math

import numpy as np

from cnnkit.png_encoding import png
from cnnkit.types import Array

MAX_SIDE = 56
"""Pixels along a side; larger arrays are drawn as means of squares."""
LEVELS = 64
"""Steps of colour on either side of 0."""
BLUE, WHITE, ORANGE, MISSING = (8, 81, 156), (255, 255, 255), (217, 72, 1), (70, 70, 70)
"""Less than 0, 0, more than 0, and not a finite number; told apart with every kind of colour vision."""


def rectangle(height: int, width: int) -> tuple[int, int]:
    """How many rows and columns of an array become one pixel."""
    return math.ceil(height / MAX_SIDE), math.ceil(width / MAX_SIDE)


def shrunk(channel: Array) -> Array:
    """(H, W) with no side above `MAX_SIDE`, in float64, as means over rectangles; those at the end may be smaller."""
    (height, width), (tall, wide) = channel.shape, rectangle(*channel.shape)
    starts = np.arange(0, width, wide)
    widths = np.diff([*starts, width])
    rows = []
    for top in range(0, height, tall):  # one by one, so that little of it is in float64 at a time
        part = np.asarray(channel[top : top + tall], np.float64)
        row = np.add.reduceat(part, [0], 0) / len(part) if tall > 1 else part
        rows.append(np.add.reduceat(row, starts, 1) / widths if wide > 1 else row)
    return np.concatenate(rows)


def signed(channel: Array, limit: float) -> str:
    """(H, W) as a picture: blue below 0, white at 0, orange above; `limit` is where the colours are full."""
    small = shrunk(channel)
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = small / (limit or 1.0)
    index = np.full(small.shape, 2 * LEVELS + 1)
    finite = np.isfinite(scaled)
    index[finite] = np.rint((np.clip(scaled[finite], -1, 1) + 1) * LEVELS)
    return _uri(index.astype(np.uint8), _palette())


def plain(channels: Array, low: float, high: float) -> str:
    """(1, H, W) as shades of grey, or (3, H, W) as colours; `low` is dark and `high` is light."""
    small = np.stack([shrunk(channel) for channel in channels], axis=-1)
    scaled = np.nan_to_num((small - low) / ((high - low) or 1.0), posinf=1.0, neginf=0.0)
    pixels = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return _uri(pixels if len(channels) == 3 else pixels[..., 0])


@functools.cache
def _palette() -> bytes:
    shares = np.linspace(0, 1, LEVELS + 1)[:, None]
    white = np.array(WHITE)
    below = (1 - shares) * np.array(BLUE) + shares * white
    above = (1 - shares) * white + shares * np.array(ORANGE)
    colours: Array = np.rint(np.concatenate([below, above[1:], [MISSING]])).astype(np.uint8)
    return colours.tobytes()


def _uri(pixels: Array, palette: bytes = b"") -> str:
    return "data:image/png;base64," + base64.b64encode(png(pixels, palette)).decode("ascii")
