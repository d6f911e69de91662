"""Convolution of few channels in one compiled loop, with bias, activation and maximum pooling."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Self

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.layers import Conv2D
from cnnkit.layers.conv import CONVOLUTIONS
from cnnkit.layers.window import Axis
from cnnkit.network.kernels.compiled import machine_winograd
from cnnkit.network.kernels.compiled.activations import LARGEST_POOL, activation_in_loops
from cnnkit.network.kernels.compiled.interface import AT_ONCE, MOST_LANES
from cnnkit.network.kernels.compiled.machine_code import Functions, functions, has_avx512
from cnnkit.network.kernels.compiled.planes import GradientPlanes, Planes
from cnnkit.network.kernels.conv_kernel import ConvKernel
from cnnkit.network.kernels.epilogue import Epilogue, epilogue_of
from cnnkit.network.kernels.grouped_kernel import GroupedConvKernel
from cnnkit.network.kernels.layout import float32_pixels, logical
from cnnkit.network.kernels.window_axes import trimmed
from cnnkit.types import Array, Cache, Context, Grads

MOST_TAPS = 16 * 9, 32 * 9
"""Elements of a filter beyond which products of matrices are faster, and as many in the other direction, of all filters
for a channel: the products would have to be as long as that."""
MOST_TAPS_AVX512 = 32 * 9, 16 * 9
"""The same where compiled products are faster than those of BLAS; there are none for groups."""
FEWEST_TAPS = 4
"""Of a kernel in one channel: a smaller one is a product of matrices as it is."""
FEWEST_SAMPLES = 16
"""Of a tile: they are the lanes of the processor's vectors."""
PLANES_BYTES = 1 << 17
"""What the planes of some groups may take: they stay in the core's own cache."""
NO_PLACES = np.empty(0, np.intp)


class DirectConvKernel:
    """Conv2D, then optionally MaxPool2D(pool) and an activation.

    Equals the layers one after another as `ConvKernel` and `GroupedConvKernel` do, up to the order in which products
    are added:

        y = conv.forward(x)
        if pool > 1: y = MaxPool2D(pool).forward(y)
        if activation: y = activation.forward(y)
    """

    def __init__(
        self, conv: Conv2D, epilogue: Epilogue, plain: ConvKernel | GroupedConvKernel | None, *, needs_dx: bool
    ) -> None:
        """plain: for tiles of few samples."""
        self.conv, self.epilogue, self.plain, self.needs_dx = conv, epilogue, plain, needs_dx
        self.rows, self.columns = (trimmed(axis, epilogue.pool) for axis in (conv.window.rows, conv.window.columns))
        self._activation, self._slope = activation_in_loops(epilogue)

    @functools.cached_property
    def planes(self) -> Planes:
        """Those of the input."""
        return Planes(self.rows, self.columns, self.conv.params["weight"].shape[1])

    @functools.cached_property
    def gradient_planes(self) -> GradientPlanes | None:
        """Those of the output's gradient, if the input's is needed."""
        filters, channels = self.conv.params["weight"].shape[:2]
        groups = self.conv.groups
        return GradientPlanes(self.rows, self.columns, groups, filters // groups, channels) if self.needs_dx else None

    @functools.cached_property
    def functions(self) -> Functions:
        """Loaded when they are first called: a plan can be made without them."""
        return functions()

    @classmethod
    def take(cls, layers: Sequence[Layer | Merge], needs_dx: bool, /) -> tuple[Self, int] | None:
        """A convolution whose groups have few channels, with as much of its epilogue as there is."""
        conv = layers[0]
        if not isinstance(conv, Conv2D) or type(conv) not in CONVOLUTIONS:
            return None
        weight = conv.params["weight"]
        epilogue, used = epilogue_of(layers[1:3], pools=conv.groups == 1)
        most, most_back = MOST_TAPS_AVX512 if conv.groups == 1 and has_avx512() else MOST_TAPS
        is_winograds = conv.groups == 1 and has_avx512() and machine_winograd.fits(*_sizes(conv))
        fits = (
            not is_winograds
            and weight.dtype == np.float32
            and FEWEST_TAPS <= weight[0, 0].size <= weight[0].size <= most
            and (not needs_dx or weight[:, 0].size // conv.groups <= most_back)
            and epilogue.pool <= LARGEST_POOL
        )
        if not fits:
            return None
        of_others = ConvKernel.take(layers, needs_dx) or GroupedConvKernel.take(layers, needs_dx)
        return cls(conv, epilogue, of_others and of_others[0], needs_dx=needs_dx), 1 + used

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """The loops over all of it."""
        if self.plain and len(x) < FEWEST_SAMPLES:
            return self.plain.forward(x, ctx)
        pool, weight, groups = self.epilogue.pool, self.conv.params["weight"], self.conv.groups
        pixels, filters = float32_pixels(x, ctx), len(weight)
        samples = pixels.shape[3]
        y = ctx.empty((self.rows.positions // pool, self.columns.positions // pool, filters, samples))
        winners = ctx.empty_bits(y.shape if pool > 1 else (0,)).view(np.uint8)
        at_once = self._at_once(samples)
        self.functions["convolution"](
            *self._seen(pixels, at_once, ctx),
            weight,
            groups,
            at_once,
            filters // groups,
            weight.shape[1],
            self.conv.params["bias"] if self.conv.bias else zeros(filters),
            self._activation,
            self._slope,
            pool,
            samples,
            *y.shape[:2],
            ctx.empty((AT_ONCE * pool * y.shape[1] * pool * samples,)),
            ctx.empty((2 * samples,)),
            ctx.empty_bits((samples,)).view(np.uint8),
            y,
            winners,
        )
        return logical(y), (pixels, winners, y)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array | None, Grads]:
        """The gradient of the weights, and of the input where someone needs it."""
        if self.plain and len(dy) < FEWEST_SAMPLES:
            return self.plain.backward(dy, cache, ctx)
        pixels, winners, y = cache
        weight, pool, groups = self.conv.params["weight"], self.epilogue.pool, self.conv.groups
        filters, channels = len(weight) // groups, weight.shape[1]
        height, width, samples = self.rows.positions, self.columns.positions, y.shape[3]
        dweight, dbias = ctx.gradient("weight", weight.shape), np.zeros(len(weight))
        at_once = self._at_once(samples)
        dx, spread, begin, step = None, ctx.empty((at_once * filters, pool, width, samples)), 0, 0
        parts: tuple[Array | int, ...] = NO_PLACES, 0, zeros(0), zeros(0)
        if planes := self.gradient_planes:
            spread = ctx.empty((at_once * filters, planes.height, planes.width, samples))
            _clear_around(spread, slice(planes.top, planes.top + height), slice(planes.left, planes.left + width))
            begin, step = (planes.top * planes.width + planes.left) * samples, pool * planes.width * samples
            dx = ctx.empty((self.rows.length, self.columns.length, groups * channels, samples))
            if not planes.is_all:
                dx[...] = 0
            parts = planes.parts(samples), len(planes.elements), self._turned(planes, at_once * channels, ctx), dx
        self.functions["convolution_backward"](
            *self._seen(pixels, at_once, ctx),
            y,
            winners,
            float32_pixels(dy, ctx),
            self._activation,
            self._slope,
            pool,
            samples,
            groups,
            at_once,
            filters,
            channels,
            *y.shape[:2],
            spread,
            begin,
            spread[0].size,
            spread.shape[2] * samples,
            step,
            ctx.empty((AT_ONCE * max(self.columns.length, self.epilogue.pool) * samples,)),
            ctx.empty((at_once * weight[:filters].size * MOST_LANES,)),
            dweight,
            dbias,
            *parts,
        )
        grads: Grads = {"weight": dweight}
        if self.conv.bias:
            grads["bias"] = dbias
        return None if dx is None else logical(dx), grads

    def _at_once(self, samples: int) -> int:
        """How many groups have their planes at once in the core's own cache."""
        channels: int = self.conv.params["weight"].shape[1]
        of_a_group = channels * self.planes.size[0] * self.planes.size[1] * samples * 4
        return min(self.conv.groups, max(1, PLANES_BYTES // of_a_group))

    def _seen(self, pixels: Array, at_once: int, ctx: Context) -> tuple[Array | int, ...]:
        """What the loops are told of the input, (H, W, C, N), and of its planes."""
        planes = self.planes
        _, width, channels, samples = pixels.shape
        is_copied = channels > 1 or not planes.are_whole
        of_a_group = channels // self.conv.groups
        return (
            pixels,
            width * channels * samples,
            channels * samples,
            planes.places(samples),
            ctx.empty((at_once * of_a_group, *planes.size, samples)) if is_copied else pixels,
            is_copied,
            *planes.size,
            planes.taps,
        )

    def _turned(self, planes: GradientPlanes, channels: int, ctx: Context) -> Array:
        """The weights of each part of dx, (groups * channels, taps) each, then so many zeros."""
        weight, groups = self.conv.params["weight"], self.conv.groups
        of_groups = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)
        turned = ctx.empty((weight.size + channels,))
        turned[weight.size :] = 0
        first = 0
        for elements in planes.elements:
            part = of_groups[:, :, :, *elements]
            turned[first : first + part.size].reshape(part.shape)[...] = part
            first += part.size
        return turned


def _sizes(conv: Conv2D) -> tuple[Axis, Axis, int, int]:
    filters, channels = conv.params["weight"].shape[:2]
    return conv.window.rows, conv.window.columns, channels, filters


def _clear_around(planes: Array, down: slice, across: slice) -> None:
    """Zeros outside these rows and columns."""
    planes[:, : down.start] = 0
    planes[:, down.stop :] = 0
    planes[:, down, : across.start] = 0
    planes[:, down, across.stop :] = 0


@functools.lru_cache(maxsize=64)
def zeros(count: int) -> Array:
    """So many, read-only."""
    made = np.zeros(count, np.float32)
    made.flags.writeable = False
    return made
