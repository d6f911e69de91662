"""Rows-first memory, (H, C, W, N): the order in which the fast kernels keep images.

The samples are the fastest axis, so every step along a row of pixels is one long contiguous run. The rows are the
slowest axis, so that `kh` consecutive rows are one contiguous block: the patches of a whole output row are then a view.
"""

from __future__ import annotations

import math

import numpy as np

from cnnkit.types import Array, Context


def rows_first(x: Array, ctx: Context) -> Array:
    """(N, C, H, W) with any strides -> (H, C, W, N), contiguous; a view where the memory already has this order."""
    inner = x.transpose(2, 1, 3, 0)
    if inner.flags.c_contiguous:
        return inner
    memory = ctx.empty(inner.shape)
    memory[...] = inner
    return memory


def logical(rows: Array) -> Array:
    """(H, C, W, N) -> (N, C, H, W), a view."""
    return rows.transpose(3, 1, 0, 2)


def row_windows(rows: Array, height: int, stride: int = 1) -> Array:
    """Every block of `height` consecutive rows as a matrix, without copying.

    rows: (H, ..., W, N), contiguous -> (oh, height * prod(...), W * N), a view whose matrices overlap. It equals

        np.stack([rows[p * stride : p * stride + height].reshape(-1, W * N) for p in range(oh)])
    """
    count = (rows.shape[0] - height) // stride + 1
    columns, item = rows.shape[-2] * rows.shape[-1], rows.itemsize
    step = math.prod(rows.shape[1:]) * item  # not rows.strides[0], which means nothing where there is one row
    shape = (count, height * math.prod(rows.shape[1:-2]), columns)
    return np.ndarray(shape, rows.dtype, rows, 0, (stride * step, columns * item, item))
