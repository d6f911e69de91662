"""A context outside the engine, for calling a layer by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cnnkit.types import Array, Shape


class PlainContext:
    """What the engine gives to a layer during one call, without an engine; see `cnnkit.plugin.Context`.

    Memory is filled with `fill`, NaN unless asked otherwise: a layer that reads what it did not write gives itself
    away.
    Set `partial` and `total` before calling a batch-coupled layer.
    """

    total: Array
    partial: Array

    def __init__(
        self, training: bool = True, seed: int = 0, dtype: str | np.dtype[Any] = "float64", *, fill: float = math.nan
    ) -> None:
        """fill: what memory is filled with before a layer writes into it; that of bool with True if it is not 0."""
        self.training = training
        self.seed = seed
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.fill = fill
        self.has_drawn = False
        """Whether somebody has asked for random numbers."""
        self.gradients: dict[str, Array] = {}
        """Where the gradients of the layer's parameters are kept, by name, as far as they were asked for."""
        self._rng: np.random.Generator | None = None

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers that depend on nothing but the seed, from the start in each call."""
        self.has_drawn = True
        if self._rng is None:
            self._rng = np.random.default_rng(self.seed)
        return self._rng

    def empty(self, shape: Shape) -> Array:
        """Memory of this shape in C order."""
        return np.full(shape, self.fill, self.dtype)

    def empty_like(self, x: Array) -> Array:
        """Memory with the shape and the axis order of `x`."""
        return np.full_like(x, self.fill, self.dtype)

    def empty_bits(self, shape: Shape) -> Array:
        """Memory of this shape in C order, of bool."""
        return np.full(shape, bool(self.fill), np.bool_)

    def gradient(self, name: str, shape: Shape) -> Array:
        """As `empty`, the same place each time, as in the engine."""
        kept = self.gradients.get(name)
        if kept is None or kept.shape != shape:
            kept = self.gradients[name] = self.empty(shape)
        return kept

    def end_call(self) -> None:
        """The next call draws the same random numbers again."""
        self._rng = None
