"""Pooling: one number for each window."""

from __future__ import annotations

import math

import numpy as np

from cnnkit.components import Layer
from cnnkit.components.checks import pair
from cnnkit.errors import ConfigError
from cnnkit.layers.window import Padding, Pair, Window, check_padding, image_shape, window_over
from cnnkit.types import Array, Cache, Context, Grads, Graph, Shape


class _Pool(Layer):
    """Configuration and shapes, the same for both kinds of pooling."""

    window: Window
    """Where the windows land on the images that the layer was built for."""

    def __init__(self, size: int | Pair, stride: int | Pair | None = None, padding: Padding = 0) -> None:
        self.size = size
        self.stride = stride
        self.padding = check_padding(padding)
        sizes, paddings = pair("size", size), (0, 0) if isinstance(padding, str) else pair("padding", padding, 0)
        if stride is not None:
            pair("stride", stride)
        if any(p >= k for p, k in zip(paddings, sizes, strict=True)):
            raise ConfigError(
                "padding must be smaller than size, or a window would hold padding alone; "
                f"got padding={padding!r} and size={size!r}"
            )

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """(C, H, W) -> (C, oh, ow)."""
        name = type(self).__name__
        channels, image = image_shape(name, in_shape)
        stride = self.size if self.stride is None else self.stride
        self.window = window_over(name, image, self.size, stride, self.padding)
        return channels, *self.window.out_size


class MaxPool2D(_Pool):
    """The largest number in each window.

    Forward:   y[n,c,p,q] = max over i,j of x[n, c, p*stride + i - padding, q*stride + j - padding]
    Backward:  dx = dy where the maximum was taken; of equal maxima the first in the window's column order

    x: (N, C, H, W); y: (N, C, oh, ow) with oh = floor((H + padding - size) / stride) + 1. size, stride: a number or
    (height, width), stride is size if None; padding: likewise, for both ends, "same" (oh = ceil(H / stride)) or
    "valid" (0); it counts as -inf.
    Raises ConfigError for arguments out of range, ShapeError if the window does not fit the input.
    Source: ONNX operator MaxPool. Which of equal maxima gets the gradient is free: each choice is a subgradient.
    """

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """A running maximum over the elements of the window that meet the image."""
        inner = x.transpose(1, 2, 3, 0)
        y = ctx.empty((x.shape[1], *self.window.out_size, len(x)))
        y[...] = -math.inf
        for _, _, place, met in self.window.elements():
            np.maximum(y[place], inner[met], out=y[place])
        return y.transpose(3, 0, 1, 2), (inner, y)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """Each dy goes to the first element that equals the maximum, and to no other."""
        inner, y = cache
        inner_dy = dy.transpose(1, 2, 3, 0)
        dx = ctx.empty(inner.shape)
        dx[...] = 0
        waiting = np.ones(y.shape, bool)
        for _, _, place, met in sorted(self.window.elements(), key=lambda at: (at[1], at[0])):
            first = waiting[place] & (inner[met] == y[place])
            dx[met] += inner_dy[place] * first
            waiting[place] ^= first
        return dx.transpose(3, 0, 1, 2), {}

    def lower(self, graph: Graph, x: str) -> str:
        """ONNX MaxPool, with explicit pads; of a window larger than the image, what can meet it."""
        return graph.add("MaxPool", x, **self.window.without_idle().onnx)


class AvgPool2D(_Pool):
    """The mean of each window.

    Forward:   y[n,c,p,q] = sum over i,j of x[n, c, p*stride + i - padding, q*stride + j - padding] / (kh*kw)
    Backward:  dx = dy / (kh*kw), added up over the windows that an element is in

    x: (N, C, H, W); y: (N, C, oh, ow); arguments as in MaxPool2D. Padding counts as zeros, and is counted in kh*kw.
    Raises ConfigError for arguments out of range, ShapeError if the window does not fit the input.
    Source: ONNX operator AveragePool with count_include_pad=1, PyTorch's default.
    """

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """A running sum over the elements of the window that meet the image."""
        inner = x.transpose(1, 2, 3, 0)
        y = ctx.empty((x.shape[1], *self.window.out_size, len(x)))
        y[...] = 0
        for _, _, place, met in self.window.elements():
            y[place] += inner[met]
        y /= self._count
        return y.transpose(3, 0, 1, 2), x.shape

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """The same share for every element of a window."""
        samples, channels, height, width = cache
        share = dy.transpose(1, 2, 3, 0) / self._count
        dx = ctx.empty((channels, height, width, samples))
        dx[...] = 0
        for _, _, place, met in self.window.elements():
            dx[met] += share[place]
        return dx.transpose(3, 0, 1, 2), {}

    def lower(self, graph: Graph, x: str) -> str:
        """ONNX AveragePool, with explicit pads; of a window larger than the image, what can meet it."""
        window = self.window.without_idle()
        mean = graph.add("AveragePool", x, **window.onnx, count_include_pad=1)
        share = window.rows.size * window.columns.size / self._count
        return mean if share == 1 else graph.add("Mul", mean, np.array(share, np.float32))

    @property
    def _count(self) -> float:
        return float(self.window.rows.size * self.window.columns.size)
