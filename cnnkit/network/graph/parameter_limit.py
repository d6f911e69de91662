"""A limit on what layers make when they are built, for networks that a file or recipe describes.

They may ask for anything, and are refused before it is there.
"""

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


class LimitError(ShapeError):
    """A network asks for more numbers than it may have."""


class Limit:
    """How many numbers the parameters and buffers of a network may still have together."""

    def __init__(self, numbers: int) -> None:
        self.numbers = self.left = numbers

    def build(self, layer: Layer, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """`layer.build`, without more memory than the limit and `SMALL` allow. Raises ShapeError beyond."""
        # Weights are drawn, and that is checked; what is not drawn, as in a normalisation, has one value per channel.
        if in_shape[0] > max(self.numbers, SMALL) and type(layer).build is not Layer.build:
            raise self._exceeded(in_shape[0])
        # A layer of somebody else may make something of what it draws, and keep it where no file has it.
        own = type(layer).__module__.startswith("cnnkit.layers")
        out_shape = layer.build(in_shape, _Sparing(rng.bit_generator, self, zeros=own))
        made = sum(array.size for array in (*layer.params.values(), *layer.buffers.values()))
        self.check(made)
        self.left -= made
        return out_shape

    def check(self, numbers: int) -> None:
        """Refuse more numbers than are left."""
        if numbers > self.left:
            raise self._exceeded(numbers)

    def _exceeded(self, numbers: int) -> LimitError:
        return LimitError(
            f"it asks for {numbers:,} numbers, more than remain of the {self.numbers:,} that the network may have"
        )


class _Sparing(np.random.Generator):
    """A generator that checks how much is drawn before anything is, and may give zeros in place of uniform weights.

    What the file holds takes their place at once. To draw them takes longer than to read the file, and in float64 twice
    its memory; zeros take none until they are written to.
    """

    def __init__(self, bits: np.random.BitGenerator, limit: Limit, *, zeros: bool) -> None:
        super().__init__(bits)
        self._limit = limit
        self._zeros = zeros

    def __getattribute__(self, name: str) -> Any:
        method = super().__getattribute__(name)
        if name.startswith("_") or not callable(method):
            return method

        def draw(*args: Any, **kwargs: Any) -> Any:
            given = inspect.signature(method).bind(*args, **kwargs).arguments
            size = given.get("size")
            self._limit.check(1 if size is None else math.prod(map(int, np.atleast_1d(size))))
            if name == "uniform" and size is not None and self._zeros:
                return np.zeros(size)
            return method(*args, **kwargs)

        return draw
