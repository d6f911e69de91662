"""Scores of classes to probabilities, and to their logarithms."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cnnkit.components import Layer
from cnnkit.components.sums import sum_over
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape


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


class LogSoftmax(Layer):
    """Scores to logarithms of probabilities over the classes, axis 1.

    Forward:   y = x - max(x) - log(sum of exp(x - max(x)))
    Backward:  dx = dy - exp(y) * sum of dy

    x, y: (N, F) or (N, C, H, W), the same shape; sums and maximum run over axis 1. The maximum keeps exp finite.
    Source: Bridle (1990), Training Stochastic Model Recognition Algorithms as Networks; ONNX operator LogSoftmax.
    """

    lesson = (
        "Scores become logarithms of probabilities: the logarithm of the sum of all powers is subtracted from each.",
        "A product of many probabilities is too small to store, but the sum of their logarithms is not.",
    )
    examples = (
        Example("LogSoftmax()", (4, 9, 11), "1"),
        Example("LogSoftmax()", (13,), "1"),
        Example("LogSoftmax()", (1,), "1"),
    )
    twin = "torch.nn.LogSoftmax"
    operators = ("Exp", "Log", "ReduceMax", "ReduceSum", "Sub")

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """Logarithms of probabilities."""
        y = np.subtract(x, x.max(axis=1, keepdims=True), out=ctx.empty_like(x))
        powers = np.exp(y, out=ctx.empty_like(x))
        y -= np.log(sum_over(powers, 1))[:, None]
        return y, y

    def backward(self, dy: Array, y: Cache, ctx: Context) -> tuple[Array, Grads]:
        """dx = dy - exp(y) * sum of dy."""
        dx = np.exp(y, out=ctx.empty_like(y))
        dx *= sum_over(dy, 1)[:, None]
        return np.subtract(dy, dx, out=dx), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """The formula: of ONNX LogSoftmax, some runtimes take the logarithm of a softmax, which may be 0."""
        axis = np.array([1])
        # ReduceMax takes the axes as an input from opset 18 on, ReduceSum from 13 on.
        largest = graph.add("ReduceMax", x, axis) if graph.opset >= 18 else graph.add("ReduceMax", x, axes=[1])
        shifted = graph.add("Sub", x, largest)
        return graph.add("Sub", shifted, graph.add("Log", graph.add("ReduceSum", graph.add("Exp", shifted), axis)))

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        numbers = math.prod(out_shape)
        sums = numbers // out_shape[0]
        each = (
            "two subtractions and an exponential for each number; comparisons and additions for all but one; a "
            "logarithm for each sum"
        )
        return LayerCost(5 * numbers - sums, each)
