"""Joins: the outputs of several nodes of a graph become one, number by number."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from cnnkit.components import Merge
from cnnkit.components.sums import sum_over
from cnnkit.errors import ShapeError
from cnnkit.types import Array, Cache, Context, Example, LayerCost, OnnxGraph, Shape


class _Join(Merge):
    """Joins values of one shape, which is also that of the output."""

    def merge_shape(self, in_shapes: Sequence[Shape]) -> Shape:
        """The shape that all inputs must have."""
        name = type(self).__name__
        if len(in_shapes) < 2:
            raise few_inputs(name, in_shapes)
        if len(set(in_shapes)) > 1:
            raise ShapeError(f"{name} expects inputs of one shape, got {', '.join(map(str, in_shapes))}")
        return in_shapes[0]


class _JoinOfTwo(_Join):
    """Joins two values of one shape."""

    def merge_shape(self, in_shapes: Sequence[Shape]) -> Shape:
        """The shape that both inputs must have."""
        if len(in_shapes) != 2:
            raise ShapeError(f"{type(self).__name__} expects two inputs, got {len(in_shapes)}: join them two by two")
        return super().merge_shape(in_shapes)


class Add(_Join):
    """Adds the outputs of several nodes of a graph.

    Forward:   y = x_1 + x_2 + ...
    Backward:  dx_i = dy

    x_i, y: (N, ...) of one shape.
    Raises ShapeError for a single input, and for inputs of different shapes.
    Source: He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition; ONNX operator Add.
    """

    lesson = (
        "The outputs of several layers are added, number by number.",
        "A sum lets one path through a network correct another, and gradients reach both unchanged.",
    )
    examples: ClassVar[tuple[Example, ...]] = (Example("Add()", (4, 5, 4)), Example("Add()", (13,)))
    operators = ("Add",)

    def forward(self, xs: Sequence[Array], ctx: Context) -> tuple[Array, Cache]:
        """Add them in their order."""
        return _folded(np.add, xs, ctx), len(xs)

    def backward(self, dy: Array, inputs: Cache, ctx: Context) -> Sequence[Array]:
        """Every input gets dy."""
        return [dy] * inputs

    def lower(self, graph: OnnxGraph, xs: Sequence[str]) -> str:
        """ONNX Add, one after the other."""
        return functools.reduce(functools.partial(graph.add, "Add"), xs)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost.each(out_shape, len(in_shapes) - 1, "an addition for each number of all inputs but one")


class Average(_Join):
    """The mean of the outputs of several nodes of a graph.

    Forward:   y = (x_1 + ... + x_k) / k
    Backward:  dx_i = dy / k

    x_i, y: (N, ...) of one shape.
    Raises ShapeError for a single input, and for inputs of different shapes.
    Source: the layer Average of Keras; Szegedy et al. (2015), Going Deeper with Convolutions, who average networks.
    """

    lesson = (
        "Of the outputs of several layers the mean is taken, number by number.",
        "Where each of them errs in another way, the errors cancel in part; and the mean is as large as they are.",
    )
    examples = (Example("Average()", (4, 5, 4)), Example("Average()", (13,)), Example("Average()", (3, 7)))
    operators = ("Add", "Mul")

    def forward(self, xs: Sequence[Array], ctx: Context) -> tuple[Array, Cache]:
        """The sum, in their order, times 1 / k."""
        y = _folded(np.add, xs, ctx)
        y *= 1 / len(xs)
        return y, len(xs)

    def backward(self, dy: Array, inputs: Cache, ctx: Context) -> Sequence[Array]:
        """Every input gets an equal share."""
        return [np.multiply(dy, 1 / inputs, out=ctx.empty_like(dy))] * inputs

    def lower(self, graph: OnnxGraph, xs: Sequence[str]) -> str:
        """ONNX Add, one after the other, and Mul."""
        total = functools.reduce(functools.partial(graph.add, "Add"), xs)
        return graph.add("Mul", total, np.array(1 / len(xs)))

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        what = "an addition for each number of all inputs but one, and a multiplication for each of the output"
        return LayerCost.each(out_shape, len(in_shapes), what)


class Maximum(_Join):
    """The largest of the outputs of several nodes of a graph, number by number.

    Forward:   y = max(x_1, ..., x_k)
    Backward:  dx_i = dy / m where x_i = y, 0 elsewhere, m the number of inputs that are equal to y there

    x_i, y: (N, ...) of one shape. Equal maxima share the gradient, as in PyTorch's amax, and with two inputs in its
    maximum.
    Raises ShapeError for a single input, and for inputs of different shapes.
    Source: Goodfellow, Warde-Farley, Mirza, Courville, Bengio (2013), Maxout Networks; ONNX operator Max.
    """

    lesson = (
        "Of the outputs of several layers the largest is kept, number by number.",
        "Each layer looks for something of its own, and what comes next sees the one that found most.",
    )
    examples = (Example("Maximum()", (4, 5, 4)), Example("Maximum()", (13,)), Example("Maximum()", (3, 7)))
    operators = ("Max",)

    def forward(self, xs: Sequence[Array], ctx: Context) -> tuple[Array, Cache]:
        """The larger ones, two by two."""
        y = _folded(np.maximum, xs, ctx)
        return y, (tuple(xs), y)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> Sequence[Array]:
        """Every input that is the maximum gets an equal share."""
        xs, y = cache
        dxs = [np.equal(x, y, out=ctx.empty_like(x)) for x in xs]  # 1 and 0
        share = _folded(np.add, dxs, ctx)
        np.maximum(share, 1, out=share)  # NaN is equal to nothing
        np.divide(dy, share, out=share)
        for dx in dxs:
            dx *= share
        return dxs

    def lower(self, graph: OnnxGraph, xs: Sequence[str]) -> str:
        """ONNX Max."""
        return graph.add("Max", *xs)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost.each(out_shape, len(in_shapes) - 1, "a comparison for each number of all inputs but one")


class Multiply(_JoinOfTwo):
    """Multiplies the outputs of two nodes of a graph, number by number.

    Forward:   y = a * b
    Backward:  da = dy * b,  db = dy * a, each summed over the axes along which its input is repeated

    a, b: (N, ...) with as many axes, each as long in both, or 1 in one of them, which then counts for all of the other:
    a gate of shape (N, C, 1, 1) for the channels of an image. y: (N, ...), as long as the longer one along each axis.
    Raises ShapeError unless there are two inputs, and for inputs whose shapes do not fit.
    Source: Dauphin, Fan, Auli, Grangier (2017), Language Modeling with Gated Convolutional Networks; Hu, Shen, Sun
    (2018), Squeeze-and-Excitation Networks; ONNX operator Mul.
    """

    lesson = (
        "The outputs of two layers are multiplied, number by number.",
        "One of them is a gate then: where it is near 0 it keeps the other one out.",
    )
    examples = (Example("Multiply()", (4, 5, 4)), Example("Multiply()", (13,)))
    operators = ("Mul",)

    def merge_shape(self, in_shapes: Sequence[Shape]) -> Shape:
        """Along each axis the longer one."""
        if len(in_shapes) == 2 and len(set(map(len, in_shapes))) == 1:
            pairs = list(zip(*in_shapes, strict=True))
            if all(a == b or 1 in (a, b) for a, b in pairs):
                return tuple(max(pair) for pair in pairs)
        return super().merge_shape(in_shapes)

    def forward(self, xs: Sequence[Array], ctx: Context) -> tuple[Array, Cache]:
        """The product."""
        a, b = xs
        larger = a if a.size >= b.size else b
        whole = np.broadcast_shapes(a.shape, b.shape)
        out = ctx.empty_like(larger) if larger.shape == whole else ctx.empty(whole)
        return np.multiply(a, b, out=out), (a, b)

    def backward(self, dy: Array, xs: Cache, ctx: Context) -> Sequence[Array]:
        """Each input gets dy times the other."""
        a, b = xs
        return [_unrepeated(np.multiply(dy, other, out=ctx.empty_like(dy)), x) for x, other in ((a, b), (b, a))]

    def lower(self, graph: OnnxGraph, xs: Sequence[str]) -> str:
        """ONNX Mul."""
        return graph.add("Mul", *xs)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost.each(out_shape, 1, "a multiplication for each number")


class Subtract(_JoinOfTwo):
    """Subtracts the output of one node of a graph from that of another.

    Forward:   y = a - b
    Backward:  da = dy,  db = -dy

    a, b, y: (N, ...) of one shape.
    Raises ShapeError unless there are two inputs, and for inputs of different shapes.
    Source: the layer Subtract of Keras; ONNX operator Sub.
    """

    lesson = (
        "The output of one layer is subtracted from that of another, number by number.",
        "What both have in common is gone then, and the difference is left, as between two images of one place.",
    )
    examples = (Example("Subtract()", (4, 5, 4)), Example("Subtract()", (13,)), Example("Subtract()", (3, 7)))
    operators = ("Sub",)

    def forward(self, xs: Sequence[Array], ctx: Context) -> tuple[Array, Cache]:
        """The difference."""
        return _folded(np.subtract, xs, ctx), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> Sequence[Array]:
        """The first input gets dy, the second its negative."""
        return [dy, np.negative(dy, out=ctx.empty_like(dy))]

    def lower(self, graph: OnnxGraph, xs: Sequence[str]) -> str:
        """ONNX Sub."""
        return graph.add("Sub", *xs)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost.each(out_shape, 1, "a subtraction for each number")


def few_inputs(name: str, in_shapes: Sequence[Shape]) -> ShapeError:
    """What the join `name` says of fewer values than two."""
    return ShapeError(
        f"{name}() joins two values or more, got {len(in_shapes)}: name them in a graph, as in "
        f'Graph({{..., "joined": ("{name}()", ["a", "b"])}})'
    )


def _unrepeated(dy: Array, x: Array) -> Array:
    """The gradient of an input that may have been repeated along some axes: the sum over those."""
    axes = tuple(axis for axis, (length, own) in enumerate(zip(dy.shape, x.shape, strict=True)) if length != own)
    return sum_over(dy, axes).reshape(x.shape) if axes else dy


def _folded(function: np.ufunc, xs: Sequence[Array], ctx: Context) -> Array:
    """A function of two numbers, of all inputs in their order, in the memory order of the first."""
    y: Array = function(xs[0], xs[1], out=ctx.empty_like(xs[0]))
    for x in xs[2:]:
        function(y, x, out=y)
    return y
