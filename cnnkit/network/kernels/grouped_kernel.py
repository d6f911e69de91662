"""Convolution of pixels-first images in groups of channels, with bias and activation.

The weights of groups have one axis more in here: (groups, filters of a group, channels of a group, kh, kw).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.components.checks import pair
from cnnkit.layers import Conv2D
from cnnkit.layers.conv import CONVOLUTIONS
from cnnkit.layers.window import Axis
from cnnkit.network.kernels.epilogue import Epilogue, epilogue_of
from cnnkit.network.kernels.layout import (
    blocks,
    channel_products,
    channel_sums,
    flat_pixels,
    logical,
    pixels_first,
    spread,
)
from cnnkit.network.kernels.patches import BLOCK_BYTES
from cnnkit.network.kernels.weight_gradient import weight_gradient
from cnnkit.network.kernels.window_axes import inside, phases
from cnnkit.network.kernels.winograd import fastest_correlation
from cnnkit.types import Array, Cache, Context, Grads


class GroupedConvKernel:
    """Conv2D, then optionally an activation; for convolutions with groups and without dilation.

    Equals the plain layers one after another:

        y = conv.forward(x)
        if activation: y = activation.forward(y)

    x: (N, C, H, W); y: (N, filters, oh, ow). Groups of one filter and one channel are sums of shifted images; others
    are separate convolutions. Nothing is kept for the backward pass but x and, for the activation, y.
    """

    def __init__(self, conv: Conv2D, epilogue: Epilogue, *, needs_dx: bool) -> None:
        self.conv = conv
        self.epilogue = epilogue
        self.needs_dx = needs_dx
        self.rows, self.columns = conv.window.rows, conv.window.columns
        filters, channels = conv.params["weight"].shape[:2]
        filters //= conv.groups
        self.correlation = _correlation(self.rows, self.columns, channels, filters)
        self.weight_gradient = _gradient(self.rows, self.columns, channels, filters)

    @classmethod
    def take(cls, layers: Sequence[Layer | Merge], needs_dx: bool, /) -> tuple[Self, int] | None:
        """A convolution in groups with the activation behind it."""
        first = layers[0]
        if not isinstance(first, Conv2D) or type(first) not in CONVOLUTIONS or first.groups == 1:
            return None
        if pair("dilation", first.dilation) != (1, 1):
            return None
        epilogue, used = epilogue_of(layers[1:2])
        return cls(first, epilogue, needs_dx=needs_dx), 1 + used

    @functools.cached_property
    def phases(self) -> list[tuple[tuple[slice, slice], tuple[slice, slice], DepthwiseCorrelation | GroupCorrelation]]:
        """For each phase of the strides: its part of the input, its part of the kernel, and its correlation with dy.

        They are made when the first backward pass needs them.
        """
        filters, channels = self.conv.params["weight"].shape[:2]
        filters //= self.conv.groups
        return [
            ((lines, pixels), (turned, flipped), _correlation(rows, columns, filters, channels))
            for lines, turned, rows in phases(self.rows)
            for pixels, flipped, columns in phases(self.columns)
        ]

    @functools.cached_property
    def _all_met(self) -> bool:
        """Whether each pixel of the input is met by some window."""
        met = sum(part.rows.positions * part.columns.positions for _, _, part in self.phases)
        return met == self.rows.length * self.columns.length

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """Bias and activation follow each block of output rows."""
        pixels, weight = pixels_first(x, ctx), self._grouped(self.conv.params["weight"])
        y = ctx.empty((self.rows.positions, self.columns.positions, self.conv.filters, len(x)))
        bias = spread(self.conv.params["bias"], y, ctx) if self.conv.bias else None
        for block in self.correlation.over(pixels, weight, ctx, y):
            part = y[block]
            if bias is not None:
                np.add(flat_pixels(part), bias, out=flat_pixels(part))
            self.epilogue.apply(part)
        return logical(y), (pixels, self.epilogue.kept(y))

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array | None, Grads]:
        """The gradient of the weights, and of the input where someone needs it."""
        x, y = cache
        inner_dy = self.epilogue.passed(pixels_first(dy, ctx), y, ctx)
        grads = {"weight": ctx.gradient("weight", self.conv.params["weight"].shape)}
        self.weight_gradient.fill(self._grouped(grads["weight"]), x, inner_dy, ctx)
        if self.conv.bias:
            grads["bias"] = channel_sums(inner_dy, ctx)
        if not self.needs_dx:
            return None, grads
        return logical(self._input_gradient(inner_dy, ctx)), grads

    def _input_gradient(self, dy: Array, ctx: Context) -> Array:
        """Correlations of dy with the kernel turned around, one for each phase of the strides: (H, W, C, N)."""
        weight = self._grouped(self.conv.params["weight"]).swapaxes(1, 2)
        dx = ctx.empty((self.rows.length, self.columns.length, self.conv.groups * weight.shape[1], dy.shape[3]))
        if not self._all_met:
            dx[...] = 0
        for place, kernel, correlation in self.phases:
            for _ in correlation.over(dy, weight[:, :, :, *kernel], ctx, dx[place]):
                pass
        return dx

    def _grouped(self, weight: Array) -> Array:
        """(F, C/g, kh, kw) -> (g, F/g, C/g, kh, kw), a view."""
        return weight.reshape(self.conv.groups, -1, *weight.shape[1:], copy=False)


class DepthwiseCorrelation:
    """A sum of shifted images, each times one number for each channel; it equals

        windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(0, 1))
        np.einsum("pqcnij,cij->pqcn", windows, weight[:, 0, 0])

    for strides of 1 and no padding.
    """

    def __init__(self, rows: Axis, columns: Axis) -> None:
        self.rows, self.columns = rows, columns

    def over(self, x: Array, weight: Array, ctx: Context, out: Array) -> Iterator[slice]:
        """Compute some output rows at a time: their slice.

        x: (H, W, C, N); weight: (C, 1, 1, kh, kw); out: (oh, ow, C, N).
        As in `layout.spread`, the channels' numbers are there for every sample, which makes NumPy's inner loop long.
        """
        taps = ctx.empty((*weight.shape[3:], *x.shape[2:]))
        taps[...] = weight[:, 0, 0].transpose(1, 2, 0)[..., None]
        taps, x, out = _flat(taps), _flat(x), _flat(out)
        parts = blocks(len(out), 3 * out[0].nbytes, BLOCK_BYTES)
        products = ctx.empty((parts[0].stop, *out.shape[1:]))
        for block in parts:
            y = out[block]
            y[...] = 0
            for tap, inner, met in _taps(self.rows, self.columns, block):
                np.multiply(x[met], taps[tap], out=products[inner])
                np.add(y[inner], products[inner], out=y[inner])
            yield block


class DepthwiseGradient:
    """For each number of a kernel, the sum of dy times what it meets; it equals

        np.einsum("pqcnij,pqcn->cij", np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(0, 1)), dy)

    for strides of 1 and no padding.
    """

    def __init__(self, rows: Axis, columns: Axis) -> None:
        self.rows, self.columns = rows, columns

    def fill(self, gradient: Array, x: Array, dy: Array, ctx: Context) -> None:
        """gradient: (C, 1, 1, kh, kw); x: (H, W, C, N); dy: (oh, ow, C, N)."""
        sums = np.zeros((self.rows.size, self.columns.size, dy.shape[2]))
        for block in blocks(len(dy), 2 * dy[0].nbytes, BLOCK_BYTES):
            part = dy[block]
            for tap, inner, met in _taps(self.rows, self.columns, block):
                sums[tap] += channel_products(part[inner], x[met], ctx)
        gradient[:, 0, 0] = sums.transpose(2, 0, 1)


class GroupCorrelation:
    """One correlation after another, each of the channels of its group; it equals, for each group g,

        out[:, :, g] = correlation(x[:, :, g], weight[g])

    with the channels of x and the filters of `out` cut into groups.
    """

    def __init__(self, rows: Axis, columns: Axis, channels: int, filters: int) -> None:
        """channels, filters: of a group."""
        self.rows, self.columns = rows, columns
        self._correlation = fastest_correlation(rows, columns, channels, filters)

    def over(self, x: Array, weight: Array, ctx: Context, out: Array) -> Iterator[slice]:
        """Compute all output rows: their slice.

        x: (H, W, C, N); weight: (g, F/g, C/g, kh, kw); out: (oh, ow, F, N).
        """
        groups = len(weight)
        xs, outs = _of_groups(x, groups), _of_groups(out, groups)
        part = ctx.empty(xs.shape[1:])
        for x_of_group, weight_of_group, out_of_group in zip(xs, weight, outs, strict=True):
            part[...] = x_of_group  # contiguous, as patches want it
            for _ in self._correlation.over(part, weight_of_group, ctx, out_of_group):
                pass
        yield slice(0, len(out))


class GroupGradient:
    """One gradient after another; it equals, for each group g,

        weight_gradient(x[:, :, g], dy[:, :, g])

    with the channels of both cut into groups.
    """

    def __init__(self, rows: Axis, columns: Axis, channels: int, filters: int) -> None:
        """channels, filters: of a group."""
        self._gradient = weight_gradient(rows, columns, channels, filters)

    def fill(self, gradient: Array, x: Array, dy: Array, ctx: Context) -> None:
        """gradient: (g, F/g, C/g, kh, kw); x: (H, W, C, N); dy: (oh, ow, F, N)."""
        xs, dys = _of_groups(x, len(gradient)), _of_groups(dy, len(gradient))
        part = ctx.empty(xs.shape[1:])
        for of_group, x_of_group, dy_of_group in zip(gradient, xs, dys, strict=True):
            part[...] = x_of_group
            of_group[...] = self._gradient.of(part, dy_of_group, ctx)


def _correlation(rows: Axis, columns: Axis, channels: int, filters: int) -> DepthwiseCorrelation | GroupCorrelation:
    """The way for groups of these sizes."""
    if channels == filters == 1:
        return DepthwiseCorrelation(rows, columns)
    return GroupCorrelation(rows, columns, channels, filters)


def _gradient(rows: Axis, columns: Axis, channels: int, filters: int) -> DepthwiseGradient | GroupGradient:
    """Likewise."""
    if channels == filters == 1:
        return DepthwiseGradient(rows, columns)
    return GroupGradient(rows, columns, channels, filters)


def _taps(
    rows: Axis, columns: Axis, block: slice
) -> Iterator[tuple[tuple[int, int], tuple[slice, slice], tuple[slice, slice]]]:
    """For each element (i, j) of the kernel: which pixels of these output rows meet the image with it, and where."""
    count = block.stop - block.start
    for i in range(rows.size):
        down, lines = inside(rows, block.start * rows.stride + i - rows.before, count, rows.stride)
        for j in range(columns.size):
            across, pixels = inside(columns, j - columns.before, columns.positions, columns.stride)
            yield (i, j), (down, across), (lines, pixels)


def _flat(pixels: Array) -> Array:
    """(H, W, C, N) -> (H, W, C*N), a view."""
    return pixels.reshape(*pixels.shape[:2], -1, copy=False)


def _of_groups(pixels: Array, groups: int) -> Array:
    """(H, W, C, N) -> (groups, H, W, C/groups, N), a view."""
    height, width, channels, samples = pixels.shape
    cut = pixels.reshape(height, width, groups, channels // groups, samples, copy=False)
    return cut.transpose(2, 0, 1, 3, 4)
