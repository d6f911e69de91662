"""Transposed convolution of pixels-first images, with bias and activation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.components.checks import pair
from cnnkit.layers import ConvTranspose2D
from cnnkit.network.kernels.epilogue import Epilogue, epilogue_of
from cnnkit.network.kernels.input_gradient import InputGradient
from cnnkit.network.kernels.layout import channel_sums, flat_pixels, logical, pixels_first, spread
from cnnkit.network.kernels.products import BLAS, Products
from cnnkit.network.kernels.weight_gradient import weight_gradient
from cnnkit.network.kernels.winograd import fastest_correlation
from cnnkit.types import Array, Cache, Context, Grads


class ConvTransposeKernel:
    """ConvTranspose2D, then optionally an activation; without groups and dilation.

    Equals the plain layers one after another:

        y = conv.forward(x)
        if activation: y = activation.forward(y)

    Forward is the gradient of a convolution's input, backward that convolution: its filters are the channels here.
    """

    products: ClassVar[Products] = BLAS

    def __init__(self, conv: ConvTranspose2D, epilogue: Epilogue, *, needs_dx: bool) -> None:
        self.conv = conv
        self.epilogue = epilogue
        self.needs_dx = needs_dx
        rows, columns = conv.window.rows, conv.window.columns
        channels, filters = conv.params["weight"].shape[:2]
        sizes = rows, columns, filters, channels, self.products
        self.transposed = InputGradient(*sizes)
        self.correlation = fastest_correlation(*sizes)
        self.weight_gradient = weight_gradient(*sizes)

    @classmethod
    def take(cls, layers: Sequence[Layer | Merge], needs_dx: bool, /) -> tuple[Self, int] | None:
        """A transposed convolution with the activation behind it."""
        first = layers[0]
        if type(first) is not ConvTranspose2D or first.groups > 1 or pair("dilation", first.dilation) != (1, 1):
            return None
        epilogue, used = epilogue_of(layers[1:2])
        return cls(first, epilogue, needs_dx=needs_dx), 1 + used

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """Bias and activation follow on the whole image."""
        pixels = pixels_first(x, ctx)
        y = self.transposed.of(pixels, self.conv.params["weight"], ctx)
        if self.conv.bias:
            flat = flat_pixels(y)
            np.add(flat, spread(self.conv.params["bias"], y, ctx), out=flat)
        self.epilogue.apply(y)
        return logical(y), (pixels, self.epilogue.kept(y))

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array | None, Grads]:
        """The gradient of the weights, and of the input where someone needs it."""
        x, y = cache
        inner_dy = self.epilogue.passed(pixels_first(dy, ctx), y, ctx)
        grads = {"weight": self.weight_gradient.of(inner_dy, x, ctx)}
        if self.conv.bias:
            grads["bias"] = channel_sums(inner_dy, ctx)
        if not self.needs_dx:
            return None, grads
        dx = ctx.empty(x.shape)
        for _ in self.correlation.over(inner_dy, self.conv.params["weight"], ctx, dx):
            pass
        return logical(dx), grads
