"""Layers of signals, (N, C, L), which are images one pixel high: convolution and pooling along one axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

import numpy as np

from cnnkit.components import Initializer, Layer
from cnnkit.components.checks import whole
from cnnkit.initializers import GLOROT_UNIFORM
from cnnkit.layers.adaptive_pool import GlobalAvgPool2D, GlobalMaxPool2D
from cnnkit.layers.conv import Conv2D
from cnnkit.layers.pool import AvgPool2D, MaxPool2D
from cnnkit.layers.window import Window, check_padding, signal_shape, window_over_signal
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape


class _OnSignals(Layer):
    """Goes before a layer of images among the bases of a class, which then takes signals."""

    _over: ClassVar[Callable[..., Window]] = staticmethod(window_over_signal)

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """As the layer of images, without the axis of the height."""
        channels, length = signal_shape(type(self).__name__, in_shape)
        made, *size = super().build((channels, 1, length), rng)
        return made, *size[1:]

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """On views of signals as images."""
        y, cache = super().forward(as_images(x), ctx)
        return as_signals(y), cache

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """Likewise."""
        dx, grads = super().backward(as_images(dy), cache, ctx)
        return as_signals(dx), grads

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        """That on images."""
        ((channels, length),) = in_shapes
        return cast(LayerCost, super().cost([(channels, 1, length)], (out_shape[0], 1, *out_shape[1:])))


class Conv1D(_OnSignals, Conv2D):
    """Convolution of signals with learned filters.

    Forward:   y[n,o,q] = bias[o] + sum over c,j of weight[o,c,j] * x[n, c, q*stride + j*dilation - padding]
    Backward:  dweight[o,c,j] = sum over n,q of dy[n,o,q] * x[n, c, q*stride + j*dilation - padding],
               dbias[o] = sum over n,q of dy[n,o,q], dx = every dy * weight, added where that x was read

    x: (N, C, L); weight: (filters, C/groups, kernel); bias: (filters,); y: (N, filters, ol) with
    ol = floor((L + padding - dilation*(kernel-1) - 1) / stride) + 1. Arguments are those of Conv2D, whole numbers for
    the one axis.
    Raises ConfigError for arguments out of range, ShapeError if the window or `groups` do not fit the input.
    Source: Waibel et al. (1989), Phoneme Recognition Using Time-Delay Neural Networks; ONNX operator Conv.
    """

    lesson = (
        "A filter is laid on every place of the signal; there, each number under it is multiplied with the weight on "
        "it, and all products and the filter's bias are added up.",
        "The same few weights look for one pattern at every time, and find it whenever it comes.",
    )
    examples = (
        Example("Conv1D(3, 3)", (2, 7), "2, 3, 3"),
        Example("Conv1D(4, 4, 2, 3, bias=False)", (3, 9), "3, 4, 4, 2, 3, bias=False"),
        Example("Conv1D(2, 3, padding='same', dilation=2)", (2, 8), "2, 2, 3, padding='same', dilation=2"),
        Example("Conv1D(6, 2, 3, 'same', groups=2)", (4, 8)),
        Example("Conv1D(4, 3, groups=4)", (4, 6), "4, 4, 3, groups=4"),
        Example("Conv1D(3, 1, padding=1)", (2, 5), "2, 3, 1, padding=1"),
    )
    twin = "torch.nn.Conv1d"
    operators = ("Conv", "Pad")
    cost = _OnSignals.cost

    def __init__(
        self,
        filters: int,
        kernel: int,
        stride: int = 1,
        padding: int | str = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        initializer: Initializer = GLOROT_UNIFORM,
    ) -> None:
        for name, value in (("kernel", kernel), ("stride", stride), ("dilation", dilation)):
            whole(name, value)
        super().__init__(filters, kernel, stride, _padding(padding), dilation, groups, bias, initializer=initializer)


class MaxPool1D(_OnSignals, MaxPool2D):
    """The largest number in each window of a signal.

    Forward:   y[n,c,q] = max over j of x[n, c, q*stride + j - padding]
    Backward:  dx = dy where the maximum was taken; of equal maxima the first

    x: (N, C, L); y: (N, C, ol). Arguments are those of MaxPool2D, whole numbers for the one axis.
    Raises ConfigError for arguments out of range, ShapeError if the window does not fit the input.
    Source: ONNX operator MaxPool.
    """

    lesson = (
        "Of each window of a channel the largest number is kept; channels do not mix.",
        "The signal becomes shorter, and what was found stays found where it comes a little earlier or later.",
    )
    examples = (
        Example("MaxPool1D(2)", (2, 7), "2"),
        Example("MaxPool1D(3, 2, 1)", (3, 8), "3, 2, 1"),
        Example("MaxPool1D(3, 2, ceil_mode=True)", (2, 8), "3, 2, ceil_mode=True"),
        Example("MaxPool1D(2, 1, 'same')", (2, 5)),
        Example("MaxPool1D(3, 1, 2)", (2, 5)),
    )
    twin = "torch.nn.MaxPool1d"
    operators = ("MaxPool", "Pad")
    cost = _OnSignals.cost

    def __init__(self, size: int, stride: int | None = None, padding: int | str = 0, ceil_mode: bool = False) -> None:
        _check_window(size, stride)
        super().__init__(size, stride, _padding(padding), ceil_mode)

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX MaxPool; padding comes before it, because ONNX's reference evaluator takes it wrongly along one axis.

        As in MaxPool2D, it repeats the elements at the ends, which no maximum notices.
        """
        window = self.window.without_idle()
        attributes = window.onnx
        if any(attributes.pop("pads")):
            x = graph.add("Pad", x, window.onnx_pads, mode="edge")
        return graph.add("MaxPool", x, **attributes)


class AvgPool1D(_OnSignals, AvgPool2D):
    """The mean of each window of a signal.

    Forward:   y[n,c,q] = sum over j of x[n, c, q*stride + j - padding] / size
    Backward:  dx = dy / size, added up over the windows that an element is in

    x: (N, C, L); y: (N, C, ol). Arguments are those of AvgPool2D, whole numbers for the one axis.
    Raises ConfigError for arguments out of range, ShapeError if the window does not fit the input.
    Source: ONNX operator AveragePool.
    """

    lesson = (
        "Of each window of a channel the mean is kept; channels do not mix.",
        "The signal becomes shorter, and single numbers matter less.",
    )
    examples = (
        Example("AvgPool1D(2)", (2, 7), "2"),
        Example("AvgPool1D(3, 2, 1)", (3, 8), "3, 2, 1"),
        Example("AvgPool1D(3, 2, 1, True, False)", (2, 7), "3, 2, 1, True, False"),
        Example("AvgPool1D(2, 1, 'same')", (2, 5)),
    )
    twin = "torch.nn.AvgPool1d"
    operators = ("AveragePool", "Conv", "Mul")
    cost = _OnSignals.cost

    def __init__(
        self,
        size: int,
        stride: int | None = None,
        padding: int | str = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        _check_window(size, stride)
        super().__init__(size, stride, _padding(padding), ceil_mode, count_include_pad)


class GlobalAvgPool1D(_OnSignals, GlobalAvgPool2D):
    """The mean of each channel of a signal.

    Forward:   y[n,c] = mean over l of x[n,c,l]
    Backward:  dx[n,c,l] = dy[n,c] / L

    x: (N, C, L); y: (N, C), or (N, C, 1) with keepdims=True.
    Raises ConfigError unless keepdims is True or False, ShapeError for inputs that are not signals.
    Source: Lin, Chen, Yan (2014), Network In Network; ONNX operator GlobalAveragePool.
    """

    lesson = (
        "Of each channel the mean is kept, one number for the whole signal.",
        "Where each channel has learned to find one thing, its mean says how much of it there is, whenever it comes.",
    )
    examples = (
        Example("GlobalAvgPool1D()", (3, 7)),
        Example("GlobalAvgPool1D(keepdims=True)", (2, 5), "1"),
    )
    twin = "torch.nn.AdaptiveAvgPool1d"
    operators = ("Flatten", "GlobalAveragePool")
    cost = _OnSignals.cost


class GlobalMaxPool1D(_OnSignals, GlobalMaxPool2D):
    """The largest number of each channel of a signal.

    Forward:   y[n,c] = max over l of x[n,c,l]
    Backward:  dx[n,c,l] = dy[n,c] where the maximum is; of equal maxima the first

    x: (N, C, L); y: (N, C), or (N, C, 1) with keepdims=True.
    Raises ConfigError unless keepdims is True or False, ShapeError for inputs that are not signals.
    Source: Kim (2014), Convolutional Neural Networks for Sentence Classification; ONNX operator GlobalMaxPool.
    """

    lesson = (
        "Of each channel the largest number is kept, one for the whole signal.",
        "Where each channel has learned to find one thing, it says whether that comes at all.",
    )
    examples = (
        Example("GlobalMaxPool1D()", (3, 7)),
        Example("GlobalMaxPool1D(keepdims=True)", (2, 5), "1"),
    )
    twin = "torch.nn.AdaptiveMaxPool1d"
    operators = ("Flatten", "MaxPool")
    cost = _OnSignals.cost

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX MaxPool over the whole signal: ONNX's reference evaluator has GlobalMaxPool for images alone."""
        length = graph.shape(x)[1]
        return self._lower(graph, graph.add("MaxPool", x, kernel_shape=[length]))


def as_images(x: Array) -> Array:
    """(N, C, L) -> (N, C, 1, L), a view; what has no such axis is left alone."""
    return x[:, :, None] if x.ndim == 3 else x


def as_signals(x: Array) -> Array:
    """(N, C, 1, L) -> (N, C, L), a view; what has no such axis is left alone."""
    return x[:, :, 0] if x.ndim == 4 else x


def _check_window(size: Any, stride: Any) -> None:
    whole("size", size)
    if stride is not None:
        whole("stride", stride)


def _padding(value: Any) -> int | str:
    """The `padding` argument: a whole number, "same" or "valid"."""
    if isinstance(value, str):
        check_padding(value)
        return value
    return whole("padding", value, 0)
