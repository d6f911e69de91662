"""Straight lines: a factor and an offset, fixed for all numbers or learned along some axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnkit.components import Layer
from cnnkit.components.checks import finite, whole
from cnnkit.components.sums import sum_over
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.layers.activation import _Activation
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape


class Rescale(_Activation):
    """Numbers in another unit.

    Forward:   y = scale * x + offset
    Backward:  dx = scale * dy

    x, y: (N, ...), the same shape; scale, offset: numbers that are not learned.
    Raises ConfigError for a scale of 0, and for numbers that are not finite.
    Source: the layer Rescaling of Keras; ONNX operators Mul and Add.
    """

    pointwise = True
    lesson = (
        "Every number is multiplied with a fixed number, and another one is added.",
        "What one part of a network gives can so have the size that another one expects, as 1 - x of a gate does.",
    )
    examples = (
        Example("Rescale(2.0)", (4, 5, 4)),
        Example("Rescale(-1.0, 1.0)", (13,)),
        Example("Rescale(offset=-0.5)", (3, 7)),
    )
    operators = ("Add", "Mul")

    def __init__(self, scale: float = 1.0, offset: float = 0.0) -> None:
        self.scale, self.offset = finite("scale", scale), finite("offset", offset)
        if scale == 0:
            raise ConfigError("scale must be a number other than 0, which would leave nothing of the input, got 0")

    def value(self, x: Array) -> Any:
        """A product and a sum."""
        return x * self.scale + self.offset

    def derivative(self, x: Array) -> Any:
        """The scale."""
        return np.full_like(x, self.scale)

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Mul and Add, those that change anything."""
        if self.scale != 1 or self.offset == 0:
            x = graph.add("Mul", x, np.array(self.scale, np.float32))
        return graph.add("Add", x, np.array(self.offset, np.float32)) if self.offset else x

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost.each(out_shape, 2, "a multiplication and an addition for each number")


class ScaleShift(Layer):
    """Each channel times a learned number, plus another one.

    Forward:   y = weight * x + bias
    Backward:  dx = weight * dy, dweight = sum of dy * x, dbias = sum of dy, over the samples and all other axes

    x, y: (N, ...), the same shape; axes: along which axes of the input the learned numbers differ: (1,) for one of each
    channel, (1, 2, 3) for one of each number of an image, () for a single one. weight, bias: as long as the input along
    those, and of length 1 along the others. Weights start at 1, biases at 0: nothing changes then.
    Raises ConfigError for axes below 1 or not in rising order, ShapeError for an axis that the input does not have.
    Source: Touvron, Cord, Sablayrolles, Synnaeve, Jegou (2021), Going Deeper with Image Transformers, LayerScale; the
    layer Scale of Caffe; ONNX operators Mul and Add.
    """

    pointwise = True
    lesson = (
        "Every channel is multiplied with a number of its own, and another one is added.",
        "The network learns how much each channel counts from here on, with two numbers for each.",
    )
    examples = (
        Example("ScaleShift()", (4, 5, 4)),
        Example("ScaleShift()", (13,)),
        Example("ScaleShift((1, 2, 3))", (3, 4, 5)),
        Example("ScaleShift((2,))", (3, 7)),
        Example("ScaleShift(())", (2, 3, 4)),
    )
    operators = ("Add", "Mul")

    def __init__(self, axes: tuple[int, ...] = (1,)) -> None:
        self.axes = axes
        if not isinstance(axes, list | tuple):
            raise ConfigError(f"axes must be numbers of axes, such as (1,) for the channels, got {shown(axes)}")
        for axis in axes:
            whole("each of axes", axis)
        if sorted(set(axes)) != list(axes):
            raise ConfigError(f"axes must be different and in rising order, such as (1, 2), got {shown(axes)}")

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """Keeps the shape."""
        if self.axes and self.axes[-1] > len(in_shape):
            raise ShapeError(
                f"{self!r} expects an input with an axis {self.axes[-1]} beside the samples', got {in_shape}"
            )
        shape = tuple(length if axis in self.axes else 1 for axis, length in enumerate(in_shape, 1))
        self.params = {"weight": np.ones(shape), "bias": np.zeros(shape)}
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """A product and a sum."""
        y = np.multiply(x, self.params["weight"], out=ctx.empty_like(x))
        y += self.params["bias"]
        return y, x

    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        """Sums over the axes along which a number is the same."""
        shape = self.params["weight"].shape
        over = (0, *(axis for axis in range(1, dy.ndim) if axis not in self.axes))
        product = np.multiply(dy, x, out=ctx.empty_like(dy))
        grads = {
            "weight": np.asarray(sum_over(product, over)).reshape(shape),
            "bias": np.asarray(sum_over(dy, over)).reshape(shape),
        }
        return np.multiply(dy, self.params["weight"], out=ctx.empty_like(dy)), grads

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Mul and Add."""
        return graph.add("Add", graph.add("Mul", x, self.params["weight"]), self.params["bias"])

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost.each(out_shape, 2, "a multiplication and an addition for each number")
