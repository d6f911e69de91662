"""Sums over axes that may be long and lie anywhere in memory."""

from __future__ import annotations

import math

import numpy as np

from cnnkit.types import Array

SHORT = 32
"""Numbers that may be added one after another: of positive ones, float32 then loses about three units in the last
place, of 1,000 twenty, of 100,000 two thousand."""


def sum_over(x: Array, axes: int | tuple[int, ...], *, out: Array | None = None) -> Array:
    """The sum over an axis or several, in the dtype of x, within a few units in its last place however long they are.

    y = sum over k of x_k, of more than SHORT numbers in float64, rounded once

    NumPy adds in pairs only along the fastest axis of the memory; along any other one number after another, whose
    error grows with their count. x: any shape and strides; out: where to write y, if given.
    Source: Higham (1993), The Accuracy of Floating Point Summation.
    """
    count = x.shape[axes] if isinstance(axes, int) else math.prod(x.shape[axis] for axis in axes)
    if count <= SHORT:
        short: Array = np.add.reduce(x, axis=axes, out=out)
        return short
    total: Array = np.add.reduce(x, axis=axes, dtype=np.float64)
    if out is None:
        return total.astype(x.dtype, copy=False)
    out[...] = total
    return out
