"""Pooling: one number for each window."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from cnnkit.components import Layer
from cnnkit.components.checks import finite, pair, true_or_false
from cnnkit.components.sums import SHORT
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError
from cnnkit.layers.window import Axis, Padding, Pair, Window, check_padding, image_shape, window_over
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape


class _Pool(Layer):
    """Configuration and shapes, the same for both kinds of pooling."""

    window: Window
    """Where the windows land on the images that the layer was built for."""
    _over: Callable[..., Window] = staticmethod(window_over)

    def __init__(
        self, size: int | Pair, stride: int | Pair | None = None, padding: Padding = 0, ceil_mode: bool = False
    ) -> None:
        self.size = size
        self.stride = stride
        self.padding = check_padding(padding)
        self.ceil_mode = true_or_false("ceil_mode", ceil_mode)
        sizes, paddings = pair("size", size), (0, 0) if isinstance(padding, str) else pair("padding", padding, 0)
        if stride is not None:
            pair("stride", stride)
        if any(p >= k for p, k in zip(paddings, sizes, strict=True)):
            raise ConfigError(
                "padding must be smaller than size, or a window would hold padding alone; "
                f"got padding={shown(padding)} and size={size!r}"
            )

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """(C, H, W) -> (C, oh, ow)."""
        name = type(self).__name__
        channels, image = image_shape(name, in_shape)
        stride = self.size if self.stride is None else self.stride
        self.window = self._over(name, image, self.size, stride, self.padding, ceil_mode=self.ceil_mode)
        return channels, *self.window.out_size

    def _cost(self, out_shape: Shape, each: int, what: str) -> LayerCost:
        """each: the operations for each output."""
        rows, columns, outputs = self.window.rows, self.window.columns, math.prod(out_shape)
        met = rows.met_count() * columns.met_count()
        return LayerCost(
            each * outputs,
            f"{what} for each of {outputs:,} outputs",
            seen=rows.size * columns.size * outputs,
            rounds=met,
            touched=met * outputs,
        )

    def _gradient_sums(self, dy: Array, ctx: Context) -> Array:
        """Zeros to which dy is added, (C, H, W, N); float64 where float32 would lose digits over many windows."""
        rows, columns = self.window.rows, self.window.columns
        shape = dy.shape[1], rows.length, columns.length, len(dy)
        windows = math.prod(min(axis.positions, -(-axis.size // axis.stride)) for axis in (rows, columns))
        sums = ctx.empty(shape) if windows <= SHORT else np.empty(shape)
        sums[...] = 0
        return sums


class MaxPool2D(_Pool):
    """The largest number in each window.

    Forward:   y[n,c,p,q] = max over i,j of x[n, c, p*stride + i - padding, q*stride + j - padding]
    Backward:  dx = dy where the maximum was taken; of equal maxima the first in the window's column order

    x: (N, C, H, W); y: (N, C, oh, ow) with oh = floor((H + padding - size) / stride) + 1. size, stride: a number or
    (height, width), stride is size if None; padding: one or a pair for both ends, "same" (oh = ceil(H / stride)) or
    "valid" (0); it counts as -inf. ceil_mode: a last window that begins in the image or the padding before it counts
    even if it reaches too far, so that oh is rounded up.
    Raises ConfigError for arguments out of range, ShapeError if the window does not fit the input.
    Source: ONNX operator MaxPool. Which of equal maxima gets the gradient is free: each choice is a subgradient.
    """

    lesson = (
        "Of each window of a channel the largest number is kept; channels do not mix.",
        "The image becomes smaller, and what was found stays found where it moves a little.",
    )
    examples: ClassVar[tuple[Example, ...]] = (
        Example("MaxPool2D(2)", (2, 5, 4), "2"),
        Example("MaxPool2D(3, 2, 1)", (2, 5, 6), "3, 2, 1"),
        Example("MaxPool2D((3, 2), (1, 2), (1, 0))", (2, 5, 6), "(3, 2), (1, 2), (1, 0)"),
        Example("MaxPool2D(2, 1, 'same')", (1, 4, 3)),
        Example("MaxPool2D(8, 1, 'same')", (2, 5, 3)),
        Example("MaxPool2D((4, 3))", (1, 4, 3), "(4, 3)"),
        Example("MaxPool2D(3, 2, ceil_mode=True)", (2, 6, 4), "3, 2, ceil_mode=True"),
        Example("MaxPool2D((3, 2), 3, 1, ceil_mode=True)", (2, 6, 5), "(3, 2), 3, 1, ceil_mode=True"),
    )
    twin = "torch.nn.MaxPool2d"
    operators = ("MaxPool", "Pad")

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
        dx = self._gradient_sums(dy, ctx)
        waiting = np.ones(y.shape, bool)
        for _, _, place, met in sorted(self.window.elements(), key=lambda at: (at[1], at[0])):
            first = waiting[place] & (inner[met] == y[place])
            dx[met] += inner_dy[place] * first
            waiting[place] ^= first
        return dx.transpose(3, 0, 1, 2).astype(dy.dtype, copy=False), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX MaxPool; at stride 1 with unequal pads, which ONNX's reference evaluator gets wrong, in another form.

        "same" is an attribute of the operator. Any other padding repeats the elements at the edges: a window that
        reaches over an edge holds them, too, so no maximum changes. (An infinity would spoil the scales of quantizers.)
        Of a window larger than the image, what can meet it is written.
        """
        window = self.window.without_idle()
        attributes = window.onnx
        if set(attributes["strides"]) != {1} or len(set(attributes["pads"])) == 1:
            return graph.add("MaxPool", x, **attributes)
        del attributes["pads"]
        if self.padding == "same" and window == self.window:
            return graph.add("MaxPool", x, **attributes, auto_pad="SAME_UPPER")
        return graph.add("MaxPool", graph.add("Pad", x, window.onnx_pads, mode="edge"), **attributes)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        comparisons = self.window.rows.size * self.window.columns.size - 1
        return self._cost(out_shape, comparisons, f"{comparisons} comparisons")


class AvgPool2D(_Pool):
    """The mean of each window.

    Forward:   y[n,c,p,q] = sum over i,j of x[n, c, p*stride + i - padding, q*stride + j - padding] / (kh*kw)
    Backward:  dx = dy / (kh*kw), added up over the windows that an element is in

    x: (N, C, H, W); y: (N, C, oh, ow); arguments as in MaxPool2D. Padding counts as zeros, and is counted in kh*kw;
    with count_include_pad=False that is the number of the image's own elements in the window. What a window of
    ceil_mode has beyond the padding is never counted.
    Raises ConfigError for arguments out of range, ShapeError if the window does not fit the input.
    Source: ONNX operator AveragePool with count_include_pad=1, PyTorch's default.
    """

    lesson = (
        "Of each window of a channel the mean is kept; channels do not mix.",
        "The image becomes smaller, and single numbers matter less.",
    )
    examples: ClassVar[tuple[Example, ...]] = (
        Example("AvgPool2D(2)", (2, 5, 4), "2"),
        Example("AvgPool2D(3, 2, 1)", (2, 5, 6), "3, 2, 1"),
        Example("AvgPool2D((3, 2), (1, 2), (1, 0))", (2, 5, 6), "(3, 2), (1, 2), (1, 0)"),
        Example("AvgPool2D(2, 1, 'same')", (1, 4, 3)),
        Example("AvgPool2D(8, 1, 'same')", (2, 5, 3)),
        Example("AvgPool2D((4, 3))", (1, 4, 3), "(4, 3)"),
        Example("AvgPool2D(3, 2, ceil_mode=True)", (2, 6, 4), "3, 2, ceil_mode=True"),
        Example("AvgPool2D((3, 2), 3, 1, ceil_mode=True)", (2, 6, 5), "(3, 2), 3, 1, ceil_mode=True"),
        Example(
            "AvgPool2D((3, 4), 2, (1, 2), True, False)", (2, 6, 5), "(3, 4), 2, (1, 2), True, count_include_pad=False"
        ),
        Example("AvgPool2D(3, 1, 'same', count_include_pad=False)", (1, 4, 3)),
    )
    twin = "torch.nn.AvgPool2d"
    operators = ("AveragePool", "Conv", "Mul")

    def __init__(
        self,
        size: int | Pair,
        stride: int | Pair | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(size, stride, padding, ceil_mode)
        self.count_include_pad = true_or_false("count_include_pad", count_include_pad)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """A running sum over the elements of the window that meet the image; of a large window in float64."""
        inner = x.transpose(1, 2, 3, 0)
        y = ctx.empty((x.shape[1], *self.window.out_size, len(x)))
        total = y if self.window.rows.size * self.window.columns.size <= SHORT else np.empty(y.shape)
        total[...] = 0
        for _, _, place, met in self.window.elements():
            total[place] += inner[met]
        return np.divide(total, self._divisors(x.dtype), out=y).transpose(3, 0, 1, 2), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """Every element of a window gets an equal share."""
        share = dy.transpose(1, 2, 3, 0) / self._divisors(dy.dtype)
        dx = self._gradient_sums(dy, ctx)
        for _, _, place, met in self.window.elements():
            dx[met] += share[place]
        return dx.transpose(3, 0, 1, 2).astype(dy.dtype, copy=False), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX AveragePool; with padding a Conv of each channel separately, whose kernel is 1 / (kh*kw) throughout.

        AveragePool has count_include_pad for that, but ONNX Runtime 1.21 to 1.24 (microsoft/onnxruntime 24681) and
        OpenCV 4 ignore padding nevertheless, without a warning. Where windows count different numbers, what they are
        multiplied with comes after it. Of a window larger than the image, what can meet it is written.
        """
        if not any(self.window.onnx["pads"]):
            return graph.add("AveragePool", x, **self.window.onnx)
        counts = self._divisors(np.dtype(np.float64))
        of_all, of_each = (1.0, 1 / counts[..., 0]) if isinstance(counts, np.ndarray) else (1 / counts, None)
        channels, window = graph.shape(x)[0], self.window.without_idle()
        kernel = np.full((channels, 1, *(axis.size for axis in window.axes)), of_all)
        mean = graph.add("Conv", x, kernel, **window.onnx, group=channels)
        return mean if of_each is None else graph.add("Mul", mean, of_each)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        window = self.window.rows.size * self.window.columns.size
        return self._cost(out_shape, window, f"{window - 1} additions and a division")

    def counts(self) -> Array:
        """The numbers that each window counts: (oh, ow), integers."""
        ends = (0, 0) if isinstance(self.padding, str) else pair("padding", self.padding, 0)
        rows, columns = (
            self._counts(axis, axis.after if self.padding == "same" else end)
            for axis, end in zip((self.window.rows, self.window.columns), ends, strict=True)
        )
        return np.multiply.outer(rows, columns)

    def _counts(self, axis: Axis, after: int) -> Array:
        """Those along an axis; after: the padding at its end that may count."""
        starts = np.arange(axis.positions) * axis.stride - axis.before
        stops = np.minimum(starts + axis.size, axis.length + after)
        if self.count_include_pad:
            return stops - starts
        return np.minimum(stops, axis.length) - np.maximum(starts, 0)

    def _divisors(self, dtype: np.dtype[Any]) -> float | Array:
        """One number where all windows count equally many, else (oh, ow, 1)."""
        counts, whole = self.counts(), self.window.rows.size * self.window.columns.size
        return float(whole) if (counts == whole).all() else counts[..., None].astype(dtype)


class LPPool2D(_Pool):
    """The p-norm of each window, p = norm.

    Forward:   y[n,c,p,q] = (sum over i,j of |x[n, c, p*stride + i - padding, q*stride + j - padding]|^norm)^(1/norm)
    Backward:  dx = dy * sign(x) * (|x| / y)^(norm - 1), added up over the windows that an element is in; 0 where y is 0

    x: (N, C, H, W); y: (N, C, oh, ow); norm: a number, 1 or above: 1 gives sums of absolute values, 2 their Euclidean
    length, and a large one almost the maximum. The other arguments are those of MaxPool2D; padding counts as zeros. No
    power overflows, as numbers are divided by the window's largest first. PyTorch takes no absolute values, which
    differs for norms that are not even, and in ceil_mode counts what a window that reaches too far has as if it were
    more.
    Raises ConfigError for arguments out of range, ShapeError if the window does not fit the input.
    Source: Sermanet, Chintala, LeCun (2012), Convolutional Neural Networks Applied to House Numbers Digit
    Classification; ONNX operator LpPool.
    """

    lesson = (
        "Of each window of a channel the numbers' absolute values are raised to a power and added up, and the root of "
        "that is kept; channels do not mix.",
        "It lies between the mean and the maximum: large numbers count more, and small ones still a little.",
    )
    examples = (
        Example("LPPool2D(2, 2)", (2, 5, 4), "2, 2"),
        Example("LPPool2D(4, (3, 2), (1, 2))", (2, 5, 6), "4, (3, 2), (1, 2)"),
        Example("LPPool2D(2, 3, 2, ceil_mode=True)", (2, 6, 4)),
        Example("LPPool2D(1, 3, 2, 1)", (2, 5, 6)),
        Example("LPPool2D(2.5, 3, 1, 'same')", (1, 4, 3)),
    )
    twin = "torch.nn.LPPool2d"
    operators = ("Abs", "Conv", "Pow")

    def __init__(
        self,
        norm: float,
        size: int | Pair,
        stride: int | Pair | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(size, stride, padding, ceil_mode)
        self.norm = norm
        if not finite("norm", norm) >= 1:
            raise ConfigError(f"norm must be a number, 1 or above, got {shown(norm)}")

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """Running maxima of the absolute values, then running sums of powers of what they are beside them."""
        sizes = np.abs(x, out=ctx.empty_like(x)).transpose(1, 2, 3, 0)
        largest = ctx.empty((x.shape[1], *self.window.out_size, len(x)))
        largest[...] = 0
        for _, _, place, met in self.window.elements():
            np.maximum(largest[place], sizes[met], out=largest[place])
        divisors = np.where(largest == 0, 1, largest)
        total = np.zeros(largest.shape, largest.dtype if self._elements <= SHORT else np.float64)
        for _, _, place, met in self.window.elements():
            total[place] += (sizes[met] / divisors[place]) ** self.norm
        y = np.multiply(largest, total ** (1 / self.norm), out=ctx.empty(largest.shape))
        return y.transpose(3, 0, 1, 2), (x, y)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """Each element by its share of the norm."""
        x, y = cache
        inner, inner_dy = x.transpose(1, 2, 3, 0), dy.transpose(1, 2, 3, 0)
        divisors = np.where(y == 0, 1, y)
        dx = self._gradient_sums(dy, ctx)
        for _, _, place, met in self.window.elements():
            shares = (np.abs(inner[met]) / divisors[place]) ** (self.norm - 1)
            dx[met] += inner_dy[place] * np.sign(inner[met]) * shares
        return dx.transpose(3, 0, 1, 2).astype(dy.dtype, copy=False), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """Powers, a Conv of each channel separately that adds them up, and the root.

        Runtimes have LpPool for whole norms alone, and with other padding than in newer operator sets.
        """
        channels, window = graph.shape(x)[0], self.window.without_idle()
        kernel = np.ones((channels, 1, window.rows.size, window.columns.size), np.float32)
        powers = graph.add("Pow", graph.add("Abs", x), np.array(self.norm, np.float32))
        sums = graph.add("Conv", powers, kernel, **window.onnx, group=channels)
        return graph.add("Pow", sums, np.array(1 / self.norm, np.float32))

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return self._cost(out_shape, 4 * self._elements + 2, f"{4 * self._elements} operations, a root and a product")

    @property
    def _elements(self) -> int:
        return self.window.rows.size * self.window.columns.size
