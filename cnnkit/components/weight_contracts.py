"""What decides the weights of a layer before training must do; see `contracts` for the other kinds of components."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.components.checks import MAX_FLOAT32
from cnnkit.components.contracts import Component
from cnnkit.components.error_naming import Naming
from cnnkit.components.value_description import described, shown
from cnnkit.errors import ComponentError, ConfigError
from cnnkit.types import Array, Shape


@dataclass(frozen=True)
class Weights:
    """The weights of a layer, for which values are wanted: everything that these may depend on."""

    shape: Shape
    """(out, in, ...), of a transposed convolution (in, out, ...); each group of channels by itself sees `in` of them.
    What scales channels has one axis."""
    fan_in: int
    """The products that are added up for a number of the output."""
    fan_out: int
    """The products that a number of the input goes into; of a Conv2D with groups, as PyTorch counts, those that it
    would go into without."""
    groups: int = 1
    """Blocks of the first axis, such as the filters of each group of channels, that start alike."""


class ReservingGenerator(np.random.Generator):
    """For layers whose weights come from elsewhere as soon as they are built, such as from a file."""

    def reserve(self, shape: Shape) -> Array | None:
        """Zeros in place of weights, read-only, None if they must be drawn.

        Raises ShapeError or ConfigError where they would be too many.
        """
        raise NotImplementedError  # derived classes define it


def is_one_zero(value: Array) -> bool:
    """Whether an array is one number for all its places, and that is 0: such as what is reserved."""
    return value.size > 1 and not any(value.strides) and value.flat[0] == 0


class Initializer(Component):
    """What weights are before training: the argument `initializer` of a layer."""

    kind = "initializer"

    def values(self, weights: Weights, rng: np.random.Generator) -> Array:
        """The weights, of their shape, float64. Raises ShapeError for weights that it cannot be for."""
        raise NotImplementedError(f"{type(self).__name__} has no values")

    def make(self, weights: Weights, rng: np.random.Generator) -> Array:
        """What a layer calls in `build`: the values, checked; or room for them where a file has others.

        Raises what `values` raises, and ComponentError unless these are numbers of the shape of the weights, finite in
        float32, too.
        """
        reserved = rng.reserve(weights.shape) if isinstance(rng, ReservingGenerator) else None
        if reserved is not None:
            return reserved
        with Naming(self):
            given = self.values(weights, rng)
        right = isinstance(given, np.ndarray) and given.dtype.kind in "fiu" and given.shape == weights.shape
        if not right or not -MAX_FLOAT32 <= given.min(initial=0) <= given.max(initial=0) <= MAX_FLOAT32:
            raise ComponentError(
                f"the initializer {self!r} must give {math.prod(weights.shape):,} numbers of shape "
                f"{weights.shape}, finite in float32; values() gave {described(given)}"
            )
        return given.astype(np.float64, copy=not given.flags.writeable)  # layers change what they are given


def initializer_of(value: Any) -> Initializer:
    """Return the argument `initializer` of a layer if it is one. Raises ConfigError for anything else."""
    if not isinstance(value, Initializer):
        hint = ": write it without quotes" if isinstance(value, str) and "(" in value else ""
        hint = f": write {value.__name__}()" if isinstance(value, type) and issubclass(value, Initializer) else hint
        raise ConfigError(f"initializer must be an initializer, such as HeNormal(), got {shown(value)}{hint}")
    return value
