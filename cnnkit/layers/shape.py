"""Layers that only rearrange or leave out numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cnnkit.components import Layer
from cnnkit.components.checks import LARGEST, whole
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.layers.layout import empty_pixels, reshaped
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape


class _Rearranged(Layer):
    """What all of them have in common."""

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost(0, "nothing is computed: the numbers only move")


class Flatten(_Rearranged):
    """All axes but the samples' in one, in C order, for dense layers.

    Forward:   y[n, (c*H + h)*W + w] = x[n, c, h, w]
    Backward:  dx[n, c, h, w] = dy[n, (c*H + h)*W + w]

    x: (N, C, H, W) or (N, F); y: (N, C*H*W), a view of x wherever its strides allow one.
    Source: ONNX operator Flatten.
    """

    passes_values_on = True
    lesson = (
        "All numbers are written one after the other, as one vector; nothing is computed.",
        "A dense layer takes a vector, and has a weight for each of its numbers.",
    )
    examples = (Example("Flatten()", (4, 9, 11), ""), Example("Flatten()", (13,), ""))
    twin = "torch.nn.Flatten"
    operators = ("Flatten",)
    cost = _Rearranged.cost

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """(C, H, W) -> (C*H*W,)."""
        return (math.prod(in_shape),)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """A view of x where its strides allow one, else a copy that keeps the samples as the fastest axis."""
        return reshaped(x, (math.prod(x.shape[1:]),), ctx), x.shape

    def backward(self, dy: Array, shape: Cache, ctx: Context) -> tuple[Array, Grads]:
        """A view of dy."""
        return dy.reshape(shape), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Flatten."""
        return graph.add("Flatten", x, axis=1)


class Reshape(_Rearranged):
    """The same numbers in another shape, in C order.

    Forward:   y[n].ravel() = x[n].ravel()
    Backward:  dx[n].ravel() = dy[n].ravel()

    x: (N, ...); y: (N, *shape), a view of x wherever its strides allow one. One length of `shape` may be -1: it is
    whatever makes all numbers fit.
    Raises ConfigError for a shape that cannot be, ShapeError if the input has another number of elements.
    Source: ONNX operator Reshape.
    """

    passes_values_on = True
    lesson = (
        "All numbers are written one after the other, and cut into rows and maps of another size; nothing is computed.",
        "What a dense layer gives can become an image that way, such as the first one of a network that draws.",
    )
    examples = (
        Example("Reshape((2, 3, 4))", (24,), "1, (2, 3, 4)"),
        Example("Reshape((3, -1))", (12,), "1, (3, -1)"),
        Example("Reshape((4, 3, 2))", (2, 4, 3)),
        Example("Reshape((-1,))", (2, 3, 5)),
        Example("Reshape((5, 1, -1))", (2, 5, 3)),
    )
    twin = "torch.nn.Unflatten"
    operators = ("Reshape",)
    cost = _Rearranged.cost

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        lengths = list(shape) if isinstance(shape, list | tuple) else []
        if not lengths or lengths.count(-1) > 1:
            raise ConfigError(
                "shape must be the lengths of the axes behind that of the samples, of which one may be -1, such as "
                f"(8, 4, 4) or (8, -1), got {shown(shape)}"
            )
        for length in lengths:
            if type(length) is not int or length != -1:
                whole("each length of shape", length)

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """(...) -> shape."""
        size, known = math.prod(in_shape), math.prod(length for length in self.shape if length != -1)
        if size % known or (size != known and -1 not in self.shape):
            raise ShapeError(
                f"Reshape cannot make {tuple(self.shape)} of an input of shape {in_shape}, which has {size:,} numbers "
                f"for each sample; the lengths that are given hold {known:,}"
            )
        return tuple(size // known if length == -1 else length for length in self.shape)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """A view of x where its strides allow one, else a copy that keeps the samples as the fastest axis."""
        size, known = math.prod(x.shape[1:]), math.prod(length for length in self.shape if length != -1)
        shape = tuple(size // known if length == -1 else length for length in self.shape)
        return reshaped(x, shape, ctx), x.shape

    def backward(self, dy: Array, shape: Cache, ctx: Context) -> tuple[Array, Grads]:
        """The same, back."""
        return reshaped(dy, shape[1:], ctx), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Reshape, where a length of 0 is that of the samples."""
        return graph.add("Reshape", x, np.array([0, *self.shape]))


class Permute(_Rearranged):
    """The axes in another order.

    Forward:   y[n, i_axes[0], i_axes[1], ...] = x[n, i_1, i_2, ...]
    Backward:  dx = dy with its axes in their old order

    x: (N, ...); y: (N, ...), a view of x. axes: the numbers 1, 2, ... of the input's axes, in the order of the
    output's; that of the samples, 0, stays in front.
    Raises ConfigError for axes that are no such order, ShapeError if the input has another number of axes.
    Source: ONNX operator Transpose; the layer Permute of Keras.
    """

    lesson = (
        "The numbers stay, and their axes change places: what was a row can become a column, or a channel.",
        "A layer that works along one axis can so work along another.",
    )
    examples = (
        Example("Permute((2, 3, 1))", (2, 3, 4)),
        Example("Permute((1, 3, 2))", (2, 3, 4)),
        Example("Permute((2, 1))", (3, 5)),
    )
    operators = ("Transpose",)
    cost = _Rearranged.cost

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes
        if not isinstance(axes, list | tuple) or sorted(map(_number, axes)) != [*range(1, len(axes) + 1)] or not axes:
            raise ConfigError(
                "axes must be the numbers 1, 2, ... of all axes but the samples' in another order, such as (2, 3, 1), "
                f"got {shown(axes)}"
            )

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """The lengths in the order of the axes."""
        if len(in_shape) != len(self.axes):
            raise ShapeError(f"Permute expects an input of {len(self.axes)} axes beside the samples', got {in_shape}")
        return tuple(in_shape[axis - 1] for axis in self.axes)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """A view of x."""
        return x.transpose(0, *self.axes), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """A view of dy."""
        return dy.transpose(np.argsort((0, *self.axes))), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Transpose."""
        return graph.add("Transpose", x, perm=[0, *self.axes])


class Slice(_Rearranged):
    """A part of an axis, such as some of the channels.

    Forward:   y = x[:, start:stop:step] for axis 1, and likewise for others
    Backward:  dx = dy where something was taken, 0 elsewhere

    x: (N, ...); y: (N, ...), a view of x. start, stop: as in Python, from the end where they are negative; stop: None
    for the end. axis: 1 for channels or features; 0, that of the samples, cannot be cut. A network is split by several
    of them: a node of a graph has one output.
    Raises ConfigError for arguments out of range, ShapeError for an axis that is not there, or if nothing is left.
    Source: ONNX operator Slice.
    """

    lesson = (
        "Some channels, or rows, or columns, are kept, and the others left out.",
        "Parts of what a layer gives can so be treated in different ways.",
    )
    examples = (
        Example("Slice(1, 3)", (4, 3, 5)),
        Example("Slice(-3, axis=3, step=2)", (2, 3, 6)),
        Example("Slice(0, -1, 2)", (2, 3, 4)),
        Example("Slice(2)", (7,)),
    )
    operators = ("Slice",)
    cost = _Rearranged.cost

    def __init__(self, start: int, stop: int | None = None, axis: int = 1, step: int = 1) -> None:
        for name, value in (("start", start), ("stop", stop)):
            if type(value) is not int and not (name == "stop" and value is None):
                raise ConfigError(f"{name} must be a whole number{', or None' * (name == 'stop')}, got {shown(value)}")
        self.start = whole("start", start, -LARGEST)
        self.stop = stop if stop is None else whole("stop", stop, -LARGEST)
        self.axis = whole("axis", axis)
        self.step = whole("step", step)

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """The length of the axis becomes that of the part."""
        if self.axis > len(in_shape):
            raise ShapeError(f"Slice expects an input with an axis {self.axis} beside the samples', 0, got {in_shape}")
        kept = self._places(in_shape[self.axis - 1])
        if not kept:
            raise ShapeError(
                f"{self!r} leaves nothing of axis {self.axis} of an input of shape {in_shape}: expected start before "
                "stop, and both within the axis"
            )
        return *in_shape[: self.axis - 1], len(kept), *in_shape[self.axis :]

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """A view of x."""
        return x[self._index], x.shape

    def backward(self, dy: Array, shape: Cache, ctx: Context) -> tuple[Array, Grads]:
        """Dy, and zeros for what was left out."""
        dx = empty_pixels(shape, ctx)
        dx[...] = 0
        dx[self._index] = dy
        return dx, {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Slice."""
        kept = self._places(graph.shape(x)[self.axis - 1])
        numbers = kept.start, kept.stop, self.axis, self.step
        return graph.add("Slice", x, *(np.array([number]) for number in numbers))

    @property
    def _index(self) -> tuple[slice, ...]:
        return (slice(None),) * self.axis + (slice(self.start, self.stop, self.step),)

    def _places(self, length: int) -> range:
        """The places in an axis of this length."""
        return range(*slice(self.start, self.stop, self.step).indices(length))


def _number(value: object) -> int:
    """A whole number, 0 for what is none."""
    return value if type(value) is int else 0
