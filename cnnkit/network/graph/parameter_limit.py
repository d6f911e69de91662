"""Limits on what layers make when they are built: a few bytes may ask for anything, and are refused before it is there.

A network that a file describes has the numbers of that file, any other what the memory can hold.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from cnnkit.components import Layer
from cnnkit.components.weight_contracts import ReservingGenerator
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.layers.reparametrised import innermost
from cnnkit.types import Array, Shape

SMALL = 2**16
"""Values along the first axis of an input that no layer is refused for."""
MANY = 2**22
"""Numbers for which the memory is looked at; fewer take no time, and the look does."""
DRAWN_BYTES = 12
"""What a number takes when a network is built: in float64 as it is drawn, and in the vector of all parameters."""


class LimitError(ShapeError):
    """A network asks for more numbers than it may have."""


class Building(Protocol):
    """Builds layers within a limit."""

    def build(self, layer: Layer, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """`layer.build`; raises an error for what is beyond the limit, before it takes memory."""


class MemoryLimit:
    """What the memory can hold of weights that are drawn."""

    def __init__(self, available: Callable[[], int | None]) -> None:
        """available: gives the bytes that may still be taken, None if that is unknown."""
        self._available = available

    def build(self, layer: Layer, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """As `Building` says. Raises ConfigError."""
        if type(layer).build is not Layer.build:
            self.check(in_shape[0])  # what is not drawn, as in a normalisation, has one value per channel
        return layer.build(in_shape, _Checking(rng.bit_generator, self.check))

    def check(self, numbers: int) -> None:
        """Refuse more numbers than there is memory for."""
        if numbers <= MANY or (room := self._available()) is None or numbers * DRAWN_BYTES <= room:
            return
        raise ConfigError(
            f"it asks for {numbers:,} numbers, which take {numbers * DRAWN_BYTES:,} bytes to begin with, and "
            f"{room:,} bytes of memory are available; use fewer units or filters"
        )


class Limit:
    """How many numbers the parameters and buffers of a network may still have together; weights are zeros."""

    def __init__(self, numbers: int) -> None:
        self.numbers = self.left = numbers

    def build(self, layer: Layer, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """As `Building` says, without more memory than the limit and `SMALL` allow. Raises ShapeError."""
        # Weights are drawn, and that is checked; what is not drawn, as in a normalisation, has one value per channel.
        if in_shape[0] > max(self.numbers, SMALL) and type(layer).build is not Layer.build:
            raise self._exceeded(in_shape[0])
        # A layer of somebody else may make something of what it draws, and keep it where no file has it.
        own = type(innermost(layer)).__module__.startswith("cnnkit.layers")
        out_shape = layer.build(in_shape, _Checking(rng.bit_generator, self.check, zeros=own))
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


class _Checking(ReservingGenerator):
    """A generator that checks how much is drawn before anything is, and may give zeros in place of weights.

    What the file holds takes their place at once. To draw them takes longer than to read the file, and in float64 twice
    its memory; a zero for all of them takes none.
    """

    def __init__(self, bits: np.random.BitGenerator, check: Callable[[int], None], *, zeros: bool = False) -> None:
        super().__init__(bits)
        self._check = check
        self._zeros = zeros

    def spawn(self, n_children: int) -> list[np.random.Generator]:
        """Independent ones, which check as this one does."""
        bits = super().bit_generator.spawn(n_children)
        return [_Checking(one, self._check, zeros=self._zeros) for one in bits]

    def reserve(self, shape: Shape) -> Array | None:
        """Zeros if they may take the place of what would be drawn."""
        self._check(math.prod(shape))
        return np.broadcast_to(np.float64(0), shape) if self._zeros else None

    def __getattribute__(self, name: str) -> Any:
        method = super().__getattribute__(name)
        if name.startswith("_") or name in ("reserve", "spawn") or not callable(method):
            return method

        def draw(*args: Any, **kwargs: Any) -> Any:
            given = inspect.signature(method).bind(*args, **kwargs).arguments
            size = given.get("size")
            self._check(1 if size is None else math.prod(map(int, np.atleast_1d(size))))
            return method(*args, **kwargs)

        return draw
