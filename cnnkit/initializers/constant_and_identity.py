"""Weights that are the same each time: a constant, zero, the identity."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkit.components import Initializer, Weights
from cnnkit.components.checks import finite, positive_float32
from cnnkit.errors import ShapeError
from cnnkit.types import Array, Example, Shape


class Constant(Initializer):
    """One number everywhere.

    weight = value

    For what scales channels; filters that are all equal learn the same.
    Raises ConfigError unless the value is finite.
    Source: Szegedy et al. (2016), Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning,
    section 3.3, which scales branches by 0.1 to 0.3.
    """

    examples = (Example("Constant(0.5)", (6, 4, 3, 3), "0.5"), Example("Constant(-1)", (5,), "-1"))
    twin = "torch.nn.init.constant_"

    def __init__(self, value: float) -> None:
        self.value = finite("value", value)

    def values(self, weights: Weights, rng: np.random.Generator) -> Array:
        """Nothing is drawn."""
        return np.full(weights.shape, float(self.value))


class Zeros(Initializer):
    """Zero everywhere: of the last layer of a residual branch, so that the block begins as the identity.

    weight = 0

    Source: Goyal et al. (2017), Accurate, Large Minibatch SGD, section 5.1; Zhang, Dauphin, Ma (2019), Fixup
    Initialization.
    """

    examples = (Example("Zeros()", (6, 4, 3, 3), ""), Example("Zeros()", (5,), ""))
    twin = "torch.nn.init.zeros_"

    def values(self, weights: Weights, rng: np.random.Generator) -> Array:
        """Nothing is drawn."""
        return np.zeros(weights.shape)


class Identity(Initializer):
    """Weights that make a layer the identity: output i is input i, and outputs beyond the inputs are 0.

    Dense:         weight[i,i] = gain, 0 elsewhere
    Convolutions:  weight[i,i,m] = gain in the middle m = floor(kernel / 2) of the kernel, 0 elsewhere; in each group

    With an odd kernel and padding="same", a convolution of stride 1 gives gain * x.
    Raises ConfigError unless gain is above 0, and finite in float32, ShapeError for weights with fewer than two axes.
    Source: Zagoruyko, Komodakis (2017), DiracNets; Le, Jaitly, Hinton (2015), A Simple Way to Initialize Recurrent
    Networks of Rectified Linear Units.
    """

    examples = (
        Example("Identity()", (6, 4, 3, 3), ""),
        Example("Identity()", (4, 6, 2, 5), ""),
        Example("Identity()", (3, 5, 4), ""),
    )
    twin = "torch.nn.init.dirac_"

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = positive_float32("gain", gain)

    def values(self, weights: Weights, rng: np.random.Generator) -> Array:
        """Nothing is drawn."""
        first, second, *kernel = matrix_shape(self, weights)
        values, block = np.zeros(weights.shape), first // weights.groups
        channels = np.arange(min(block, second))
        middle = [size // 2 for size in kernel]
        for group in range(weights.groups):
            places: tuple[Any, ...] = (group * block + channels, channels, *middle)
            values[places] = self.gain
        return values


def matrix_shape(initializer: Initializer, weights: Weights) -> Shape:
    """Their shape. Raises ShapeError unless they are a matrix, or one for each place of a kernel."""
    if len(weights.shape) < 2:
        raise ShapeError(
            f"{initializer!r} is for weights with two axes or more, got {weights.shape}; use Constant(1) for what "
            "scales channels"
        )
    return weights.shape
