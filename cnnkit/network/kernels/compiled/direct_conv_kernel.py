"""Convolution of few channels in one compiled loop, with bias, activation and maximum pooling."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Self

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.layers.window import Axis
from cnnkit.network.kernels.compiled.interface import LEAKY, LINEAR, RECTIFIED
from cnnkit.network.kernels.compiled.machine_code import Functions, functions
from cnnkit.network.kernels.conv_kernel import ConvKernel
from cnnkit.network.kernels.epilogue import Epilogue, LeakyRectifier, Rectifier
from cnnkit.network.kernels.grouped_kernel import GroupedConvKernel
from cnnkit.network.kernels.layout import logical, pixels_first
from cnnkit.network.kernels.window_axes import inside
from cnnkit.types import Array, Cache, Context, Grads, Shape

MOST_TAPS = 16 * 9
"""Elements of a filter beyond which products of matrices are faster."""
MOST_TAPS_BACK = 32 * 9
"""As many in the other direction, of all filters for a channel: the products would have to be as long as that."""
FEWEST_TAPS = 4
"""Of a kernel in one channel: a smaller one is a product of matrices as it is."""
FEWEST_SAMPLES = 16
"""Of a tile: they are the lanes of the processor's vectors."""
LARGEST_POOL = 15
"""Whose windows' pixels have numbers of one byte."""


class DirectConvKernel:
    """Conv2D, then optionally MaxPool2D(pool) and an activation; without strides and dilation.

    Equals the layers one after another as `ConvKernel` and `GroupedConvKernel` do, up to the order in which products
    are added:

        y = conv.forward(x)
        if pool > 1: y = MaxPool2D(pool).forward(y)
        if activation: y = activation.forward(y)
    """

    def __init__(self, plain: ConvKernel | GroupedConvKernel) -> None:
        self.plain = plain
        """For tiles of few samples."""
        self.conv, self.epilogue, self.needs_dx = plain.conv, plain.epilogue, plain.needs_dx
        self.rows, self.columns = plain.rows, plain.columns
        self._activation, self._slope = _activation(self.epilogue)

    @functools.cached_property
    def _functions(self) -> Functions:
        """Loaded when they are first called: a plan can be made without them."""
        return functions()

    @classmethod
    def take(cls, layers: Sequence[Layer | Merge], needs_dx: bool, /) -> tuple[Self, int] | None:
        """What they take, if groups have few channels, there are no strides, and kernels are wider than the padding."""
        taken = ConvKernel.take(layers, needs_dx) or GroupedConvKernel.take(layers, needs_dx)
        if taken is None:
            return None
        plain, used = taken
        weight, groups = plain.conv.params["weight"], plain.conv.groups
        fits = (
            weight.dtype == np.float32
            and weight[0].size <= MOST_TAPS
            and (not needs_dx or weight[:, 0].size // groups <= MOST_TAPS_BACK)
            and weight[0, 0].size >= FEWEST_TAPS
            and plain.epilogue.pool <= LARGEST_POOL
            and all(axis.stride == 1 and 0 <= axis.before < axis.size for axis in (plain.rows, plain.columns))
            and all(axis.after < axis.size for axis in (plain.rows, plain.columns))
        )
        return (cls(plain), used) if fits else None

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """The loops over all of it."""
        if len(x) < FEWEST_SAMPLES:
            return self.plain.forward(x, ctx)
        pool, weight = self.epilogue.pool, self.conv.params["weight"]
        pixels, filters = _float32(pixels_first(x, ctx), ctx), len(weight)
        samples = pixels.shape[3]
        y = ctx.empty((self.rows.positions // pool, self.columns.positions // pool, filters, samples))
        winners = ctx.empty_bits(y.shape if pool > 1 else (0,)).view(np.uint8)
        bias = self.conv.params["bias"] if self.conv.bias else _zeros(filters)
        self._correlate(
            planes_of(pixels, self.rows, self.columns, ctx),
            weight,
            self.conv.groups,
            bias,
            (self._activation, self._slope, pool),
            y,
            winners,
            ctx,
        )
        return logical(y), (pixels, winners, y)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array | None, Grads]:
        """The gradient of the weights, and of the input where someone needs it."""
        if len(dy) < FEWEST_SAMPLES:
            return self.plain.backward(dy, cache, ctx)
        pixels, winners, y = cache
        weight, pool = self.conv.params["weight"], self.epilogue.pool
        groups, filters, *size = self.conv.groups, len(weight), *weight.shape[2:]
        samples = y.shape[3]
        planes = planes_of(pixels, self.rows, self.columns, ctx)
        dweight, dbias = ctx.gradient("weight", weight.shape), np.zeros(filters)
        dweight[...] = 0
        height, width = self.rows.positions, self.columns.positions
        if self.needs_dx:  # the gradient of the correlation, padded as its own correlation with the kernel asks for it
            top, left = (axis.size - 1 - axis.before for axis in (self.rows, self.columns))
            spread = ctx.empty((filters, self.rows.length + size[0] - 1, self.columns.length + size[1] - 1, samples))
            _clear_around(spread, slice(top, top + height), slice(left, left + width))
            row = spread.shape[2] * samples
            begin, step = top * row + left * samples, pool * row
        else:
            spread, begin, step = ctx.empty((filters, pool, width, samples)), 0, 0
        taps = offsets(planes[: weight.shape[1]].shape, size[0], size[1])
        self._functions["convolution_backward"](
            planes,
            planes.shape[2] * samples,
            taps,
            len(taps),
            y,
            winners,
            _float32(pixels_first(dy, ctx), ctx),
            self._activation,
            self._slope,
            pool,
            samples,
            filters,
            filters // groups,
            weight.shape[1] * planes[0].size,
            *y.shape[:2],
            spread,
            begin,
            spread[0].size,
            spread.shape[2] * samples,
            step,
            ctx.empty((samples,)),
            dweight,
            dbias,
        )
        grads: Grads = {"weight": dweight}
        if self.conv.bias:
            grads["bias"] = dbias
        if not self.needs_dx:
            return None, grads
        of_groups = weight.reshape(groups, filters // groups, *weight.shape[1:])
        turned = ctx.empty((groups, weight.shape[1], filters // groups, *size))
        turned[...] = of_groups[..., ::-1, ::-1].swapaxes(1, 2)
        turned = turned.reshape(-1, *turned.shape[2:])
        dx = ctx.empty((self.rows.length, self.columns.length, len(turned), samples))
        self._correlate(spread, turned, groups, _zeros(len(turned)), (LINEAR, 0.0, 1), dx, winners, ctx)
        return logical(dx), grads

    def _correlate(
        self,
        planes: Array,
        weight: Array,
        groups: int,
        bias: Array,
        epilogue: tuple[int, float, int],
        y: Array,
        winners: Array,
        ctx: Context,
    ) -> None:
        """Fill y and winners; epilogue: activation, slope and pool."""
        height, width, _, samples = y.shape
        pool = epilogue[2]
        filters, channels, *size = weight.shape
        taps = offsets(planes[:channels].shape, size[0], size[1])
        self._functions["convolution"](
            planes,
            planes.shape[2] * samples,
            taps,
            len(taps),
            weight,
            filters,
            filters // groups,
            channels * planes[0].size,
            bias,
            *epilogue,
            samples,
            height,
            width,
            ctx.empty((2 * pool * width * pool * samples,)),
            ctx.empty((2 * samples,)),
            ctx.empty_bits((samples,)).view(np.uint8),
            y,
            winners,
        )


def planes_of(pixels: Array, rows: Axis, columns: Axis, ctx: Context) -> Array:
    """(H, W, C, N) -> (C, H', W', N), contiguous, with what the windows see of the padding, and no more.

    A view, where there is one channel and no padding.
    """
    _, _, channels, samples = pixels.shape
    height, width = (axis.positions - 1 + axis.size for axis in (rows, columns))
    is_whole = rows.before == columns.before == 0 and (height, width) == pixels.shape[:2]
    if channels == 1 and is_whole:
        return pixels.reshape(1, height, width, samples)
    planes = ctx.empty((channels, height, width, samples))
    down, lines = inside(rows, -rows.before, height)
    across, places = inside(columns, -columns.before, width)
    _clear_around(planes, down, across)
    planes[:, down, across] = pixels[lines, places].transpose(2, 0, 1, 3)
    return planes


@functools.lru_cache(maxsize=256)
def offsets(shape: Shape, height: int, width: int) -> Array:
    """Where the taps of a kernel (height, width) are in planes of this shape, (C * height * width,), read-only."""
    channels, rows, columns, samples = shape
    channel, row, column = np.ogrid[:channels, :height, :width]
    taps: Array = (((channel * rows + row) * columns + column) * samples).reshape(-1).astype(np.intp, copy=False)
    taps.flags.writeable = False
    return taps


def _float32(pixels: Array, ctx: Context) -> Array:
    """The same numbers in float32: a layer of a plugin may give others."""
    if pixels.dtype == np.float32:
        return pixels
    memory = ctx.empty(pixels.shape)
    memory[...] = pixels
    return memory


def _clear_around(planes: Array, down: slice, across: slice) -> None:
    """Zeros outside these rows and columns."""
    planes[:, : down.start] = 0
    planes[:, down.stop :] = 0
    planes[:, down, : across.start] = 0
    planes[:, down, across.stop :] = 0


@functools.lru_cache(maxsize=64)
def _zeros(count: int) -> Array:
    zeros = np.zeros(count, np.float32)
    zeros.flags.writeable = False
    return zeros


def _activation(epilogue: Epilogue) -> tuple[int, float]:
    """What the loops call it, and its slope below 0."""
    match epilogue.activation:
        case Rectifier():
            return RECTIFIED, 0.0
        case LeakyRectifier(slope):
            return LEAKY, slope
        case None:
            return LINEAR, 0.0
    raise TypeError(f"no loop has the activation {epilogue.activation!r}")
