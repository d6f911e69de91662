"""Activations: what is applied to each number, or to the scores of all classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cnnkit.components import Layer
from cnnkit.components.checks import in_range
from cnnkit.components.sums import sum_over
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape


class ReLU(Layer):
    """Rectifier.

    Forward:   y = max(x, 0)
    Backward:  dx = dy where x > 0, 0 elsewhere

    x, y: (N, ...), the same shape; strides are kept.
    Source: Nair, Hinton (2010), Rectified Linear Units Improve Restricted Boltzmann Machines.
    """

    pointwise = True
    lesson = (
        "Every number below 0 becomes 0, and every other stays: in the pictures, all blue turns white.",
        "Without such a bend, layers in a row would only make one weighted sum, however many they are.",
    )
    examples = (Example("ReLU()", (4, 9, 11), ""), Example("ReLU()", (13,), ""))
    twin = "torch.nn.ReLU"
    operators = ("Relu",)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """y = max(x, 0)."""
        y = np.maximum(x, 0, out=ctx.empty_like(x))
        return y, y

    def backward(self, dy: Array, y: Cache, ctx: Context) -> tuple[Array, Grads]:
        """dx = dy where y > 0; as y is never below 0, its sign is 1 there and 0 elsewhere."""
        dx = np.sign(y, out=ctx.empty_like(y))
        return np.multiply(dx, dy, out=dx), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Relu."""
        return graph.add("Relu", x)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost.each(out_shape, 1, "a comparison for each number")


class LeakyReLU(Layer):
    """Rectifier with a small slope for negative inputs.

    Forward:   y = max(x, slope * x)
    Backward:  dx = dy where x > 0, slope * dy elsewhere

    x, y: (N, ...), the same shape; strides are kept.
    Raises ConfigError unless 0 <= slope < 1.
    Source: Maas, Hannun, Ng (2013), Rectifier Nonlinearities Improve Neural Network Acoustic Models; ONNX operator
    LeakyRelu.
    """

    pointwise = True
    lesson = (
        "Every number below 0 becomes much smaller, and every other stays: in the pictures, all blue turns pale.",
        "It bends as ReLU does, but a gradient comes back through negative numbers, too: no unit stops learning.",
    )
    examples = (
        Example("LeakyReLU()", (4, 9, 11), ""),
        Example("LeakyReLU(0.2)", (13,), "0.2"),
        Example("LeakyReLU(0)", (5,), "0.0"),
    )
    twin = "torch.nn.LeakyReLU"
    operators = ("LeakyRelu",)

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = in_range("slope", slope, 0.0, 1.0)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """y = max(x, slope * x)."""
        y = np.multiply(x, self.slope, out=ctx.empty_like(x))
        return np.maximum(x, y, out=y), y

    def backward(self, dy: Array, y: Cache, ctx: Context) -> tuple[Array, Grads]:
        """dx = dy where y > 0; y has the sign of x, so that max(sign, slope) is 1 there and slope elsewhere."""
        dx = np.sign(y, out=ctx.empty_like(y))
        np.maximum(dx, self.slope, out=dx)
        return np.multiply(dx, dy, out=dx), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX LeakyRelu."""
        return graph.add("LeakyRelu", x, alpha=float(self.slope))

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost.each(out_shape, 2, "a multiplication and a comparison for each number")


class Softmax(Layer):
    """Scores to probabilities over the classes, axis 1.

    Forward:   y = exp(x - max(x)) / sum of exp(x - max(x))
    Backward:  dx = y * (dy - sum of dy * y)

    x, y: (N, F) or (N, C, H, W), the same shape; sums and maximum run over axis 1. The maximum keeps exp finite.
    Source: Bridle (1990), Training Stochastic Model Recognition Algorithms as Networks; ONNX operator Softmax.
    """

    lesson = (
        "Scores become probabilities: e to the power of each score, divided by the sum of all these powers.",
        "All are above 0 and add up to 1, so that each says how likely its class is.",
    )
    examples = (
        Example("Softmax()", (4, 9, 11), "1"),
        Example("Softmax()", (13,), "1"),
        Example("Softmax()", (1,), "1"),
    )
    twin = "torch.nn.Softmax"
    operators = ("Softmax",)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """Probabilities."""
        y = np.subtract(x, x.max(axis=1, keepdims=True), out=ctx.empty_like(x))
        np.exp(y, out=y)
        y /= sum_over(y, 1)[:, None]
        return y, y

    def backward(self, dy: Array, y: Cache, ctx: Context) -> tuple[Array, Grads]:
        """dx = y * (dy - <dy, y>)."""
        dx = np.multiply(dy, y, out=ctx.empty_like(y))
        np.subtract(dy, sum_over(dx, 1)[:, None], out=dx)
        dx *= y
        return dx, {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Softmax over axis 1."""
        return graph.add("Softmax", x, axis=1)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        numbers = math.prod(out_shape)
        sums = numbers // out_shape[0]
        each = "a subtraction, an exponential and a division for each number; comparisons and additions for all but one"
        return LayerCost(5 * numbers - 2 * sums, each)
