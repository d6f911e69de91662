"""Smooth activations: sigmoids, and rectifiers without a corner."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnkit.components.checks import one_of, positive
from cnnkit.layers import special_functions
from cnnkit.layers.activation import _Activation
from cnnkit.types import Array, Example, LayerCost, OnnxGraph, Shape

ONE = np.array(1, np.float32)
CUBIC = 0.044715
"""Of the approximation of GELU by a hyperbolic tangent."""
SATURATED = 30.0
"""Where that tangent is +-1, also in float64; beyond, its argument might overflow."""


class Sigmoid(_Activation):
    """Logistic function.

    Forward:   y = 1 / (1 + exp(-x))
    Backward:  dx = y * (1 - y) * dy

    exp is taken of -|x| only, so that none overflows. At the end of a network that is trained with a loss of labels
    from logits, such as BinaryCrossEntropy, training leaves it out, and takes the values before it.

    x, y: (N, ...), the same shape.
    Source: ONNX operator Sigmoid.
    """

    pointwise = True
    lesson = (
        "Every number is pressed between 0 and 1: large ones come close to 1, those far below 0 close to 0, and 0 "
        "becomes 1/2.",
        "What lies between 0 and 1 can be a probability, or a gate that lets a part of something through.",
    )
    examples = (Example("Sigmoid()", (4, 9, 11), ""), Example("Sigmoid()", (13,), ""))
    twin = "torch.nn.Sigmoid"
    operators = ("Sigmoid",)
    from_output = True

    def value(self, x: Array) -> Any:
        """1 / (1 + exp(-x))."""
        return special_functions.sigmoid(x)

    def derivative(self, y: Array) -> Any:
        """y * (1 - y)."""
        return y * (1 - y)

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Sigmoid."""
        return graph.add("Sigmoid", x)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost.each(out_shape, 3, "an exponential, an addition and a division for each number")


class Tanh(_Activation):
    """Hyperbolic tangent.

    Forward:   y = tanh(x)
    Backward:  dx = (1 - y^2) * dy

    x, y: (N, ...), the same shape.
    Source: LeCun, Bottou, Orr, Müller (1998), Efficient BackProp, section 4.4; ONNX operator Tanh.
    """

    pointwise = True
    lesson = (
        "Every number is pressed between -1 and 1: near 0 it hardly changes, and far from 0 only its sign is left.",
        "It bends on both sides and keeps the mean near 0; far from 0, hardly a gradient comes back through it.",
    )
    examples = (Example("Tanh()", (4, 9, 11), ""), Example("Tanh()", (13,), ""))
    twin = "torch.nn.Tanh"
    operators = ("Tanh",)
    from_output = True

    def value(self, x: Array) -> Any:
        """tanh(x)."""
        return np.tanh(x)

    def derivative(self, y: Array) -> Any:
        """1 - y^2, as a product."""
        return (1 - y) * (1 + y)

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Tanh."""
        return graph.add("Tanh", x)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost.each(out_shape, 1, "a hyperbolic tangent for each number")


class Softsign(_Activation):
    """Ratio that approaches -1 and 1 slowly.

    Forward:   y = x / (1 + |x|)
    Backward:  dx = dy / (1 + |x|)^2

    x, y: (N, ...), the same shape.
    Source: Bergstra, Desjardins, Lamblin, Bengio (2009), Quadratic Polynomials Learn Better Image Features; ONNX
    operator Softsign.
    """

    pointwise = True
    lesson = (
        "Every number is divided by its size plus 1, which presses all of them between -1 and 1.",
        "It bends as tanh does, but flattens more slowly, so that more gradient comes back from far away.",
    )
    examples = (Example("Softsign()", (4, 9, 11), ""), Example("Softsign()", (13,), ""))
    twin = "torch.nn.Softsign"
    operators = ("Softsign",)

    def value(self, x: Array) -> Any:
        """x / (1 + |x|)."""
        return x / (1 + np.abs(x))

    def derivative(self, x: Array) -> Any:
        """1 / (1 + |x|)^2."""
        return 1 / np.square(1 + np.minimum(np.abs(x), 1e15))  # whose square float32 can hold

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Softsign."""
        return graph.add("Softsign", x)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost.each(out_shape, 3, "an absolute value, an addition and a division for each number")


class Softplus(_Activation):
    """Rectifier with a round corner.

    Forward:   y = log(1 + exp(beta * x)) / beta = max(x, 0) + log(1 + exp(-|beta * x|)) / beta
    Backward:  dx = dy / (1 + exp(-beta * x))

    In this form nothing overflows, so that it needs no threshold, from which on PyTorch's gives x.

    x, y: (N, ...), the same shape.
    Raises ConfigError unless beta > 0.
    Source: Dugas, Bengio, Bélisle, Nadeau, Garcia (2001), Incorporating Second-Order Functional Knowledge for Better
    Option Pricing.
    """

    pointwise = True
    lesson = (
        "Large numbers hardly change, and those far below 0 come close to 0, with a smooth curve between.",
        "It is a ReLU with a round corner: every output is above 0, and some gradient always comes back.",
    )
    examples = (
        Example("Softplus()", (4, 9, 11), ""),
        Example("Softplus(2.5)", (13,), "2.5"),
        Example("Softplus(0.3)", (3, 4, 5), "0.3"),
    )
    twin = "torch.nn.Softplus"
    operators = ("Abs", "Add", "Exp", "Log", "Mul", "Relu")

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = positive("beta", beta)

    def value(self, x: Array) -> Any:
        """Softplus of beta * x, divided by beta."""
        return special_functions.softplus(x * self.beta) / self.beta

    def derivative(self, x: Array) -> Any:
        """The sigmoid of beta * x."""
        return special_functions.sigmoid(x * self.beta)

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """The form that does not overflow: ONNX Softplus takes exp of large numbers in some runtimes."""
        scaled = graph.add("Mul", x, np.array(self.beta, np.float32))
        return graph.add("Mul", _lowered_softplus(graph, scaled), np.array(1 / self.beta, np.float32))

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        each = "an exponential, a logarithm, two additions, a comparison and two factors for each number"
        return LayerCost.each(out_shape, 7, each)


class SiLU(_Activation):
    """Number times its sigmoid, also called swish.

    Forward:   y = x * s, s = 1 / (1 + exp(-x))
    Backward:  dx = (s + x * s * (1 - s)) * dy

    x, y: (N, ...), the same shape.
    Source: Elfwing, Uchibe, Doya (2018), Sigmoid-Weighted Linear Units for Neural Network Function Approximation;
    Ramachandran, Zoph, Le (2017), Searching for Activation Functions.
    """

    pointwise = True
    lesson = (
        "Every number is multiplied with its own sigmoid: large ones stay, those far below 0 become almost 0, and "
        "those a little below 0 stay a little below.",
        "It is a ReLU without a corner, so that gradients come back near 0, too.",
    )
    examples = (Example("SiLU()", (4, 9, 11), ""), Example("SiLU()", (13,), ""))
    twin = "torch.nn.SiLU"
    operators = ("Mul", "Sigmoid")

    def value(self, x: Array) -> Any:
        """x * sigmoid(x)."""
        return x * special_functions.sigmoid(x)

    def derivative(self, x: Array) -> Any:
        """The product rule."""
        return special_functions.sigmoid(x) + x * special_functions.sigmoid_derivative(x)

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Sigmoid and Mul."""
        return graph.add("Mul", x, graph.add("Sigmoid", x))

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        each = "an exponential, an addition, a division and a multiplication for each number"
        return LayerCost.each(out_shape, 4, each)


class GELU(_Activation):
    """Number times the probability that a standard normal one is below it.

    Forward:   y = x * P(x), with P the standard normal distribution, (1 + erf(x / sqrt(2))) / 2;
               approximate="tanh": P(x) = (1 + tanh(v)) / 2, v = sqrt(2 / pi) * (x + 0.044715 * x^3)
    Backward:  dx = (P(x) + x * P'(x)) * dy, P'(x) = exp(-x^2 / 2) / sqrt(2 pi);
               approximate="tanh": P'(x) = (1 - tanh(v)^2) / 2 * sqrt(2 / pi) * (1 + 3 * 0.044715 * x^2)

    x, y: (N, ...), the same shape.
    Raises ConfigError unless approximate is "none" or "tanh".
    Source: Hendrycks, Gimpel (2016), Gaussian Error Linear Units.
    """

    pointwise = True
    lesson = (
        "Every number is multiplied with the share of the numbers of a bell curve that lie below it: large ones stay, "
        "and those far below 0 become almost 0.",
        "It is a ReLU without a corner that weighs each number by how unusually large it is.",
    )
    examples = (
        Example("GELU()", (4, 9, 11), ""),
        Example("GELU()", (13,), ""),
        Example('GELU("tanh")', (3, 4, 5), 'approximate="tanh"'),
        Example('GELU("tanh")', (13,), 'approximate="tanh"'),
    )
    twin = "torch.nn.GELU"
    operators = ("Add", "Erf", "Mul", "Tanh")

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = one_of("approximate", approximate, ("none", "tanh"))

    def value(self, x: Array) -> Any:
        """x * P(x); (1 + tanh(v)) / 2 is sigmoid(2 v), in which no digits are lost."""
        return x * (
            special_functions.normal_distribution(x)
            if self.approximate == "none"
            else special_functions.sigmoid(2 * _tangent(x))
        )

    def derivative(self, x: Array) -> Any:
        """The product rule."""
        if self.approximate == "none":
            return special_functions.normal_distribution(x) + x * special_functions.normal_density(x)
        near = np.clip(x, -SATURATED, SATURATED)
        inner = (1 + 3 * CUBIC * near * near) * (2 * math.sqrt(2 / math.pi))
        v = 2 * _tangent(x)
        return special_functions.sigmoid(v) + near * special_functions.sigmoid_derivative(v) * inner

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """The formula: ONNX has Gelu from opset 20 on."""
        half = graph.add("Mul", x, np.array(0.5, np.float32))
        if self.approximate == "none":
            curve = graph.add("Erf", graph.add("Mul", x, np.array(math.sqrt(0.5), np.float32)))
        else:
            square = graph.add("Mul", graph.add("Mul", x, x), np.array(CUBIC, np.float32))
            v = graph.add("Mul", x, graph.add("Add", square, ONE))
            curve = graph.add("Tanh", graph.add("Mul", v, np.array(math.sqrt(2 / math.pi), np.float32)))
        return graph.add("Mul", half, graph.add("Add", curve, ONE))

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        if self.approximate == "none":
            return LayerCost.each(out_shape, 5, "an error function, an addition and three factors for each number")
        each = "a hyperbolic tangent, two additions and six factors for each number"
        return LayerCost.each(out_shape, 9, each)


class Mish(_Activation):
    """Number times the hyperbolic tangent of its softplus.

    Forward:   y = x * T, T = tanh(log(1 + exp(x)))
    Backward:  dx = (T + x * (1 - T^2) * s) * dy, s = 1 / (1 + exp(-x))

    T = n / (n + m) with e = exp(-|x|), n = 1 + 2 e, m = 2 e^2 for x >= 0, and n = e^2 + 2 e, m = 2 below: a single
    exponential that does not overflow, and 1 - T = m / (n + m) without a difference.

    x, y: (N, ...), the same shape.
    Source: Misra (2020), Mish: A Self Regularized Non-Monotonic Activation Function.
    """

    pointwise = True
    lesson = (
        "Large numbers stay, those far below 0 become almost 0, and those a little below 0 stay a little below.",
        "It is a ReLU without a corner, so that gradients come back near 0, too.",
    )
    examples = (Example("Mish()", (4, 9, 11), ""), Example("Mish()", (13,), ""))
    twin = "torch.nn.Mish"
    operators = ("Abs", "Add", "Exp", "Log", "Mul", "Relu", "Tanh")

    def value(self, x: Array) -> Any:
        """x * T."""
        return x * _tanh_of_softplus(x)[0]

    def derivative(self, x: Array) -> Any:
        """The product rule."""
        inner, rest = _tanh_of_softplus(x)
        return inner + x * rest * (1 + inner) * special_functions.sigmoid(x)

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """The formula: ONNX has Mish from opset 18 on."""
        return graph.add("Mul", x, graph.add("Tanh", _lowered_softplus(graph, x)))

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        each = "an exponential, three additions, a division and three factors for each number"
        return LayerCost.each(out_shape, 8, each)


def _tangent(x: Array) -> Any:
    """What GELU's approximation takes the hyperbolic tangent of, where that is not +-1 anyway."""
    near = np.clip(x, -SATURATED, SATURATED)
    return near * (1 + CUBIC * near * near) * math.sqrt(2 / math.pi)


def _tanh_of_softplus(x: Array) -> tuple[Array, Array]:
    """T and 1 - T of Mish, with u = 1 and v = e for x >= 0, and u = e and v = 1 below: n = u^2 + 2 u v, m = 2 v^2."""
    u, v = np.exp(np.minimum(x, 0)), np.exp(-np.maximum(x, 0))
    n, m = u * (u + 2 * v), 2 * v * v
    return n / (n + m), m / (n + m)


def _lowered_softplus(graph: OnnxGraph, x: str) -> str:
    """max(x, 0) + log(1 + exp(-|x|))."""
    small = graph.add("Exp", graph.add("Mul", graph.add("Abs", x), -ONE))
    return graph.add("Add", graph.add("Relu", x), graph.add("Log", graph.add("Add", small, ONE)))
