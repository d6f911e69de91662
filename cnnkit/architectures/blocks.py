"""What many architectures are made of: convolutions with normalisation and activation, and the ends of classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnnkit.components import Layer, Merge
from cnnkit.components.checks import whole
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError
from cnnkit.layers import (
    BatchNorm2D,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalAvgPool2D,
    LocalResponseNorm,
    ReLU,
)

Part = Layer | Merge
DEEPEST = 1_202
"""The depth of the deepest network that the papers train (He et al. 2016, section 4.2)."""


def stages(name: str, counts: Any) -> tuple[int, ...]:
    """Return the argument `name` if it is a tuple with a whole number for each stage, `DEEPEST` together at most."""
    if not isinstance(counts, tuple) or not counts:
        raise ConfigError(f"{name} must be a tuple with a whole number for each stage, got {shown(counts)}")
    for count in counts:
        whole(name, count)
    if sum(counts) > DEEPEST:
        raise ConfigError(f"{name} must add up to {DEEPEST:,} at most, got {shown(counts)}")
    return counts


def normalised(
    filters: int, kernel: int, stride: int = 1, *, groups: int = 1, activation: type[Layer] | None = ReLU
) -> list[Part]:
    """A convolution that keeps the size (or divides it by the stride), batch normalisation, and an activation."""
    conv = Conv2D(filters, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return [conv, BatchNorm2D(), *([] if activation is None else [activation()])]


def depthwise(kernel: int, stride: int = 1, *, activation: type[Layer] | None = ReLU) -> list[Part]:
    """As `normalised`, each channel by itself."""
    conv = DepthwiseConv2D(kernel, stride, padding=kernel // 2, bias=False)
    return [conv, BatchNorm2D(), *([] if activation is None else [activation()])]


def response_normalised() -> Part:
    """Normalisation over neighbouring channels, as of 2012 (Krizhevsky et al., section 3.3)."""
    return LocalResponseNorm(5, 0.0005, 0.75, 2.0)  # of which the layer takes the mean, and the paper the sum


def classifier(classes: int, before: Sequence[Part] = ()) -> list[Part]:
    """The mean of each channel, and a score for each class."""
    return [GlobalAvgPool2D(), *before, Dense(classes)]


def flat_classifier(classes: int, *hidden: int) -> list[Part]:
    """Hidden dense layers over all numbers of an image, and a score for each class."""
    layers: list[Part] = [Flatten()]
    for units in hidden:
        layers += [Dense(units), ReLU()]
    return [*layers, Dense(classes)]
