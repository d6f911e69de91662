"""A context outside the engine, for calling a layer by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkit.types import Array, Shape


class PlainContext:
    """What the engine gives to a layer during one call, without an engine; see `cnnkit.types.Context`.

    Memory is filled with NaN: a layer which reads what it did not write gives itself away.
    Set `partial` and `total` before calling a batch-coupled layer.
    """

    total: Array
    partial: Array

    def __init__(self, training: bool = True, seed: int = 0, dtype: str | np.dtype[Any] = "float64") -> None:
        self.training = training
        self.seed = seed
        self.dtype: np.dtype[Any] = np.dtype(dtype)
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

    def gradient(self, name: str, shape: Shape) -> Array:
        """As `empty`."""
        return self.empty(shape)

    def end_call(self) -> None:
        """The next call draws the same random numbers again."""
        self._rng = None
