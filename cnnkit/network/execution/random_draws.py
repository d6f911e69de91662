"""Random numbers that belong to each sample, whatever tile and worker it is in.

A generator object for each sample would cost more than many augmentations: here one formula gives the numbers of all
samples of a tile at once.
"""

from __future__ import annotations

import math

import numpy as np

from cnnkit.types import Array

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
"""The odd number next to 2^64 divided by the golden ratio: the distance of a stream's states."""
MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
LAST = 31


class Draws:
    """See `cnnkit.types.Draws`: SplitMix64, with a stream for each sample.

    stream = mix(mix(mix(mix(seed) + epoch) + place) + sample);  number n of it is mix(stream + n * GOLDEN)

    place: of the augmentation among the others; positions: of the samples among those to train on, (N,).
    Source: Steele, Lea, Flood (2014), Fast Splittable Pseudorandom Number Generators, figure 15.
    """

    def __init__(self, seed: int, epoch: int, place: int, positions: Array) -> None:
        key = 0
        for part in (seed, epoch, place):
            key = _mixed(key + part)
        self._streams = _mix(positions.astype(np.uint64) + np.uint64(key))
        self._used = 0

    def uniform(self, low: float = 0.0, high: float = 1.0, *size: int) -> Array:
        """As the protocol says; 53 random bits each."""
        return low + float(high - low) * (self._bits(size) >> np.uint64(11)) * 2.0**-53

    def integers(self, low: int, high: int, *size: int) -> Array:
        """As the protocol says; for ranges below 2^32, where the bias of rounding is below 2^-21."""
        return low + (self.uniform(0.0, high - low, *size)).astype(np.int64)

    def normal(self, *size: int) -> Array:
        """As the protocol says, by Box and Muller (1958)."""
        radius = np.sqrt(-2.0 * np.log1p(-self.uniform(0.0, 1.0, *size)))
        return np.asarray(radius * np.cos(self.uniform(0.0, 2.0 * math.pi, *size)))

    def where(self, mask: Array) -> Draws:
        """As the protocol says: a number of each sample's stream begins a new one, as `split` does in the paper."""
        some = object.__new__(Draws)
        some._streams, some._used = self._bits(())[mask], 0
        return some

    def _bits(self, size: tuple[int, ...]) -> Array:
        count = math.prod(size)
        numbers = np.arange(self._used + 1, self._used + count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
        self._used += count
        return _mix(self._streams[:, np.newaxis] + numbers).reshape(len(self._streams), *size)


def _mix(z: Array) -> Array:
    """The finalizer of SplitMix64, in place."""
    for shift, factor in MIX:
        z ^= z >> np.uint64(shift)
        z *= np.uint64(factor)
    z ^= z >> np.uint64(LAST)
    return z


def _mixed(z: int) -> int:
    """The finalizer of SplitMix64 for one number."""
    for shift, factor in MIX:
        z = ((z & MASK) ^ ((z & MASK) >> shift)) * factor & MASK
    return z ^ (z >> LAST)
