"""Rectifiers: what is above 0 stays, and what is below is damped, in straight lines or exponentially."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnkit.components import Layer
from cnnkit.components.checks import finite, in_range, not_negative, positive, whole
from cnnkit.components.sums import sum_over
from cnnkit.errors import ShapeError
from cnnkit.layers.activation import _Activation
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848, 1.0507009873554804934
"""The solution of the equations by which mean 0 and variance 1 are a fixed point."""


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


class PReLU(Layer):
    """Rectifier whose slope for negative inputs is learned.

    Forward:   y = max(x, 0) + weight * min(x, 0)
    Backward:  dx = dy where x > 0, weight * dy elsewhere, dweight = sum of dy * min(x, 0)

    x, y: (N, C, ...), the same shape; weight: (num_parameters,), one for all numbers or one for each channel; the sum
    runs over all numbers that share one. Weights start at init.
    Raises ConfigError for arguments out of range, ShapeError unless num_parameters is 1 or C.
    Source: He, Zhang, Ren, Sun (2015), Delving Deep into Rectifiers; ONNX operator PRelu.
    """

    pointwise = True
    lesson = (
        "Every number above 0 stays, and every other is multiplied with a number that is learned.",
        "The network itself finds how much of what is below 0 it needs.",
    )
    examples = (
        Example("PReLU()", (4, 9, 11), ""),
        Example("PReLU(5, init=0.1)", (5, 4, 6), "5, init=0.1"),
        Example("PReLU()", (13,), ""),
        Example("PReLU(13)", (13,), "13"),
    )
    twin = "torch.nn.PReLU"
    operators = ("PRelu",)

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        self.num_parameters = whole("num_parameters", num_parameters)
        self.init = finite("init", init)

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """Keeps the shape."""
        if self.num_parameters not in (1, in_shape[0]):
            raise ShapeError(
                f"PReLU expects num_parameters to be 1, for all numbers, or that of the channels, {in_shape[0]} of an "
                f"input of shape {in_shape}; got {self.num_parameters}"
            )
        self.params = {"weight": np.full(self.num_parameters, float(self.init))}
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """max(x, 0) + weight * min(x, 0)."""
        y = np.minimum(x, 0, out=ctx.empty_like(x))
        y *= self._weight(x.ndim - 2)
        y += np.maximum(x, 0, out=ctx.empty_like(x))
        return y, x

    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        """dx, and the sum over all numbers that share a weight."""
        products = np.minimum(x, 0, out=ctx.empty_like(x))
        products *= dy
        axes = tuple(axis for axis in range(x.ndim) if axis != 1 or self.num_parameters == 1)
        dweight = ctx.gradient("weight", (self.num_parameters,))
        dweight[...] = sum_over(products, axes)
        above = np.sign(x, out=ctx.empty_like(x))
        np.maximum(above, 0, out=above)
        dx = np.subtract(1, above, out=products)
        dx *= self._weight(x.ndim - 2)
        dx += above
        dx *= dy
        return dx, {"weight": dweight}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX PRelu."""
        return graph.add("PRelu", x, self._weight(len(graph.shape(x)) - 1))

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost.each(out_shape, 2, "a multiplication and a comparison for each number")

    def _weight(self, axes: int) -> Array:
        """(C,) -> (C, 1, ...), with so many axes after the channels."""
        return self.params["weight"].reshape(-1, *(1,) * axes)


class _ExponentialRectifier(_Activation):
    """What is above 0 is multiplied with `scale`; below, exp approaches -depth, e-fold within `width`.

    y = scale * x where x > 0, depth * (exp(x / width) - 1) elsewhere
    """

    from_output = True
    scale: float = 1.0
    depth: float
    width: float = 1.0

    def value(self, x: Array) -> Any:
        """The exponent is never above 0, so that nothing overflows."""
        return np.maximum(x, 0) * self.scale + np.expm1(np.minimum(x, 0) / self.width) * self.depth

    def derivative(self, y: Array) -> Any:
        """depth / width * exp(x / width) is (y + depth) / width; chosen by factors, as np.where is slow."""
        above = (y > 0).astype(y.dtype)
        return above * self.scale + (1 - above) * ((np.minimum(y, 0) + self.depth) / self.width)


class ELU(_ExponentialRectifier):
    """Rectifier that falls exponentially to -alpha.

    Forward:   y = x where x > 0, alpha * (exp(x) - 1) elsewhere
    Backward:  dx = dy where x > 0, (y + alpha) * dy elsewhere

    x, y: (N, ...), the same shape.
    Raises ConfigError unless alpha >= 0.
    Source: Clevert, Unterthiner, Hochreiter (2016), Fast and Accurate Deep Network Learning by Exponential Linear
    Units; ONNX operator Elu.
    """

    pointwise = True
    lesson = (
        "Every number above 0 stays; those below follow an exponential curve and end at -alpha.",
        "Outputs below 0 keep the mean of a layer near 0, which speeds up training.",
    )
    examples = (
        Example("ELU()", (4, 9, 11), ""),
        Example("ELU(0.3)", (13,), "0.3"),
        Example("ELU(2.5)", (3, 4, 5), "2.5"),
        Example("ELU(0)", (5,), "0.0"),
    )
    twin = "torch.nn.ELU"
    operators = ("Elu",)

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = self.depth = not_negative("alpha", alpha)

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Elu."""
        return graph.add("Elu", x, alpha=float(self.alpha))

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        each = "an exponential, a subtraction, a multiplication and a comparison for each number"
        return LayerCost.each(out_shape, 4, each)


class SELU(_ExponentialRectifier):
    """Exponential rectifier that keeps mean 0 and variance 1 through many layers.

    Forward:   y = scale * x where x > 0, scale * alpha * (exp(x) - 1) elsewhere
    Backward:  dx = scale * dy where x > 0, (y + scale * alpha) * dy elsewhere

    alpha = 1.6732632, scale = 1.0507010. AlphaDropout goes with it.

    x, y: (N, ...), the same shape.
    Source: Klambauer, Unterthiner, Mayr, Hochreiter (2017), Self-Normalizing Neural Networks; ONNX operator Selu.
    """

    pointwise = True
    lesson = (
        "Every number above 0 grows a little; those below follow an exponential curve and end near -1.76.",
        "Its two constants are such that the numbers of every layer keep mean 0 and variance 1.",
    )
    examples = (Example("SELU()", (4, 9, 11), ""), Example("SELU()", (13,), ""))
    twin = "torch.nn.SELU"
    operators = ("Selu",)
    scale = SELU_SCALE
    depth = SELU_SCALE * SELU_ALPHA

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Selu."""
        return graph.add("Selu", x, alpha=SELU_ALPHA, gamma=SELU_SCALE)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        each = "an exponential, a subtraction, two multiplications and a comparison for each number"
        return LayerCost.each(out_shape, 5, each)


class CELU(_ExponentialRectifier):
    """Exponential rectifier without a corner for any alpha.

    Forward:   y = x where x > 0, alpha * (exp(x / alpha) - 1) elsewhere
    Backward:  dx = dy where x > 0, (y / alpha + 1) * dy elsewhere

    x, y: (N, ...), the same shape.
    Raises ConfigError unless alpha > 0.
    Source: Barron (2017), Continuously Differentiable Exponential Linear Units; ONNX operator Celu.
    """

    pointwise = True
    lesson = (
        "Every number above 0 stays; those below follow an exponential curve and end at -alpha.",
        "Its slope does not jump at 0, however deep the curve ends.",
    )
    examples = (
        Example("CELU()", (4, 9, 11), ""),
        Example("CELU(0.3)", (13,), "0.3"),
        Example("CELU(2.5)", (3, 4, 5), "2.5"),
    )
    twin = "torch.nn.CELU"
    operators = ("Elu", "Mul")

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = self.depth = self.width = positive("alpha", alpha)

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Elu of x / alpha: some runtimes do not have Celu."""
        scaled = graph.add("Mul", x, np.array(1 / self.alpha, np.float32))
        return graph.add("Mul", graph.add("Elu", scaled), np.array(self.alpha, np.float32))

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        each = "an exponential, a subtraction, a division, a multiplication and a comparison for each number"
        return LayerCost.each(out_shape, 5, each)
