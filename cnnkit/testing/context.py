"""A context outside the engine, for calling a layer by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkit.types import Array, Shape


class PlainContext:
    """What the engine gives to a layer during one call, without an engine; see `cnnkit.types.Context`.

    Fresh memory is filled with NaN, and so is scratch memory once a call has ended: a layer which reads what it did not
    write, or keeps what it may not keep, gives itself away.
    Set `partial` and `total` before calling a batch-coupled layer.
    """

    total: Array
    partial: Array

    def __init__(self, training: bool = True, seed: int = 0, dtype: str | np.dtype[Any] = "float64") -> None:
        self.training = training
        self.seed = seed
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self._scratch: list[Array] = []
        self._rng: np.random.Generator | None = None

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers that depend on nothing but the seed, from the start in each call."""
        if self._rng is None:
            self._rng = np.random.default_rng(self.seed)
        return self._rng

    def empty(self, shape: Shape) -> Array:
        """Memory of this shape in C order."""
        return np.full(shape, np.nan, self.dtype)

    def empty_like(self, x: Array) -> Array:
        """Memory with the shape and the axis order of `x`."""
        return np.full_like(x, np.nan, self.dtype)

    def empty_bits(self, shape: Shape) -> Array:
        """Memory of this shape in C order, of bool."""
        return np.ones(shape, np.bool_)

    def scratch(self, shape: Shape) -> Array:
        """As `empty`, until `end_call`."""
        self._scratch.append(self.empty(shape))
        return self._scratch[-1]

    def scratch_bits(self, shape: Shape) -> Array:
        """As `empty_bits`, until `end_call`."""
        self._scratch.append(self.empty_bits(shape))
        return self._scratch[-1]

    def end_call(self) -> None:
        """Spoil all scratch memory, as the next call of an engine would."""
        for memory in self._scratch:
            memory[...] = np.nan if memory.dtype == self.dtype else True
        self._scratch.clear()
        self._rng = None
