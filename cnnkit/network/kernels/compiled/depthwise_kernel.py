"""Depthwise convolution in compiled loops over the images as they lie, with bias and activation."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Self

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.network.kernels.compiled.activations import activation_in_loops
from cnnkit.network.kernels.compiled.direct_conv_kernel import DirectConvKernel, zeros
from cnnkit.network.kernels.compiled.interface import LINEAR
from cnnkit.network.kernels.compiled.segments import Segments, segments_of_gradient, segments_of_output
from cnnkit.network.kernels.layout import float32_pixels, logical
from cnnkit.types import Array, Cache, Context, Grads

LANES = 16
"""What a number of samples must be a multiple of: of any processor's vectors."""
AT_ONCE = 1024
"""Numbers of a pixel's channels that are computed together."""


class DepthwiseKernel:
    """Conv2D with one channel and one filter in each group, then optionally an activation.

    Equals the layers one after another, as `GroupedConvKernel` does, up to the order in which products are added:

        y = conv.forward(x)
        if activation: y = activation.forward(y)

    Images are neither padded nor copied. Tiles with another number of samples than a multiple of LANES are left to
    `DirectConvKernel`.
    """

    def __init__(self, other: DirectConvKernel) -> None:
        self.other = other
        self.conv, self.needs_dx = other.conv, other.needs_dx
        self._activation, self._slope = activation_in_loops(other.epilogue)

    @classmethod
    def take(cls, layers: Sequence[Layer | Merge], needs_dx: bool, /) -> tuple[Self, int] | None:
        """What `DirectConvKernel` takes, if it is depthwise."""
        taken = DirectConvKernel.take(layers, needs_dx)
        if taken is None or not len(taken[0].conv.params["weight"]) == taken[0].conv.groups > 1:
            return None
        return cls(taken[0]), taken[1]

    @functools.cached_property
    def _segments(self) -> Segments:
        return segments_of_output(self.other.rows, self.other.columns)

    @functools.cached_property
    def _gradient_segments(self) -> Segments:
        return segments_of_gradient(self.other.rows, self.other.columns)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """The loops over all of it."""
        samples = len(x)
        if samples % LANES:
            return self.other.forward(x, ctx)
        pixels = float32_pixels(x, ctx)
        weight, channels = self.conv.params["weight"], pixels.shape[2]
        y = ctx.empty((self.other.rows.positions, self.other.columns.positions, channels, samples))
        self.other.functions["depthwise"](
            pixels,
            self._segments.table,
            self._segments.count,
            self._segments.taps(channels * samples),
            weight,
            weight[0].size,
            self.conv.params["bias"] if self.conv.bias else zeros(channels),
            self._activation,
            self._slope,
            y.shape[0] * y.shape[1],
            channels,
            samples,
            _at_once(samples),
            y,
        )
        return logical(y), (pixels, y)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array | None, Grads]:
        """The gradient of the weights, and of the input where someone needs it."""
        samples = len(dy)
        if samples % LANES:
            return self.other.backward(dy, cache, ctx)
        pixels, y = cache
        given = float32_pixels(dy, ctx)
        weight, channels = self.conv.params["weight"], pixels.shape[2]
        dweight, dbias = ctx.gradient("weight", weight.shape), np.zeros(channels)
        dweight[...] = 0
        is_passed = self.conv.bias or self._activation != LINEAR
        segments = self._segments
        dx = ctx.empty(pixels.shape) if self.needs_dx else None
        of_dx = self._gradient_segments if self.needs_dx else segments
        self.other.functions["depthwise_backward"](
            pixels,
            segments.table,
            segments.count,
            segments.taps(channels * samples),
            weight,
            weight[0].size,
            y,
            given,
            is_passed,
            ctx.empty(given.shape) if is_passed else given,
            self._activation,
            self._slope,
            y.shape[0] * y.shape[1],
            channels,
            samples,
            _at_once(samples),
            ctx.empty((_at_once(samples) * weight[0].size * LANES,)),
            dweight,
            dbias,
            of_dx.table,
            of_dx.count if self.needs_dx else 0,
            of_dx.taps(channels * samples),
            zeros(channels),
            y if dx is None else dx,
        )
        grads: Grads = {"weight": dweight}
        if self.conv.bias:
            grads["bias"] = dbias
        return None if dx is None else logical(dx), grads


def _at_once(samples: int) -> int:
    """How many channels of a pixel, and of those around it, stay in the core's first cache."""
    return max(1, AT_ONCE // samples)
