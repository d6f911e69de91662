"""Images read at places between their pixels, for everything that rotates, scales or distorts them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cnnkit.types import Array

BLOCK = 1 << 15
"""Pixels that are worked on together: what they need stays in the processor's cache, and one call is not felt."""


def blocks(x: Array) -> Iterator[slice]:
    """Slices of the samples, so many at a time as keep what `resample` needs in the cache."""
    count = max(1, BLOCK // max(1, x.shape[2] * x.shape[3]))
    for start in range(0, len(x), count):
        yield slice(start, start + count)


def resample(x: Array, rows: Array, columns: Array, fill: float) -> Array:
    """Each image at the given places, by bilinear interpolation.

    y[n,c,p] = (1 - a) (1 - b) x[n,c,i,j] + (1 - a) b x[n,c,i,j+1] + a (1 - b) x[n,c,i+1,j] + a b x[n,c,i+1,j+1]
    with i = floor(rows[n,p]), a = rows[n,p] - i, j = floor(columns[n,p]), b = columns[n,p] - j

    x: (N, C, H, W) float32; rows, columns: (N, H * W) float32, finite, in pixels, 0 for the centre of the first one,
    overwritten; outside the image is `fill`, which is mixed in over the last pixel before it; y: as x, and equal to it
    bit for bit where all places are those of the pixels.
    """
    samples, channels, height, width = x.shape
    # With one pixel of fill before the image and two after it, all four neighbours of a clipped place exist.
    wide, size = width + 3, (height + 3) * (width + 3)
    bordered = np.full((channels, samples, height + 3, wide), fill, np.float32)
    bordered[:, :, 1:-2, 1:-2] = x.swapaxes(0, 1)
    for places, last in ((rows, height + 1), (columns, width + 1)):
        places += 1
        np.clip(places, 0, last, out=places)
    index, right = rows.astype(np.intp), columns.astype(np.intp)  # towards 0, which is down
    rows -= index
    columns -= right
    index *= wide
    index += right
    index += (np.arange(samples) * size)[:, np.newaxis]
    y = np.empty_like(x)
    for channel in range(channels):
        flat = bordered[channel].reshape(-1)
        upper = _between(flat, index, columns)
        lower = _between(flat[wide:], index, columns)
        lower -= upper
        lower *= rows
        upper += lower
        y[:, channel] = upper.reshape(samples, height, width)
    return y


def _between(flat: Array, index: Array, share: Array) -> Array:
    """(1 - share) flat[index] + share flat[index + 1]."""
    left = flat.take(index, mode="clip")  # the index is right; "raise" would look at it once more, and copy
    right = flat[1:].take(index, mode="clip")
    right -= left
    right *= share
    left += right
    return left
