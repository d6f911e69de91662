"""Draws that give what a test wants, and ways to see in images what was done to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnkit.network.execution.random_draws import Draws
from cnnkit.types import Array


class Scripted:
    """Gives the same numbers to every sample, one call after the other, as places between low and high."""

    def __init__(self, samples: int, *places: float | Sequence[float]) -> None:
        self.samples, self.places = samples, list(places)

    def uniform(self, low: float = 0.0, high: float = 1.0, *size: int) -> Array:
        places = np.broadcast_to(np.asarray(self.places.pop(0), np.float64), (self.samples, *size))
        return low + (high - low) * places

    def integers(self, low: int, high: int, *size: int) -> Array:
        return self.uniform(low, high, *size).astype(np.int64)

    def normal(self, *size: int) -> Array:
        return self.uniform(0.0, 1.0, *size)

    def where(self, mask: Array) -> Scripted:
        return Scripted(int(mask.sum()), *self.places)


def draws(samples: int, epoch: int = 0) -> Draws:
    return Draws(0, epoch, 1, np.arange(samples))


def images(samples: int = 5, channels: int = 2, height: int = 9, width: int = 7) -> Array:
    rng = np.random.default_rng(0)
    return rng.uniform(0, 255, (samples, channels, height, width)).astype(np.float32)


def ramps(samples: int, size: int) -> Array:
    """Two channels: the row and the column of each pixel, 0 in the middle."""
    middle = (np.arange(size, dtype=np.float32) - (size - 1) / 2)[np.newaxis, :]
    return np.repeat(np.stack([np.repeat(middle.T, size, 1), np.repeat(middle, size, 0)])[np.newaxis], samples, 0)
