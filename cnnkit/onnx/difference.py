"""Differences between values that should be equal, sample by sample."""

from __future__ import annotations

import numpy as np

from cnnkit.types import Array


def magnitude(values: Array) -> Array:
    """max|values| of each sample, float64; infinite where one of them is NaN. values: (N, ...) -> (N,)."""
    largest = np.abs(values.reshape(len(values), -1).astype(np.float64)).max(axis=1)
    return np.where(np.isnan(largest), np.inf, largest)


def distance(theirs: Array, ours: Array) -> Array:
    """|theirs - ours| number by number, float64; infinite where one of them is NaN, or both the same infinity."""
    apart = np.abs(subtract(theirs, ours))
    return np.where(np.isnan(apart), np.inf, apart)


def relative(difference: Array, scale: Array) -> Array:
    """difference / scale where they differ at all; infinite where that is not a number. Both of one shape."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = np.where(difference > 0, difference / scale, 0.0)
    return np.where(np.isnan(quotient), np.inf, quotient)


def subtract(theirs: Array, ours: Array) -> Array:
    """theirs - ours in float64, NaN where both are the same infinity."""
    with np.errstate(invalid="ignore"):
        return np.subtract(theirs, ours, dtype=np.float64)
