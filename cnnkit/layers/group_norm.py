"""Normalisation of each sample, of groups of its channels or of each channel, over all places."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cnnkit.components import Initializer
from cnnkit.components.checks import true_or_false, whole
from cnnkit.errors import ShapeError
from cnnkit.initializers import ONES
from cnnkit.layers.norm import _SampleNorm, initializer_of_scale, small
from cnnkit.layers.window import image_shape, signal_shape
from cnnkit.types import Array, Example, Shape


class _ChannelNorm(_SampleNorm):
    """One mean for a group of channels, all places together; gamma and beta have a number for each channel."""

    def _groups(self, channels: int) -> int:
        """How many groups so many channels make."""
        raise NotImplementedError  # derived classes define it

    def _parts(self, x: Array) -> Array:
        """(N, C, ...) -> (N, groups, C / groups, ...)."""
        return x.reshape(len(x), self._groups(x.shape[1]), -1, *x.shape[2:])

    def _mean_axes(self, axes: int) -> Shape:
        return tuple(range(2, axes))

    def _common_axes(self, axes: int) -> Shape:
        return tuple(range(2, axes))

    def _count(self, in_shape: Shape) -> int:
        return math.prod(in_shape) // self._groups(in_shape[0])

    def _onnx_rows(self, shape: Shape) -> tuple[Sequence[int], int]:
        return (0, self._groups(shape[0]), -1), 2


class GroupNorm(_ChannelNorm):
    """Each group of channels of a sample with mean 0 and variance 1, then a scale and an offset for each channel.

    Forward:   xhat = (x - mean) / sqrt(var + epsilon), y[n,c] = gamma[c] * xhat[n,c] + beta[c]
    Backward:  dx = (g - mean(g) - xhat * mean(g * xhat)) / sqrt(var + epsilon) with g[n,c] = gamma[c] * dy[n,c],
               dgamma[c] = sum of dy * xhat, dbeta[c] = sum of dy

    x, y: (N, C, ...), the same shape; gamma, beta: (C,), none of both with affine=False; means run over the C / groups
    channels of a group and all places; sums over N and all places.
    gamma starts as the initializer says, 1 without one; beta at 0.
    Raises ConfigError for arguments out of range, ShapeError if the groups do not fit the channels, or have one number.
    Source: Wu, He (2018), Group Normalization.
    """

    lesson = (
        "From every number the mean of its group of channels is subtracted, and the rest is divided by the group's "
        "spread (the root of its variance); learned factors stretch the channels, and learned offsets move them.",
        "Each image is treated by itself, so that it works as well with few images in a batch as with many.",
    )
    examples = (
        Example("GroupNorm(2)", (4, 3, 5), "2, 4"),
        Example("GroupNorm(1, epsilon=0.01)", (3, 2, 1), "1, 3, eps=0.01"),
        Example("GroupNorm(3, affine=False)", (6, 7), "3, 6, affine=False"),
        Example("GroupNorm(5, initializer=Constant(2))", (5, 3, 7), "5, 5"),
        Example("GroupNorm(4)", (12,), "4, 12"),
    )
    twin = "torch.nn.GroupNorm"
    operators = _SampleNorm.operators
    cost = _SampleNorm.cost

    def __init__(
        self, groups: int, epsilon: float = 1e-5, affine: bool = True, *, initializer: Initializer = ONES
    ) -> None:
        self.groups = whole("groups", groups)
        self.epsilon = small(epsilon)
        self.affine = true_or_false("affine", affine)
        self.initializer = initializer_of_scale(initializer, self.affine)

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """Keeps the shape; gamma starts as the initializer says, and beta at 0."""
        if in_shape[0] % self.groups:
            raise ShapeError(
                f"GroupNorm expects a number of input channels that is a multiple of its {self.groups} groups, got "
                f"{in_shape[0]} channels; change groups, or the filters of the layer before it"
            )
        return super().build(in_shape, rng)

    def _groups(self, channels: int) -> int:
        return self.groups


class _InstanceNorm(_ChannelNorm):
    """Each channel of a sample is a group."""

    def __init__(self, epsilon: float = 1e-5, affine: bool = False, *, initializer: Initializer = ONES) -> None:
        self.epsilon = small(epsilon)
        self.affine = true_or_false("affine", affine)
        self.initializer = initializer_of_scale(initializer, self.affine)

    def _groups(self, channels: int) -> int:
        return channels


class InstanceNorm1D(_InstanceNorm):
    """Each channel of each signal with mean 0 and variance 1, then a learned scale and offset if `affine`.

    Forward:   xhat = (x - mean) / sqrt(var + epsilon), y[n,c] = gamma[c] * xhat[n,c] + beta[c]
    Backward:  dx = gamma * (dy - mean(dy) - xhat * mean(dy * xhat)) / sqrt(var + epsilon),
               dgamma[c] = sum of dy * xhat, dbeta[c] = sum of dy

    x, y: (N, C, L), the same shape; gamma, beta: (C,), 1 and 0 with affine=False; means run over L, sums over N and L.
    gamma starts as the initializer says, 1 without one; beta at 0.
    Raises ConfigError for arguments out of range, ShapeError unless the input is a signal of more than one number.
    Source: Ulyanov, Vedaldi, Lempitsky (2016), Instance Normalization.
    """

    lesson = (
        "From every number the mean of its channel in this signal is subtracted, and the rest is divided by that "
        "channel's spread, the root of its variance.",
        "How loud a signal is, and around which level it moves, no longer matters; its form does.",
    )
    examples = (
        Example("InstanceNorm1D()", (3, 7), "3"),
        Example("InstanceNorm1D(epsilon=0.01, affine=True)", (2, 5), "2, eps=0.01, affine=True"),
    )
    twin = "torch.nn.InstanceNorm1d"
    operators = _SampleNorm.operators
    cost = _SampleNorm.cost

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """Keeps the shape, that of a signal."""
        signal_shape("InstanceNorm1D", in_shape)
        return super().build(in_shape, rng)


class InstanceNorm2D(_InstanceNorm):
    """Each channel of each image with mean 0 and variance 1, then a learned scale and offset if `affine`.

    Forward:   xhat = (x - mean) / sqrt(var + epsilon), y[n,c] = gamma[c] * xhat[n,c] + beta[c]
    Backward:  dx = gamma * (dy - mean(dy) - xhat * mean(dy * xhat)) / sqrt(var + epsilon),
               dgamma[c] = sum of dy * xhat, dbeta[c] = sum of dy

    x, y: (N, C, H, W), the same shape; gamma, beta: (C,), 1 and 0 with affine=False; means run over H and W, sums over
    N, H and W.
    gamma starts as the initializer says, 1 without one; beta at 0.
    Raises ConfigError for arguments out of range, ShapeError unless the input is an image of more than one pixel.
    Source: Ulyanov, Vedaldi, Lempitsky (2016), Instance Normalization.
    """

    lesson = (
        "From every number the mean of its channel in this image is subtracted, and the rest is divided by that "
        "channel's spread, the root of its variance.",
        "How bright an image is, and how strong its contrast, no longer matters; networks that change an image's style "
        "need that.",
    )
    examples = (
        Example("InstanceNorm2D()", (3, 4, 5), "3"),
        Example("InstanceNorm2D(affine=True)", (2, 1, 7), "2, affine=True"),
        Example("InstanceNorm2D(0.01)", (1, 3, 3), "1, eps=0.01"),
    )
    twin = "torch.nn.InstanceNorm2d"
    operators = _SampleNorm.operators
    cost = _SampleNorm.cost

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """Keeps the shape, that of an image."""
        image_shape("InstanceNorm2D", in_shape)
        return super().build(in_shape, rng)
