"""Activations made of straight lines: bounds, and cheap stand-ins for smooth curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnkit.components.checks import finite
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError
from cnnkit.layers.activation import _Activation
from cnnkit.types import Array, Example, LayerCost, OnnxGraph, Shape

SIXTH = 1 / 6
"""The slope of HardSigmoid."""


class _Clipped(_Activation):
    """Numbers between two bounds."""

    from_output = True
    bounds: tuple[float, float]
    """The lower and the upper one; an infinite one is none."""

    def value(self, x: Array) -> Any:
        """min(max(x, low), high)."""
        return np.clip(x, *self.bounds)

    def derivative(self, y: Array) -> Any:
        """1 inside the bounds, 0 on them."""
        low, high = self.bounds
        return (y > low) & (y < high)

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Clip."""
        low, high = ("" if math.isinf(bound) else np.array(bound, np.float32) for bound in self.bounds)
        return graph.add("Clip", x, *([low] if isinstance(high, str) else [low, high]))


class Clip(_Clipped):
    """Bounds.

    Forward:   y = min(max(x, low), high), low and high the arguments min and max
    Backward:  dx = dy where low <= x <= high, 0 elsewhere

    x, y: (N, ...), the same shape; a bound that is None is none.
    Raises ConfigError for bounds that are not finite, without any, and unless min < max.
    Source: ONNX operator Clip.
    """

    pointwise = True
    lesson = (
        "Every number below the lower bound becomes that bound, every number above the upper one becomes that, and the "
        "others stay.",
        "It keeps numbers in a range that they must not leave, such as that of an image.",
    )
    examples = (
        Example("Clip(-1.0, 0.5)", (4, 9, 11)),
        Example("Clip(max=1.5)", (13,)),
        Example("Clip(min=-0.71)", (3, 4, 5)),
        Example("Clip(1, 3)", (5,)),
    )
    operators = ("Clip",)
    from_output = False

    def __init__(self, min: float | None = None, max: float | None = None) -> None:  # noqa: A002  # PyTorch calls them so
        self.min = None if min is None else finite("min", min)
        self.max = None if max is None else finite("max", max)
        if min is None and max is None:
            raise ConfigError("min or max must be a number, got None for both")
        _check_order("min", min, "max", max)
        self.bounds = -math.inf if min is None else min, math.inf if max is None else max

    def derivative(self, x: Array) -> Any:
        """1 from bound to bound, on them as in PyTorch's clamp."""
        low, high = self.bounds
        return (x >= low) & (x <= high)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost.each(out_shape, 2, "two comparisons for each number")


class HardTanh(_Clipped):
    """Bounds in place of a hyperbolic tangent.

    Forward:   y = min(max(x, min_val), max_val)
    Backward:  dx = dy where min_val < x < max_val, 0 elsewhere

    x, y: (N, ...), the same shape.
    Raises ConfigError unless both are finite and min_val < max_val.
    Source: Collobert (2004), Large Scale Machine Learning; ONNX operator Clip.
    """

    pointwise = True
    lesson = (
        "Every number below the lower bound becomes that bound, every number above the upper one becomes that, and the "
        "others stay.",
        "It bends where tanh does, for the price of two comparisons.",
    )
    examples = (
        Example("HardTanh()", (4, 9, 11), ""),
        Example("HardTanh(-0.5, 2.0)", (13,), "-0.5, 2.0"),
        Example("HardTanh(max_val=0.25)", (11,), "max_val=0.25"),
    )
    twin = "torch.nn.Hardtanh"
    operators = ("Clip",)
    cost = Clip.cost

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        self.min_val, self.max_val = finite("min_val", min_val), finite("max_val", max_val)
        _check_order("min_val", min_val, "max_val", max_val)
        self.bounds = min_val, max_val


class ReLU6(_Clipped):
    """Rectifier that ends at 6.

    Forward:   y = min(max(x, 0), 6)
    Backward:  dx = dy where 0 < x < 6, 0 elsewhere

    x, y: (N, ...), the same shape.
    Source: Krizhevsky (2010), Convolutional Deep Belief Networks on CIFAR-10; ONNX operator Clip.
    """

    pointwise = True
    lesson = (
        "Every number below 0 becomes 0, every number above 6 becomes 6, and the others stay.",
        "It is a ReLU whose outputs need few bits, for networks on small devices.",
    )
    examples = (Example("ReLU6()", (4, 9, 11), ""), Example("ReLU6()", (13,), ""))
    twin = "torch.nn.ReLU6"
    operators = ("Clip",)
    cost = Clip.cost
    bounds = 0.0, 6.0


class HardSigmoid(_Clipped):
    """Straight line in place of a sigmoid.

    Forward:   y = min(max(x / 6 + 1/2, 0), 1)
    Backward:  dx = dy / 6 where 0 < y < 1, 0 elsewhere

    x, y: (N, ...), the same shape.
    Source: Courbariaux, Bengio, David (2015), BinaryConnect; with PyTorch's slope; ONNX operator HardSigmoid.
    """

    pointwise = True
    lesson = (
        "Every number below -3 becomes 0, every number above 3 becomes 1, and a straight line joins them.",
        "It is a gate as a sigmoid is, without an exponential to compute.",
    )
    examples = (Example("HardSigmoid()", (4, 9, 11), ""), Example("HardSigmoid()", (13,), ""))
    twin = "torch.nn.Hardsigmoid"
    operators = ("HardSigmoid",)
    bounds = 0.0, 1.0

    def value(self, x: Array) -> Any:
        """min(max(x / 6 + 1/2, 0), 1)."""
        return super().value(x * SIXTH + 0.5)

    def derivative(self, y: Array) -> Any:
        """1/6 inside the bounds."""
        return super().derivative(y) * y.dtype.type(SIXTH)

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX HardSigmoid."""
        return graph.add("HardSigmoid", x, alpha=SIXTH, beta=0.5)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost.each(out_shape, 4, "a factor, an addition and two comparisons for each number")


class HardSwish(_Activation):
    """Number times its hard sigmoid.

    Forward:   y = x * min(max(x / 6 + 1/2, 0), 1)
    Backward:  dx = (x / 3 + 1/2) * dy where -3 < x < 3, dy above, 0 below

    x, y: (N, ...), the same shape.
    Source: Howard et al. (2019), Searching for MobileNetV3.
    """

    pointwise = True
    lesson = (
        "Every number below -3 becomes 0, every number above 3 stays, and a piece of a parabola joins them.",
        "It is a SiLU without an exponential to compute.",
    )
    examples = (Example("HardSwish()", (4, 9, 11), ""), Example("HardSwish()", (13,), ""))
    twin = "torch.nn.Hardswish"
    operators = ("HardSigmoid", "Mul")

    def value(self, x: Array) -> Any:
        """x times its hard sigmoid."""
        return x * np.clip(x * SIXTH + 0.5, 0, 1)

    def derivative(self, x: Array) -> Any:
        """That of the parabola, and of the lines beside it."""
        return np.where(np.abs(x) < 3, x * (2 * SIXTH) + 0.5, x > 0)

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX HardSigmoid and Mul: HardSwish is there from opset 14 on."""
        return graph.add("Mul", x, graph.add("HardSigmoid", x, alpha=SIXTH, beta=0.5))

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost.each(out_shape, 5, "two factors, an addition and two comparisons for each number")


def _check_order(low_name: str, low: float | None, high_name: str, high: float | None) -> None:
    """Raise ConfigError unless low < high, where there are both."""
    if low is not None and high is not None and not low < high:
        raise ConfigError(
            f"{low_name} must be below {high_name}, got {low_name}={shown(low)} and {high_name}={shown(high)}"
        )
