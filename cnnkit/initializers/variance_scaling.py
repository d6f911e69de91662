"""Random weights as large as keeps the variance of what passes through a layer: by its fans."""

from __future__ import annotations

import math

import numpy as np

from cnnkit.components import Initializer, Weights
from cnnkit.components.checks import finite, one_of, positive_float32
from cnnkit.types import Array, Example

FANS = ("in", "out")


class _VarianceScaling(Initializer):
    """Numbers about 0 whose variance is a scale, divided by what the fans make."""

    def _scale(self) -> float:
        raise NotImplementedError  # derived classes define it

    def _fan(self, weights: Weights) -> int:
        return weights.fan_in


class _Normal(_VarianceScaling):
    """Drawn from a normal distribution."""

    def values(self, weights: Weights, rng: np.random.Generator) -> Array:
        return rng.normal(0.0, math.sqrt(self._scale() / self._fan(weights)), weights.shape)


class _Uniform(_VarianceScaling):
    """Drawn uniformly; numbers in +-bound have the variance bound^2 / 3."""

    def values(self, weights: Weights, rng: np.random.Generator) -> Array:
        bound = math.sqrt(3.0 * self._scale() / self._fan(weights))
        return rng.uniform(-bound, bound, weights.shape)


class _Glorot(_VarianceScaling):
    """A compromise between the variance forward and backward."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = positive_float32("gain", gain)

    def _scale(self) -> float:
        return 2.0 * self.gain * self.gain

    def _fan(self, weights: Weights) -> int:
        return weights.fan_in + weights.fan_out


class _He(_VarianceScaling):
    """Twice as much, as a rectifier takes half of it away."""

    def __init__(self, slope: float = 0.0, fan: str = "in") -> None:
        self.slope = finite("slope", slope)
        self.fan = one_of("fan", fan, FANS)

    def _scale(self) -> float:
        return 2.0 / (1.0 + self.slope * self.slope)

    def _fan(self, weights: Weights) -> int:
        return weights.fan_in if self.fan == "in" else weights.fan_out


class _LeCun(_VarianceScaling):
    """The variance of a sum of as many numbers as there are inputs."""

    def _scale(self) -> float:
        return 1.0


class GlorotUniform(_Glorot, _Uniform):
    """Uniform weights for layers with a symmetric activation; the default of every layer.

    weight ~ U(-bound, bound), bound = gain * sqrt(6 / (fan_in + fan_out)), variance gain^2 * 2 / (fan_in + fan_out)

    Small networks learn faster from it than from He's larger weights, which suit deep ones without normalisation.
    Raises ConfigError unless gain is above 0, and finite in float32.
    Source: Glorot, Bengio (2010), Understanding the Difficulty of Training Deep Feedforward Neural Networks, eq. 16.
    """

    examples = (
        Example("GlorotUniform()", (40, 30, 3, 3), ""),
        Example("GlorotUniform(1.5)", (80, 100), "gain=1.5"),
    )
    twin = "torch.nn.init.xavier_uniform_"


class GlorotNormal(_Glorot, _Normal):
    """Normally distributed weights for layers with a symmetric activation.

    weight ~ N(0, std^2), std = gain * sqrt(2 / (fan_in + fan_out))

    Raises ConfigError unless gain is above 0, and finite in float32.
    Source: Glorot, Bengio (2010), Understanding the Difficulty of Training Deep Feedforward Neural Networks.
    """

    examples = (
        Example("GlorotNormal()", (40, 30, 3, 3), ""),
        Example("GlorotNormal(0.5)", (80, 100), "gain=0.5"),
    )
    twin = "torch.nn.init.xavier_normal_"


class HeUniform(_He, _Uniform):
    """Uniform weights for layers before a rectifier.

    weight ~ U(-bound, bound), bound = sqrt(6 / ((1 + slope^2) * fan)), variance 2 / ((1 + slope^2) * fan)

    slope: of the rectifier below 0; fan: "in" keeps the variance of outputs, "out" that of gradients.
    Raises ConfigError for arguments out of range.
    Source: He, Zhang, Ren, Sun (2015), Delving Deep into Rectifiers, eq. 15.
    """

    examples = (
        Example("HeUniform()", (40, 30, 3, 3), "nonlinearity='relu'"),
        Example("HeUniform(0.2, 'out')", (80, 100), "a=0.2, mode='fan_out'"),
    )
    twin = "torch.nn.init.kaiming_uniform_"


class HeNormal(_He, _Normal):
    """Normally distributed weights for layers before a rectifier.

    weight ~ N(0, std^2), std = sqrt(2 / ((1 + slope^2) * fan))

    slope: of the rectifier below 0; fan: "in" keeps the variance of outputs, "out" that of gradients.
    Raises ConfigError for arguments out of range.
    Source: He, Zhang, Ren, Sun (2015), Delving Deep into Rectifiers, eq. 15.
    """

    examples = (
        Example("HeNormal()", (40, 30, 3, 3), "nonlinearity='relu'"),
        Example("HeNormal(fan='out')", (30, 40, 3, 3), "mode='fan_out', nonlinearity='relu'"),
        Example("HeNormal(0.2)", (80, 100), "a=0.2"),
    )
    twin = "torch.nn.init.kaiming_normal_"


class LeCunUniform(_LeCun, _Uniform):
    """Uniform weights that keep the variance of their inputs, as SELU needs them.

    weight ~ U(-bound, bound), bound = sqrt(3 / fan_in), variance 1 / fan_in

    Source: LeCun, Bottou, Orr, Mueller (1998), Efficient BackProp, section 4.6.
    """

    examples = (Example("LeCunUniform()", (40, 30, 3, 3), "nonlinearity='linear'"),)
    twin = "torch.nn.init.kaiming_uniform_"


class LeCunNormal(_LeCun, _Normal):
    """Normally distributed weights that keep the variance of their inputs, as SELU needs them.

    weight ~ N(0, std^2), std = sqrt(1 / fan_in)

    Source: LeCun, Bottou, Orr, Mueller (1998), Efficient BackProp; Klambauer, Unterthiner, Mayr, Hochreiter (2017),
    Self-Normalizing Neural Networks.
    """

    examples = (Example("LeCunNormal()", (40, 30, 3, 3), "nonlinearity='linear'"),)
    twin = "torch.nn.init.kaiming_normal_"
