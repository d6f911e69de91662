"""Where a sliding window lands on an image: the geometry that convolution and pooling share.

Arrays in here have samples as the last and fastest axis, (C, H, W, N): a window's slice is then made of long
contiguous runs, which is copied two to three times faster than the short rows of (N, C, H, W).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from cnnkit.components.checks import pair
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.types import Array, Context, Shape

Pair = tuple[int, int]
Padding = int | Pair | str
Places = slice


@dataclass(frozen=True)
class Axis:
    """A sliding window along one axis."""

    length: int
    size: int
    stride: int
    dilation: int
    before: int
    after: int
    """Padding at the two ends."""

    @functools.cached_property
    def positions(self) -> int:
        """How often the window fits: floor((length + padding - reach) / stride) + 1."""
        return (self.length + self.before + self.after - self.reach) // self.stride + 1

    @property
    def reach(self) -> int:
        """Elements from the window's first to its last: dilation * (size - 1) + 1."""
        return self.dilation * (self.size - 1) + 1

    def slice(self, k: int) -> slice:
        """The elements of the padded axis that the window's element `k` meets, one for each position."""
        start = k * self.dilation
        return slice(start, start + (self.positions - 1) * self.stride + 1, self.stride)

    def elements(self) -> Iterator[tuple[int, Places, Places]]:
        """The elements of the window that meet the axis itself, not only its padding.

        For each: which one it is, the positions of the window at which it does, and what it meets there.
        """
        for k in self._met():
            start = k * self.dilation - self.before
            first = max(0, -(start // self.stride))
            last = min(self.positions - 1, (self.length - 1 - start) // self.stride)
            start += first * self.stride
            yield k, slice(first, last + 1), slice(start, start + (last - first) * self.stride + 1, self.stride)

    def met_count(self) -> int:
        """How many elements of the window meet the axis itself; for strides above the length, a bound of it."""
        if self.stride > self.length:
            return min(self.size, self.positions * self.length)
        return len(self._met_from(0, self.positions - 1))

    def idle(self) -> Pair:
        """How many of the window's first and last elements meet nothing but padding."""
        met = self._met_from(0, self.positions - 1)
        return (met.start, self.size - met.stop) if met else (0, 0)

    def without(self, first: int, last: int) -> Axis:
        """A window without these idle elements at equal positions; itself if there is no padding for that."""
        size, before = self.size - first - last, self.before - first * self.dilation
        reach = (self.positions - 1) * self.stride + self.dilation * (size - 1) + 1
        smaller = replace(self, size=size, before=before, after=max(0, reach - self.length - before))
        return smaller if size < self.size and smaller.positions == self.positions else self

    def _met(self) -> Iterator[int]:
        """Their numbers, in order."""
        if self.stride > self.length:  # each position meets others, and most elements of the window meet nothing
            for position in reversed(range(self.positions)):
                yield from self._met_from(position, position)
        else:
            yield from self._met_from(0, self.positions - 1)

    def _met_from(self, first: int, last: int) -> range:
        """Those that meet it somewhere between two positions, if no position between them meets nothing."""
        begin, end = self.before - last * self.stride, self.before - first * self.stride + self.length
        return range(max(0, -(-begin // self.dilation)), min(self.size, -(-end // self.dilation)))


@dataclass(frozen=True)
class Window:
    """A sliding window over images of one size."""

    rows: Axis
    columns: Axis

    @property
    def out_size(self) -> Pair:
        """(height, width) of the output."""
        return self.rows.positions, self.columns.positions

    def without_idle(self) -> Window:
        """This window without the rows and columns that meet nothing but padding.

        What is square stays square: ONNX's reference evaluator pads other windows wrongly, if both are padded.
        """
        (top, bottom), (left, right) = self.rows.idle(), self.columns.idle()
        if self.rows.size == self.columns.size:
            top = left = min(top, left)
            bottom = right = min(bottom, right)
        return replace(self, rows=self.rows.without(top, bottom), columns=self.columns.without(left, right))

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Those that the layer's inputs have."""
        return self.rows, self.columns

    @property
    def onnx(self) -> dict[str, list[int]]:
        """Attributes of the ONNX operators Conv, MaxPool and AveragePool."""
        return {
            "kernel_shape": [axis.size for axis in self.axes],
            "strides": [axis.stride for axis in self.axes],
            "pads": [axis.before for axis in self.axes] + [axis.after for axis in self.axes],
        }

    @property
    def onnx_pads(self) -> Array:
        """Input `pads` of the ONNX operator Pad, for what pads images before the window lands on them."""
        ends = [axis.before for axis in self.axes], [axis.after for axis in self.axes]
        return np.array([0, 0, *ends[0], 0, 0, *ends[1]])

    def slices(self) -> Iterator[tuple[int, int, tuple[slice, ...]]]:
        """For each element (i, j) of the window, what it meets in a padded (C, H, W, N) array: (C, oh, ow, N)."""
        for i in range(self.rows.size):
            for j in range(self.columns.size):
                yield i, j, (slice(None), self.rows.slice(i), self.columns.slice(j))

    def seen(self, padded: Array) -> Array:
        """What the window meets at all its places in a padded (C, H, W, N) array: (C, kh, kw, oh, ow, N), a view.

        It is copied in one go, in the order of memory: element by element, many channels take several times as long.
        """
        rows, columns = self.rows, self.columns
        windows = np.lib.stride_tricks.sliding_window_view(padded, (rows.reach, columns.reach), axis=(1, 2))
        met = windows[:, :: rows.stride, :: columns.stride, :, :: rows.dilation, :: columns.dilation]
        return met.transpose(0, 4, 5, 1, 2, 3)

    def elements(self) -> Iterator[tuple[int, int, tuple[slice, ...], tuple[slice, ...]]]:
        """For each element (i, j) of the window that meets the image: where in y, and what in x it meets there.

        x: (C, H, W, N), y: (C, oh, ow, N); no padding is made.
        """
        for i, down, lines in self.rows.elements():
            for j, across, pixels in self.columns.elements():
                yield i, j, (slice(None), down, across), (slice(None), lines, pixels)

    def pad(self, x: Array, value: float, ctx: Context) -> Array:
        """(N, C, H, W) -> (C, H + padding, W + padding, N); a view of `x` if there is no padding."""
        inner = x.transpose(1, 2, 3, 0)
        if not any(self.onnx["pads"]):
            return inner
        padded = ctx.empty(self._padded_shape(inner.shape))
        padded[...] = value
        padded[self._interior] = inner
        return padded

    def padded_zeros(self, channels: int, samples: int, ctx: Context) -> Array:
        """Where a backward pass adds up the gradient of what `pad` returns."""
        zeros = ctx.empty(self._padded_shape((channels, self.rows.length, self.columns.length, samples)))
        zeros[...] = 0
        return zeros

    def crop(self, padded: Array) -> Array:
        """(C, H + padding, W + padding, N) -> (N, C, H, W), a view."""
        return padded[self._interior].transpose(3, 0, 1, 2)

    def _padded_shape(self, shape: Shape) -> Shape:
        channels, height, width, samples = shape
        rows, columns = self.rows, self.columns
        return channels, height + rows.before + rows.after, width + columns.before + columns.after, samples

    @property
    def _interior(self) -> tuple[slice, ...]:
        rows, columns = self.rows, self.columns
        return (
            slice(None),
            slice(rows.before, rows.before + rows.length),
            slice(columns.before, columns.before + columns.length),
        )


class SignalWindow(Window):
    """A sliding window over signals of one length, which are images one pixel high."""

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The columns alone."""
        return (self.columns,)


def check_padding(value: Any) -> Padding:
    """The `padding` argument: a whole number, a pair (height, width), "same" or "valid"."""
    if isinstance(value, str):
        if value not in ("same", "valid"):
            raise ConfigError(
                f'padding must be a whole number, a pair of them (height, width), "same" or "valid", got {shown(value)}'
            )
        return value
    pair("padding", value, at_least=0)
    return cast(Padding, value)


def image_shape(name: str, in_shape: Shape) -> tuple[int, Pair]:
    """channels, (height, width); or a ShapeError that says what the layer `name` expected."""
    if len(in_shape) != 3:
        raise ShapeError(
            f"{name} expects an input of shape (channels, height, width), got {in_shape}; "
            f"put {name} before Flatten() and Dense(...)"
        )
    channels, height, width = in_shape
    return channels, (height, width)


def signal_shape(name: str, in_shape: Shape) -> tuple[int, int]:
    """channels, length; or a ShapeError that says what the layer `name` expected."""
    if len(in_shape) != 2:
        raise ShapeError(
            f"{name} expects an input of shape (channels, length), got {in_shape}; "
            f"put {name} before Flatten() and Dense(...)"
        )
    channels, length = in_shape
    return channels, length


def window_over(
    name: str,
    image: Pair,
    size: int | Pair,
    stride: int | Pair,
    padding: Padding,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
) -> Window:
    """The window of the layer `name` over images of this (height, width).

    padding: for both ends of an axis; "valid" is 0; "same" gives ceil(length / stride) positions and puts an odd
    element of padding at the end. ceil_mode: whether a last window may reach beyond that padding. Raises ShapeError if
    the window is larger than the padded image.
    Source: the operators Conv and MaxPool of the ONNX specification (auto_pad NOTSET and SAME_UPPER).
    """
    sizes, strides, dilations = pair("size", size), pair("stride", stride), pair("dilation", dilation)
    axes = []
    for i, (length, k, s, d) in enumerate(zip(image, sizes, strides, dilations, strict=True)):
        if padding == "same":
            missing = max(0, (-(-length // s) - 1) * s + d * (k - 1) + 1 - length)
            before, after = missing // 2, missing - missing // 2
        elif isinstance(padding, str):
            before = after = 0
        else:
            before = after = pair("padding", padding, at_least=0)[i]
        axes.append(Axis(length, k, s, d, before, after))
    if any(axis.positions < 1 for axis in axes):
        padded = tuple(axis.length + axis.before + axis.after for axis in axes)
        raise ShapeError(
            f"{name} has a window of {axes[0].reach} x {axes[1].reach}, larger than its input of "
            f"{image[0]} x {image[1]} ({padded[0]} x {padded[1]} with padding); "
            'use a smaller window, padding="same", or fewer layers that shrink the image before it'
        )
    return Window(*map(_rounded_up, axes)) if ceil_mode else Window(*axes)


def window_over_signal(
    name: str, image: Pair, size: int, stride: int, padding: Padding, dilation: int = 1, ceil_mode: bool = False
) -> Window:
    """As `window_over`, over signals: images one pixel high."""
    ends: Padding = padding if isinstance(padding, str) else (0, cast(int, padding))
    found = window_over(name, image, (1, size), (1, stride), ends, (1, dilation), ceil_mode)
    return SignalWindow(found.rows, found.columns)


def _rounded_up(axis: Axis) -> Axis:
    """The axis with one more position if something is left over, and that window begins before the padding behind."""
    reached = axis.positions * axis.stride
    left_over = (axis.length + axis.before + axis.after - axis.reach) % axis.stride
    if not left_over or reached >= axis.length + axis.before:
        return axis
    return replace(axis, after=reached + axis.reach - axis.length - axis.before)
