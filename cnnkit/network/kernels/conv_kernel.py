"""Convolution of pixels-first images, with bias, activation and maximum pooling in the same pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.components.checks import pair
from cnnkit.layers import Conv2D
from cnnkit.layers.conv import CONVOLUTIONS
from cnnkit.network.kernels.epilogue import Epilogue, epilogue_of
from cnnkit.network.kernels.input_gradient import InputGradient
from cnnkit.network.kernels.layout import (
    channel_sums,
    flat_pixels,
    logical,
    pixels_first,
    spread,
)
from cnnkit.network.kernels.pool_kernel import empty_winners, max_pool, max_unpool
from cnnkit.network.kernels.products import BLAS, Products
from cnnkit.network.kernels.weight_gradient import weight_gradient
from cnnkit.network.kernels.window_axes import trimmed
from cnnkit.network.kernels.winograd import fastest_correlation
from cnnkit.types import Array, Cache, Context, Grads


class ConvKernel:
    """Conv2D, then optionally MaxPool2D(pool) and an activation; for convolutions without groups and dilation.

    Equals the plain layers one after another:

        y = conv.forward(x)
        if pool > 1: y = MaxPool2D(pool).forward(y)
        if activation: y = activation.forward(y)

    It works on a few output rows at a time, so that patches and products stay in the core's cache; nothing is kept
    for the backward pass but x, y and where the maxima were. Bias and activation commute with the maximum, so they run
    after it, on the smaller image.
    """

    products: ClassVar[Products] = BLAS

    def __init__(self, conv: Conv2D, epilogue: Epilogue, *, needs_dx: bool) -> None:
        self.conv = conv
        self.epilogue = epilogue
        self.needs_dx = needs_dx
        self.rows, self.columns = (trimmed(axis, epilogue.pool) for axis in (conv.window.rows, conv.window.columns))
        """Without the rows and columns that pooling would leave out."""
        filters, channels = conv.params["weight"].shape[:2]
        sizes = self.rows, self.columns, channels, filters, self.products
        self.correlation = fastest_correlation(*sizes)
        self.weight_gradient = weight_gradient(*sizes)
        self.input_gradient = InputGradient(*sizes)

    @classmethod
    def take(cls, layers: Sequence[Layer | Merge], needs_dx: bool, /) -> tuple[Self, int] | None:
        """A convolution with as much of its epilogue as there is."""
        first = layers[0]
        if not isinstance(first, Conv2D) or type(first) not in CONVOLUTIONS or first.groups > 1:
            return None
        if pair("dilation", first.dilation) != (1, 1):
            return None
        epilogue, used = epilogue_of(layers[1:3], pools=True)
        return cls(first, epilogue, needs_dx=needs_dx), 1 + used

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """One product for each output pixel."""
        pixels, pool, weight = pixels_first(x, ctx), self.epilogue.pool, self.conv.params["weight"]
        height, width, samples = self.rows.positions, self.columns.positions, len(x)
        y = ctx.empty((height // pool, width // pool, len(weight), samples))
        winners = empty_winners((height, width, len(weight), samples), pool, ctx) if pool > 1 and ctx.training else None
        bias = spread(self.conv.params["bias"], y, ctx) if self.conv.bias else None
        out = y if pool == 1 else None
        for block, convolved in self.correlation.over(pixels, weight, ctx, out, step=pool):
            pooled = slice(block.start // pool, block.stop // pool)
            part = y[pooled]
            if pool > 1:
                max_pool(convolved, pool, part, winners and winners.of(pooled), ctx)
            if bias is not None:
                np.add(flat_pixels(part), bias, out=flat_pixels(part))
            self.epilogue.apply(part)
        return logical(y), (pixels, winners, self.epilogue.kept(y))

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array | None, Grads]:
        """The gradient of the weights, and of the input where someone needs it."""
        x, winners, y = cache
        inner_dy = self.epilogue.passed(pixels_first(dy, ctx), y, ctx)
        grads: Grads = {}
        if self.conv.bias:  # pooling hands every gradient to exactly one place, so it keeps their sum
            grads["bias"] = channel_sums(inner_dy, ctx)
        if winners is not None:
            shape = (self.rows.positions, self.columns.positions, *inner_dy.shape[2:])
            inner_dy = max_unpool(inner_dy, winners, self.epilogue.pool, ctx.empty(shape), ctx)
        grads["weight"] = self.weight_gradient.of(x, inner_dy, ctx)
        if not self.needs_dx:
            return None, grads
        return logical(self.input_gradient.of(inner_dy, self.conv.params["weight"], ctx)), grads
