"""Normalisation of each sample, over all of its numbers or over the channels at each place."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cnnkit.components import Initializer
from cnnkit.components.checks import one_of, true_or_false
from cnnkit.initializers import ONES
from cnnkit.layers.norm import _SampleNorm, initializer_of_scale, small
from cnnkit.types import Example, Shape


class _AxesNorm(_SampleNorm):
    """One mean for all numbers of a sample, with gamma and beta of its shape; or one at each place, over its channels,
    with gamma and beta that have a number for each channel.
    """

    def __init__(
        self, axes: str = "all", epsilon: float = 1e-5, affine: bool = True, *, initializer: Initializer = ONES
    ) -> None:
        self.axes = one_of("axes", axes, ("all", "channels"))
        self.epsilon = small(epsilon)
        self.affine = true_or_false("affine", affine)
        self.initializer = initializer_of_scale(initializer, self.affine)

    def _mean_axes(self, axes: int) -> Shape:
        return tuple(range(1, axes)) if self.axes == "all" else (1,)

    def _count(self, in_shape: Shape) -> int:
        return math.prod(in_shape) if self.axes == "all" else in_shape[0]

    def _parameter_shape(self, in_shape: Shape) -> Shape:
        return in_shape if self.axes == "all" else in_shape[:1]

    def _onnx_rows(self, shape: Shape) -> tuple[Sequence[int], int]:
        return (0, -1) if self.axes == "all" and len(shape) > 1 else (), 1


class LayerNorm(_AxesNorm):
    """All numbers of a sample, or its channels at each place, with mean 0 and variance 1, then a scale and an offset.

    Forward:   xhat = (x - mean) / sqrt(var + epsilon), y = gamma * xhat + beta
    Backward:  dx = (g - mean(g) - xhat * mean(g * xhat)) / sqrt(var + epsilon) with g = gamma * dy,
               dgamma = sum of dy * xhat, dbeta = sum of dy

    x, y: (N, ...), the same shape. axes="all": means run over all axes but N, and gamma and beta have a sample's shape;
    sums run over N. axes="channels": means run over axis 1, at each place by themselves, and gamma and beta are (C,);
    sums run over N and all places. gamma starts as the initializer says, 1 without one; beta at 0. With affine=False
    there is neither.
    Raises ConfigError for arguments out of range, ShapeError where each mean would be that of a single number.
    Source: Ba, Kiros, Hinton (2016), Layer Normalization; Liu, Mao, Wu, Feichtenhofer, Darrell, Xie (2022), A ConvNet
    for the 2020s, for "channels".
    """

    lesson = (
        "From every number the mean of all numbers, or of all channels at its place, is subtracted, and the rest is "
        "divided by their spread (the root of their variance); learned factors then stretch it, and offsets move it.",
        "Each sample is treated by itself, in training as in prediction, whatever else is in its batch.",
    )
    examples = (
        Example("LayerNorm()", (13,), "13"),
        Example("LayerNorm()", (3, 4, 5), "(3, 4, 5)"),
        Example("LayerNorm(epsilon=0.01, affine=False)", (2, 7), "(2, 7), eps=0.01, elementwise_affine=False"),
        Example('LayerNorm("channels")', (6,), "6"),
        Example('LayerNorm("channels")', (4, 3, 5)),
        Example('LayerNorm("channels", 0.01, False)', (3, 7)),
    )
    twin = "torch.nn.LayerNorm"
    operators = _SampleNorm.operators
    cost = _SampleNorm.cost


class RMSNorm(_AxesNorm):
    """All numbers of a sample, or its channels at each place, with a mean square of 1, then a learned scale.

    Forward:   xhat = x / sqrt(mean(x^2) + epsilon), y = gamma * xhat
    Backward:  dx = (g - xhat * mean(g * xhat)) / sqrt(mean(x^2) + epsilon) with g = gamma * dy,
               dgamma = sum of dy * xhat

    x, y: (N, ...), the same shape. axes="all": means run over all axes but N, and gamma has a sample's shape; the sum
    runs over N. axes="channels": means run over axis 1, at each place by themselves, and gamma is (C,); the sum runs
    over N and all places. gamma starts as the initializer says, 1 without one; with affine=False there is none.
    Raises ConfigError for arguments out of range.
    Source: Zhang, Sennrich (2019), Root Mean Square Layer Normalization.
    """

    lesson = (
        "Every number is divided by the root of the mean square of all numbers, or of all channels at its place; "
        "learned factors then stretch it.",
        "It keeps numbers of one size as layer normalisation does, with less to compute: no mean is subtracted.",
    )
    examples = (
        Example("RMSNorm()", (13,), "13, eps=1e-6"),
        Example("RMSNorm()", (3, 4, 5), "(3, 4, 5), eps=1e-6"),
        Example("RMSNorm(epsilon=0.01, affine=False)", (2, 7), "(2, 7), eps=0.01, elementwise_affine=False"),
        Example('RMSNorm("channels")', (6,), "6, eps=1e-6"),
        Example('RMSNorm("channels")', (4, 3, 5)),
        Example('RMSNorm("channels", 0.01, False)', (1, 7)),
    )
    twin = "torch.nn.RMSNorm"
    operators = tuple(name for name in _SampleNorm.operators if name != "Sub")
    cost = _SampleNorm.cost
    centred = False

    def __init__(
        self, axes: str = "all", epsilon: float = 1e-6, affine: bool = True, *, initializer: Initializer = ONES
    ) -> None:
        super().__init__(axes, epsilon, affine, initializer=initializer)
