"""Conv and ConvTranspose."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np

from cnnkit.layers import Conv1D, Conv2D, ConvTranspose2D, Crop2D, Pad2D
from cnnkit.onnx.importing.draft import UntranslatableError, Value
from cnnkit.onnx.importing.operators import translates
from cnnkit.onnx.importing.step import Step, one_or_pair
from cnnkit.onnx.importing.windows import Windows, windows_of
from cnnkit.types import Array


@translates("Conv")
def conv(step: Step) -> Value:
    """Conv1D and Conv2D; unequal padding comes before, as Pad2D."""
    x, weight = step.x(), step.weights(1)
    _check_axes(x, weight)
    arrays = {"weight": weight} | ({"bias": step.weights(2).reshape(-1)} if step.has(2) else {})
    windows = windows_of(step, x.shape[1:], weight.shape[2:])
    signal, narrow = step.signal_of(x), windows.of_signal
    if signal is not None and narrow is not None:  # TensorFlow's convolution of signals
        x, windows, arrays["weight"] = signal, narrow, weight[:, :, 0]
    padding = windows.padding
    if padding is None:
        x = padded(step, x, windows)
        padding = 0
    layer = cast(Callable[..., Conv2D], Conv1D if len(windows.kernel) == 1 else Conv2D)(
        len(weight),
        windows.argument(windows.kernel),
        windows.argument(windows.strides),
        padding,
        windows.argument(windows.dilations),
        step.integer("group", 1),
        "bias" in arrays,
    )
    y = step.add(layer, x, **arrays)
    return y if len(y.shape) == weight.ndim - 1 else step.as_image(y)


@translates("ConvTranspose")
def conv_transpose(step: Step) -> Value:
    """ConvTranspose2D, of signals on images one pixel high; what unequal padding cuts off, Crop2D does."""
    x, weight = step.x(), step.weights(1)
    _check_axes(x, weight)
    arrays = {"weight": weight} | ({"bias": step.weights(2).reshape(-1)} if step.has(2) else {})
    signal = weight.ndim == 3
    if signal:
        x, arrays["weight"] = step.as_image(x), weight[:, :, None]
    lead = [1] if signal else []
    kernel, strides = lead + list(weight.shape[2:]), lead + step.numbers("strides", [1] * (weight.ndim - 2))
    dilations = lead + step.numbers("dilations", [1] * (weight.ndim - 2))
    more = lead[:0] + ([0] if signal else []) + step.numbers("output_padding", [0] * (weight.ndim - 2))
    edges, more = _cut(step, x, (kernel, strides, dilations, more), signal)
    equal = all(before == after for before, after in edges)
    groups = step.integer("group", 1)
    layer = ConvTranspose2D(
        weight.shape[1] * groups,
        one_or_pair(kernel),
        one_or_pair(strides),
        one_or_pair([before for before, _ in edges]) if equal else 0,
        one_or_pair(more),
        one_or_pair(dilations),
        groups,
        "bias" in arrays,
    )
    y = step.add(layer, x, **arrays)
    if not equal:
        y = step.add(Crop2D(cast(tuple[tuple[int, int], tuple[int, int]], edges)), y)
    return step.as_signal(y) if signal else y


def _cut(
    step: Step, x: Value, window: tuple[list[int], list[int], list[int], list[int]], signal: bool
) -> tuple[tuple[tuple[int, int], ...], list[int]]:
    """What is cut off before and after each axis, and what is added after it: as pads, or what an output size needs."""
    kernel, strides, dilations, more = window
    count = 1 if signal else 2
    whole = [
        (length - 1) * stride + (size - 1) * dilation + 1 + extra
        for length, size, stride, dilation, extra in zip(x.shape[1:], kernel, strides, dilations, more, strict=True)
    ]
    how = step.text("auto_pad", "NOTSET")
    sizes = step.numbers("output_shape") if "output_shape" in step.node.attributes else None
    if sizes is None and how in ("SAME_UPPER", "SAME_LOWER"):
        sizes = [length * stride for length, stride in zip(x.shape[1:], strides, strict=True)][-count:]
    if sizes is None:
        pads = step.numbers("pads", [0] * 2 * count) if how == "NOTSET" else [0] * 2 * count
        edges = list(zip(pads[:count], pads[count:], strict=True))
    else:
        edges = []
        for axis, size in enumerate(sizes[-count:], 2 - count):
            total = whole[axis] - size
            if total < 0:
                more = [extra - total if place == axis else extra for place, extra in enumerate(more)]
                total = 0
            less, rest = total // 2, total - total // 2
            edges.append((less, rest) if how == "SAME_UPPER" else (rest, less))
    return (*([(0, 0)] if signal else []), *edges), more


def padded(step: Step, x: Value, windows: Windows, mode: str = "constant") -> Value:
    """The padding of a window as a layer of its own."""
    edges = windows.edges
    if len(edges) == 1:
        return step.as_signal(step.add(Pad2D(((0, 0), edges[0]), mode), step.as_image(x)))
    return step.add(Pad2D((edges[0], edges[1]), mode), x)


def _check_axes(x: Value, weight: Array) -> None:
    if weight.ndim not in (3, 4) or len(x.shape) != weight.ndim - 1:
        raise UntranslatableError(
            f"it has weights of shape {weight.shape} for samples of shape {x.axes}; layers take signals (C, L) and "
            "images (C, H, W)"
        )


def pointwise(step: Step, x: Value, weight: Array, bias: Array | None) -> Value:
    """A product over the channels at each place: a convolution of one pixel. weight: (units, channels)."""
    arrays = {"weight": weight.reshape(*weight.shape, *(1,) * (len(x.shape) - 1))}
    if bias is not None:
        arrays["bias"] = bias
    if len(x.shape) == 2:
        return step.add(Conv1D(len(weight), 1, bias=bias is not None), x, **arrays)
    if len(x.shape) == 3:
        return step.add(Conv2D(len(weight), 1, bias=bias is not None), x, **arrays)
    rest = x.shape[1:]
    flat = Value(x.node, x.shape, tuple(range(len(x.shape))))
    y = step.add(
        Conv1D(len(weight), 1, bias=bias is not None),
        step.reshaped(flat, (x.shape[0], int(np.prod(rest)))),
        **{"weight": weight[:, :, None], **({} if bias is None else {"bias": bias})},
    )
    y = step.reshaped(y, (len(weight), *rest))
    return Value(y.node, y.shape, x.order)
