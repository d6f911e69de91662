"""A limit on what layers make when they are built, for networks that a file describes: it may ask for anything."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np

from cnnkit.components import Layer
from cnnkit.errors import ShapeError
from cnnkit.types import Shape

SMALL = 2**16
"""Values along the first axis of an input that no layer is refused for."""


class Limit:
    """How many numbers the parameters and buffers of a network may still have together."""

    def __init__(self, numbers: int) -> None:
        self.numbers = self.left = numbers

    def build(self, layer: Layer, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """`layer.build`, without more memory than the limit and `SMALL` allow. Raises ShapeError beyond."""
        # Weights are drawn, and that is checked; what is not drawn, as in a normalisation, has one value per channel.
        if in_shape[0] > max(self.numbers, SMALL) and type(layer).build is not Layer.build:
            raise self._exceeded(in_shape[0])
        out_shape = layer.build(in_shape, _Sparing(rng.bit_generator, self))
        made = sum(array.size for array in (*layer.params.values(), *layer.buffers.values()))
        self.check(made)
        self.left -= made
        return out_shape

    def check(self, numbers: int) -> None:
        """Refuse more numbers than are left."""
        if numbers > self.left:
            raise self._exceeded(numbers)

    def _exceeded(self, numbers: int) -> ShapeError:
        return ShapeError(
            f"it asks for {numbers:,} numbers, more than are left of the {self.numbers:,} that the network may have"
        )


class _Sparing(np.random.Generator):
    """A generator that checks how much is drawn before anything is, and gives zeros in place of uniform weights.

    What the file holds takes their place at once. To draw them takes longer than to read the file, and in float64 twice
    its memory; zeros take none until they are written to.
    """

    def __init__(self, bits: np.random.BitGenerator, limit: Limit) -> None:
        super().__init__(bits)
        self._limit = limit

    def __getattribute__(self, name: str) -> Any:
        method = super().__getattribute__(name)
        if name.startswith("_") or not callable(method):
            return method

        def draw(*args: Any, **kwargs: Any) -> Any:
            given = inspect.signature(method).bind(*args, **kwargs).arguments
            size = given.get("size")
            self._limit.check(math.prod(size) if isinstance(size, tuple | list) else int(size or 1))
            if name == "uniform" and size is not None:
                return np.zeros(size)
            return method(*args, **kwargs)

        return draw
