"""Layers that keep attributes in all the ways in which a class may; they are alone here: all code here counts."""

from __future__ import annotations

import functools
from typing import Self

import numpy as np

from cnnkit.components import Layer
from cnnkit.components.checks import fits_into, whole
from cnnkit.errors import ConfigError
from cnnkit.types import Array, Shape


class Own(Layer):
    """Keeps attributes in all the ways in which a class may."""

    declared: int

    def __init__(self, width: int) -> None:
        self.width = width
        self.declared = 1
        _finish(self)
        self._prepare()

    def _prepare(self) -> None:
        self.trainable = True  # of its own

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        self.frozen = sum(1 for _ in in_shape)
        return in_shape

    @property
    def lr(self) -> float:
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = value

    @functools.cached_property
    def table(self) -> int:
        self.beside = 2
        return 1

    @functools.lru_cache(maxsize=1)  # noqa: B019  # a cache that keeps its instance is what is tested
    def cached(self) -> int:
        self.inside = 1
        return 1


class Heir(Own):
    """What its base class keeps is known."""


def _finish(layer: Own) -> None:
    layer.requires_grad = True  # type: ignore[attr-defined]  # wrong on purpose


class Asks(Layer):
    """Hands itself to functions that keep nothing."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = whole("units", units)
        if not isinstance(self, Asks) or len(f"{self!r}") > 100 or repr(self) == "":
            raise ConfigError(f"{_named(self)} has no name")

    def apply(self, x: Array) -> Self:
        fits_into(x, 1, self)
        return self


def _named(layer: Layer) -> str:
    return f"{type(layer).__name__} {layer!r}"
