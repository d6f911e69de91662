"""Random weights of a distribution that is given, whatever the layer."""

from __future__ import annotations

import numpy as np

from cnnkit.components import Initializer, Weights
from cnnkit.components.checks import finite, positive_float32
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError
from cnnkit.types import Array, Example

CUT = 2.0
"""At how many standard deviations the truncated normal distribution ends."""


class Normal(Initializer):
    """Normally distributed weights.

    weight ~ N(mean, std^2)

    Raises ConfigError unless std is above 0, and both are finite in float32.
    Source: Krizhevsky, Sutskever, Hinton (2012), ImageNet Classification with Deep Convolutional Neural Networks.
    """

    examples = (
        Example("Normal(0.01)", (40, 30, 3, 3), "0, 0.01"),
        Example("Normal(2, mean=-1)", (80, 100), "-1, 2"),
    )
    twin = "torch.nn.init.normal_"

    def __init__(self, std: float, mean: float = 0.0) -> None:
        self.std = positive_float32("std", std)
        self.mean = finite("mean", mean)

    def values(self, weights: Weights, rng: np.random.Generator) -> Array:
        """Independent numbers."""
        return rng.normal(self.mean, self.std, weights.shape)


class TruncatedNormal(Initializer):
    """Normally distributed weights without those beyond two standard deviations.

    weight = std * z, z ~ N(0, 1) given |z| <= 2, with the variance 0.774 * std^2

    Raises ConfigError unless std is above 0, and finite in float32.
    Source: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna (2016), Rethinking the Inception Architecture; for attention,
    Dosovitskiy et al. (2021), An Image is Worth 16x16 Words.
    """

    examples = (
        Example("TruncatedNormal()", (40, 30, 3, 3), "0, 0.02, -0.04, 0.04"),
        Example("TruncatedNormal(1.5)", (80, 100), "0, 1.5, -3, 3"),
    )
    twin = "torch.nn.init.trunc_normal_"

    def __init__(self, std: float = 0.02) -> None:
        self.std = positive_float32("std", std)

    def values(self, weights: Weights, rng: np.random.Generator) -> Array:
        """Independent numbers; one in twenty is drawn again, until all are inside."""
        z = rng.standard_normal(weights.shape)
        while (outside := np.abs(z) > CUT).any():
            z[outside] = rng.standard_normal(np.count_nonzero(outside))
        return self.std * z


class Uniform(Initializer):
    """Uniform weights.

    weight ~ U(low, high)

    Raises ConfigError unless low is below high.
    Source: LeCun, Bottou, Orr, Mueller (1998), Efficient BackProp.
    """

    examples = (Example("Uniform(-0.05, 0.05)", (40, 30, 3, 3), "-0.05, 0.05"),)
    twin = "torch.nn.init.uniform_"

    def __init__(self, low: float, high: float) -> None:
        self.low = finite("low", low)
        self.high = finite("high", high)
        if not low < high:
            raise ConfigError(f"low must be below high, got low={shown(low)} and high={high!r}")

    def values(self, weights: Weights, rng: np.random.Generator) -> Array:
        """Independent numbers."""
        return rng.uniform(self.low, self.high, weights.shape)
