"""Convolution of signals as images one pixel high."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from cnnkit.components import Layer, Merge
from cnnkit.layers import Conv1D, Conv2D
from cnnkit.layers.signals import as_images, as_signals
from cnnkit.network.kernels.conv_kernel import ConvKernel
from cnnkit.network.kernels.grouped_kernel import GroupedConvKernel
from cnnkit.types import Array, Cache, Context, Grads


class SignalConvKernel:
    """Conv1D, then optionally an activation, by the kernel for the same convolution of images.

    Equals the plain layers one after another:

        y = conv.forward(x)
        if activation: y = activation.forward(y)
    """

    def __init__(self, conv: Conv1D, kernel: ConvKernel | GroupedConvKernel) -> None:
        self.conv = conv
        self.kernel = kernel

    @classmethod
    def take(cls, layers: Sequence[Layer | Merge], needs_dx: bool, /) -> tuple[Self, int] | None:
        """A convolution of signals with the activation behind it."""
        first = layers[0]
        if type(first) is not Conv1D:
            return None
        kernel: type[ConvKernel | GroupedConvKernel] = ConvKernel if first.groups == 1 else GroupedConvKernel
        image = Conv2D(first.filters, 1, dilation=first.dilation, groups=first.groups, bias=first.bias)
        image.window = first.window
        image.params = _of_images(first)
        taken = kernel.take([image, *layers[1:]], needs_dx)
        return taken and (cls(first, taken[0]), taken[1])

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """Images are views of signals, and weights views of those that the layer has now: they may have moved."""
        self.kernel.conv.params = _of_images(self.conv)
        y, cache = self.kernel.forward(as_images(x), ctx)
        return as_signals(y), cache

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array | None, Grads]:
        """Likewise, and so are the weights."""
        dx, grads = self.kernel.backward(as_images(dy), cache, ctx)
        grads["weight"] = grads["weight"][:, :, 0]
        return None if dx is None else as_signals(dx), grads


def _of_images(conv: Conv1D) -> dict[str, Array]:
    """The parameters of the same convolution of images, views of the layer's own."""
    return conv.params | {"weight": conv.params["weight"][:, :, None]}
