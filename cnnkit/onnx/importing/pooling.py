"""Poolings: with windows, of whole images, and as reductions over axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

from cnnkit.components import Layer
from cnnkit.layers import (
    AvgPool1D,
    AvgPool2D,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    LPPool2D,
    MaxPool1D,
    MaxPool2D,
    Slice,
)
from cnnkit.onnx.importing.convolutions import padded
from cnnkit.onnx.importing.draft import UntranslatableError, Value
from cnnkit.onnx.importing.operators import translates
from cnnkit.onnx.importing.step import Step, one_or_pair
from cnnkit.onnx.importing.windows import Windows, windows_of


@translates("MaxPool")
def max_pool(step: Step) -> Value:
    """MaxPool1D and MaxPool2D; unequal padding repeats the elements at the ends, which no maximum notices."""
    if len([name for name in step.node.outputs if name]) > 1:
        raise UntranslatableError("it also gives the places of the maxima, which no layer does")
    x, windows = _windowed(step)
    padding = windows.padding
    if padding is None:
        x, padding = padded(step, x, windows, "edge"), 0
    y = step.add(_pool(MaxPool1D, MaxPool2D, windows)(*_sizes(windows), padding, _ceil(step)), x)
    return _as_given(step, y)


@translates("AveragePool")
def average_pool(step: Step) -> Value:
    """AvgPool1D and AvgPool2D; unequal padding that counts comes before."""
    x, windows = _windowed(step)
    counts = bool(step.integer("count_include_pad", 0)) or not any(map(any, windows.edges))
    padding = windows.padding
    if padding is None and not counts:
        return _as_given(step, _uncounted(step, x, windows))
    if padding is None:
        x, padding = padded(step, x, windows), 0
    y = step.add(_pool(AvgPool1D, AvgPool2D, windows)(*_sizes(windows), padding, _ceil(step), counts), x)
    return _as_given(step, y)


def _uncounted(step: Step, x: Value, windows: Windows) -> Value:
    """Means without the padding, which is larger at one end: as much at both ends, and without the windows too many.

    A window that begins where one of the file does has the same numbers in it, however much padding follows. Those that
    begin earlier, in more padding, are a whole number of strides away.
    """
    lengths = x.shape[1:]
    most = _counts(step, windows, lengths)
    for ceil in (False, True):
        found = [
            _ends(*axis, ceil)
            for axis in zip(lengths, windows.kernel, windows.strides, windows.edges, most, strict=True)
        ]
        known = [one for one in found if one is not None]
        if len(known) == len(found):
            padding = windows.argument([equal for equal, _ in known])
            y = step.add(_pool(AvgPool1D, AvgPool2D, windows)(*_sizes(windows), padding, ceil, False), x)
            for axis, ((_, first), count) in enumerate(zip(known, most, strict=True), 2):
                stop = first + count
                if (first, stop) != (0, y.shape[axis - 1]):
                    y = step.add(Slice(first, None if stop == y.shape[axis - 1] else stop, axis), y)
            return y
    raise UntranslatableError(
        f"its padding is {windows.edges} and does not count; AvgPool2D has as much at both ends, which gives no such "
        "windows"
    )


def _counts(step: Step, windows: Windows, lengths: Sequence[int]) -> list[int]:
    """How many windows the file has along each axis."""
    found = []
    for length, size, stride, (before, after) in zip(
        lengths, windows.kernel, windows.strides, windows.edges, strict=True
    ):
        room = length + before + after - size
        count = (-(-room // stride) if _ceil(step) else room // stride) + 1
        found.append(count - (_ceil(step) and (count - 1) * stride >= length + before))
    return found


def _ends(
    length: int, size: int, stride: int, edges: tuple[int, int], count: int, ceil: bool
) -> tuple[int, int] | None:
    """Padding of both ends with which the file's windows are there, and which is its first; None if there is none."""
    for equal in range(edges[0], size, stride):
        room, first = length + 2 * equal - size, (equal - edges[0]) // stride
        there = (-(-room // stride) if ceil else room // stride) + 1
        there -= ceil and (there - 1) * stride >= length + equal
        if there >= first + count:
            return equal, first
    return None


@translates("LpPool")
def lp_pool(step: Step) -> Value:
    """LPPool2D, of signals on images one pixel high."""
    x, windows = _windowed(step)
    padding = windows.padding
    if padding is None:
        x, padding = padded(step, x, windows), 0
    norm, ceil = step.number("p", 2), _ceil(step)
    if len(windows.kernel) == 2:
        return step.add(LPPool2D(norm, *_sizes(windows), padding, ceil), x)
    size, stride = (1, windows.kernel[0]), (1, windows.strides[0])
    edge: Any = padding if isinstance(padding, str) else (0, padding)
    return step.as_signal(step.add(LPPool2D(norm, size, stride, edge, ceil), step.as_image(x)))


@translates("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(step: Step) -> Value:
    """One number for each channel, whose axes stay."""
    x = step.x()
    if len(x.shape) not in (2, 3):
        raise UntranslatableError(f"it takes samples of shape {x.axes}; layers pool signals and images")
    if step.node.operator == "GlobalLpPool":
        image = x if len(x.shape) == 3 else step.as_image(x)
        y = step.add(LPPool2D(step.number("p", 2), one_or_pair(image.shape[1:])), image)
        return y if len(x.shape) == 3 else step.as_signal(y)
    mean = step.node.operator == "GlobalAveragePool"
    return step.add(_global(mean, len(x.shape), keepdims=True), x)


@translates("ReduceMean", "ReduceMax")
def reduce(step: Step) -> Value:
    """Global pooling where all axes but the channels' go; else on the numbers in that form."""
    x, mean = step.value(), step.node.operator == "ReduceMean"
    count = len(x.order)
    axes = step.integers(1, "axes")
    if not axes and step.integer("noop_with_empty_axes", 0):
        return x
    gone = {x.axis(axis) for axis in axes} if axes else {x.axis(axis) for axis in range(count + 1)}
    keepdims = bool(step.integer("keepdims", 1))
    kept = [axis for axis in x.order if axis not in gone]
    if count in (2, 3) and len(kept) == 1:
        channels = step.with_channels(x, x.order.index(kept[0]) + 1)
        return step.add(_global(mean, count, keepdims), channels)
    return _by_hand(step, x, kept, gone, mean, keepdims)


def _by_hand(step: Step, x: Value, kept: list[int], gone: set[int], mean: bool, keepdims: bool) -> Value:
    """Any axes: those that stay are the channels of a signal, those that go are its length."""
    lengths = [x.shape[axis] for axis in kept]
    shape = tuple(1 if axis in gone else x.shape[axis] for axis in x.order) if keepdims else tuple(lengths) or (1,)
    moved = [*kept, *(axis for axis in range(len(x.shape)) if axis in gone)]
    if moved != list(range(len(x.shape))):
        x = step.draft.permuted(step.name, x, moved)
    plain = Value(x.node, x.shape, tuple(range(len(x.shape))))
    signal = step.reshaped(plain, (math.prod(lengths), math.prod(x.shape) // math.prod(lengths)))
    return step.reshaped(step.add(_global(mean, 2, keepdims=False), signal), shape)


def _global(mean: bool, axes: int, keepdims: bool) -> Layer:
    if axes == 2:
        return GlobalAvgPool1D(keepdims) if mean else GlobalMaxPool1D(keepdims)
    return GlobalAvgPool2D(keepdims) if mean else GlobalMaxPool2D(keepdims)


def _windowed(step: Step) -> tuple[Value, Windows]:
    x = step.x()
    if len(x.shape) not in (2, 3):
        raise UntranslatableError(f"it takes samples of shape {x.axes}; layers pool signals and images")
    windows = windows_of(step, x.shape[1:])
    if any(dilation != 1 for dilation in windows.dilations):
        raise UntranslatableError(f"its window has gaps, dilations {windows.dilations}; layers pool without")
    signal, narrow = step.signal_of(x), windows.of_signal
    return (x, windows) if signal is None or narrow is None else (signal, narrow)


def _as_given(step: Step, y: Value) -> Value:
    """What is pooled with as many axes as the file has."""
    return y if len(y.shape) == len(step.value().shape) else step.as_image(y)


def _pool(signals: type[Layer], images: type[Layer], windows: Windows) -> Callable[..., Layer]:
    return cast(Callable[..., Layer], signals if len(windows.kernel) == 1 else images)


def _sizes(windows: Windows) -> tuple[Any, Any]:
    return windows.argument(windows.kernel), windows.argument(windows.strides)


def _ceil(step: Step) -> bool:
    return bool(step.integer("ceil_mode", 0))
