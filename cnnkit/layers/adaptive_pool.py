"""Pooling to a given size: as many windows as the output has pixels, or one for the whole image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from cnnkit.components import Layer
from cnnkit.components.checks import pair, true_or_false
from cnnkit.components.sums import sum_over
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError
from cnnkit.layers.window import Pair, image_shape
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape

Bins = tuple[slice, ...]


def bins(length: int, count: int) -> Bins:
    """`count` windows that cover an axis, each from floor(k * length / count) to ceil((k + 1) * length / count)."""
    return tuple(slice(k * length // count, -(-(k + 1) * length // count)) for k in range(count))


MOST = 2**16
"""Windows along an axis, which are listed when the layer is built."""


class _AdaptivePool2D(Layer):
    """Configuration, shapes and windows, the same for both kinds of adaptive pooling."""

    _bins: tuple[Bins, Bins]
    """The windows along the rows and the columns of the images that the layer was built for."""

    def __init__(self, size: int | Pair) -> None:
        self.size = size
        if max(pair("size", size)) > MOST:
            raise ConfigError(f"size must be at most {MOST:,}, got {shown(size)}")

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """(C, H, W) -> (C, oh, ow)."""
        channels, (height, width) = image_shape(type(self).__name__, in_shape)
        rows, columns = pair("size", self.size)
        self._bins = bins(height, rows), bins(width, columns)
        return channels, rows, columns

    def _fold(self, x: Array, into: np.ufunc, ctx: Context) -> Array:
        """Each window by a function of two numbers, rows first: (N, C, H, W) -> (oh, ow, C, N)."""
        inner = x.transpose(2, 3, 1, 0)
        rows, columns = self._bins
        lines = ctx.empty((len(rows), *inner.shape[1:]))
        for k, met in enumerate(rows):
            _reduce(inner[met], 0, into, lines[k])
        y = ctx.empty((len(rows), len(columns), *inner.shape[2:]))
        for k, met in enumerate(columns):
            _reduce(lines[:, met], 1, into, y[:, k])
        return y

    def _onnx_window(self) -> dict[str, list[int]] | None:
        """Attributes of an operator whose windows these are; None if they are not side by side and of one size."""
        found = [windows[0].stop for windows in self._bins]
        ends = [windows[-1].stop for windows in self._bins]
        if any(end != size * len(windows) for end, size, windows in zip(ends, found, self._bins, strict=True)):
            return None
        return {"kernel_shape": found, "strides": found}

    def _cost(self, in_shapes: Sequence[Shape], out_shape: Shape, what: str) -> LayerCost:
        channels, _, width = in_shapes[0]
        rows, columns = (sum(one.stop - one.start for one in windows) for windows in self._bins)
        made = channels * (rows * width + len(self._bins[0]) * columns)
        return LayerCost(
            made,
            f"{what} for each of {made:,} numbers in windows, rows first",
            seen=channels * rows * columns,
            scratch=channels * len(self._bins[0]) * width,
            rounds=math.prod(map(len, self._bins)),
            touched=made,
        )


class AdaptiveAvgPool2D(_AdaptivePool2D):
    """The mean of each of so many windows that cover the image.

    Forward:   y[n,c,p,q] = mean of x[n, c, floor(p*H/oh) : ceil((p+1)*H/oh), floor(q*W/ow) : ceil((q+1)*W/ow)]
    Backward:  dx = dy / (numbers of its window), added up over the windows that an element is in

    x: (N, C, H, W); y: (N, C, oh, ow) with (oh, ow) = size, a number or (height, width). Windows are equal, side by
    side, where H and W are multiples of it, and may overlap elsewhere.
    Raises ConfigError for a size below 1, ShapeError for inputs that are not images.
    Source: PyTorch's AdaptiveAvgPool2d; He, Zhang, Ren, Sun (2014), Spatial Pyramid Pooling in Deep Convolutional
    Networks for Visual Recognition.
    """

    lesson = (
        "The image is cut into a fixed number of windows, whatever its size, and of each the mean is kept.",
        "What comes next, such as a dense layer, always gets as many numbers.",
    )
    examples: ClassVar[tuple[Example, ...]] = (
        Example("AdaptiveAvgPool2D(2)", (2, 5, 6), "2"),
        Example("AdaptiveAvgPool2D((3, 2))", (3, 6, 4), "(3, 2)"),
        Example("AdaptiveAvgPool2D((1, 4))", (2, 7, 5), "(1, 4)"),
        Example("AdaptiveAvgPool2D(5)", (2, 3, 4), "5"),
    )
    twin = "torch.nn.AdaptiveAvgPool2d"
    operators = ("AveragePool", "MatMul")

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """Sums over the rows of each window, then over its columns."""
        y = self._fold(x, np.add, ctx)
        y *= self._shares(y.dtype)
        return y.transpose(3, 2, 0, 1), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """Every element of a window gets an equal share."""
        inner = dy.transpose(2, 3, 1, 0)
        share = np.multiply(inner, self._shares(dy.dtype), out=ctx.empty(inner.shape))
        rows, columns = self._bins
        lines = ctx.empty((len(rows), columns[-1].stop, *inner.shape[2:]))
        lines[...] = 0
        for k, met in enumerate(columns):
            lines[:, met] += share[:, k : k + 1]
        dx = ctx.empty((rows[-1].stop, *lines.shape[1:]))
        dx[...] = 0
        for k, met in enumerate(rows):
            dx[met] += lines[k]
        return dx.transpose(3, 2, 0, 1), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX AveragePool where windows are equal and side by side, else a product with the shares for each axis."""
        if window := self._onnx_window():
            return graph.add("AveragePool", x, **window)
        rows, columns = (_shares_matrix(windows) for windows in self._bins)
        return graph.add("MatMul", graph.add("MatMul", rows, x), columns.T)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return self._cost(in_shapes, out_shape, "an addition")

    def _shares(self, dtype: np.dtype[np.generic]) -> Array:
        """1 / (numbers of each window), (oh, ow, 1, 1)."""
        rows, columns = (np.array([one.stop - one.start for one in windows]) for windows in self._bins)
        return np.asarray(1 / np.multiply.outer(rows, columns)[..., None, None], dtype)


class AdaptiveMaxPool2D(_AdaptivePool2D):
    """The largest number of each of so many windows that cover the image.

    Forward:   y[n,c,p,q] = max of x[n, c, floor(p*H/oh) : ceil((p+1)*H/oh), floor(q*W/ow) : ceil((q+1)*W/ow)]
    Backward:  dx = dy where the maximum was taken; of equal maxima the first in the window's row order

    x: (N, C, H, W); y: (N, C, oh, ow) with (oh, ow) = size, a number or (height, width). Windows are those of
    AdaptiveAvgPool2D.
    Raises ConfigError for a size below 1, ShapeError for inputs that are not images.
    Source: PyTorch's AdaptiveMaxPool2d; He, Zhang, Ren, Sun (2014), Spatial Pyramid Pooling in Deep Convolutional
    Networks for Visual Recognition.
    """

    lesson = (
        "The image is cut into a fixed number of windows, whatever its size, and of each the largest number is kept.",
        "What comes next, such as a dense layer, always gets as many numbers, and of each part of the image the "
        "strongest.",
    )
    examples: ClassVar[tuple[Example, ...]] = (
        Example("AdaptiveMaxPool2D(2)", (2, 5, 6), "2"),
        Example("AdaptiveMaxPool2D((3, 2))", (3, 6, 4), "(3, 2)"),
        Example("AdaptiveMaxPool2D((1, 4))", (2, 7, 5), "(1, 4)"),
        Example("AdaptiveMaxPool2D(5)", (2, 3, 4), "5"),
    )
    twin = "torch.nn.AdaptiveMaxPool2d"
    operators = ("Gather", "MaxPool")

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """The maxima over the rows of each window, then over its columns."""
        return self._fold(x, np.maximum, ctx).transpose(3, 2, 0, 1), x

    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        """Window by window, to the first element that is the largest, and to no other."""
        inner, inner_dy = x.transpose(2, 3, 1, 0), dy.transpose(2, 3, 1, 0)
        dx = ctx.empty(inner.shape)
        dx[...] = 0
        for p, down in enumerate(self._bins[0]):
            for q, across in enumerate(self._bins[1]):
                window = inner[down, across]
                winner = window.reshape(-1, *window.shape[2:]).argmax(axis=0)
                numbers = np.arange(math.prod(window.shape[:2])).reshape(*window.shape[:2], 1, 1)
                won = np.equal(numbers, winner, out=ctx.empty_bits(window.shape))
                dx[down, across] += np.multiply(won, inner_dy[p, q], out=ctx.empty(window.shape))
        return dx.transpose(3, 2, 0, 1), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX MaxPool; elements of windows that overlap or differ are gathered first, side by side."""
        if window := self._onnx_window():
            return graph.add("MaxPool", x, **window)
        sizes = [max(one.stop - one.start for one in windows) for windows in self._bins]
        for axis, (size, windows) in enumerate(zip(sizes, self._bins, strict=True), 2):
            places = [np.minimum(np.arange(one.start, one.start + size), one.stop - 1) for one in windows]
            x = graph.add("Gather", x, np.concatenate(places), axis=axis)
        return graph.add("MaxPool", x, kernel_shape=sizes, strides=sizes)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return self._cost(in_shapes, out_shape, "a comparison")


class _Global(_AdaptivePool2D):
    """One window for the whole image, whose axes are left out unless they are kept."""

    def __init__(self, keepdims: bool = False) -> None:
        super().__init__(1)
        self.keepdims = true_or_false("keepdims", keepdims)

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """(C, H, W) -> (C,), or (C, 1, 1)."""
        shape = super().build(in_shape, rng)
        return shape if self.keepdims else shape[:1]

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """One number for each channel."""
        y, cache = super().forward(x, ctx)
        return (y if self.keepdims else y[:, :, 0, 0]), cache

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """With the axes that were left out."""
        return super().backward(dy if self.keepdims else dy[:, :, None, None], cache, ctx)

    def _lower(self, graph: OnnxGraph, pooled: str) -> str:
        return pooled if self.keepdims else graph.add("Flatten", pooled, axis=1)


class GlobalAvgPool2D(_Global, AdaptiveAvgPool2D):
    """The mean of each channel.

    Forward:   y[n,c] = mean over h,w of x[n,c,h,w]
    Backward:  dx[n,c,h,w] = dy[n,c] / (H*W)

    x: (N, C, H, W); y: (N, C), or (N, C, 1, 1) with keepdims=True.
    Raises ConfigError unless keepdims is True or False, ShapeError for inputs that are not images.
    Source: Lin, Chen, Yan (2014), Network In Network; ONNX operator GlobalAveragePool.
    """

    lesson = (
        "Of each channel the mean is kept, one number for the whole image.",
        "Where each channel has learned to find one thing, its mean says how much of it there is, wherever it is; no "
        "weights are needed for that.",
    )
    examples: ClassVar[tuple[Example, ...]] = (
        Example("GlobalAvgPool2D()", (3, 5, 4)),
        Example("GlobalAvgPool2D(keepdims=True)", (3, 7, 6), "1"),
        Example("GlobalAvgPool2D()", (2, 1, 1)),
    )
    twin = "torch.nn.AdaptiveAvgPool2d"
    operators = ("Flatten", "GlobalAveragePool")
    cost = AdaptiveAvgPool2D.cost

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX GlobalAveragePool."""
        return self._lower(graph, graph.add("GlobalAveragePool", x))


class GlobalMaxPool2D(_Global, AdaptiveMaxPool2D):
    """The largest number of each channel.

    Forward:   y[n,c] = max over h,w of x[n,c,h,w]
    Backward:  dx[n,c,h,w] = dy[n,c] where the maximum is; of equal maxima the first in row order

    x: (N, C, H, W); y: (N, C), or (N, C, 1, 1) with keepdims=True.
    Raises ConfigError unless keepdims is True or False, ShapeError for inputs that are not images.
    Source: Oquab, Bottou, Laptev, Sivic (2015), Is Object Localization for Free?; ONNX operator GlobalMaxPool.
    """

    lesson = (
        "Of each channel the largest number is kept, one for the whole image.",
        "Where each channel has learned to find one thing, it says whether that is anywhere.",
    )
    examples: ClassVar[tuple[Example, ...]] = (
        Example("GlobalMaxPool2D()", (3, 5, 4)),
        Example("GlobalMaxPool2D(keepdims=True)", (3, 7, 6), "1"),
        Example("GlobalMaxPool2D()", (2, 1, 1)),
    )
    twin = "torch.nn.AdaptiveMaxPool2d"
    operators = ("Flatten", "GlobalMaxPool")
    cost = AdaptiveMaxPool2D.cost

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX GlobalMaxPool."""
        return self._lower(graph, graph.add("GlobalMaxPool", x))


def _reduce(x: Array, axis: int, into: np.ufunc, out: Array) -> None:
    """Fold one axis of x; sums lose nothing of note however long it is."""
    if into is np.add:
        sum_over(x, axis, out=out)
    else:
        into.reduce(x, axis=axis, out=out)


def _shares_matrix(windows: Bins) -> Array:
    """What each window takes of each element: (windows, elements)."""
    matrix = np.zeros((len(windows), windows[-1].stop))
    for row, met in zip(matrix, windows, strict=True):
        row[met] = 1 / (met.stop - met.start)
    return matrix
