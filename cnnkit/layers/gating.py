"""Gates: one part of the channels decides how much of another one passes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cnnkit.components import Layer
from cnnkit.errors import ShapeError
from cnnkit.layers.activation import each
from cnnkit.layers.special_functions import sigmoid
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape


class GLU(Layer):
    """Gated linear unit: the first half of the channels times the sigmoid of the second half.

    Forward:   y = a * s, s = 1 / (1 + exp(-b)), with x = [a, b] along axis 1
    Backward:  da = dy * s, db = dy * a * s * (1 - s)

    x: (N, 2 C, ...); a, b, y: (N, C, ...).
    Raises ShapeError for an odd number of channels.
    Source: Dauphin, Fan, Auli, Grangier (2017), Language Modeling with Gated Convolutional Networks.
    """

    lesson = (
        "The first half of the channels is multiplied with the sigmoid of the second half, number by number.",
        "The second half is a gate between 0 and 1: the network learns where to let the first one through.",
    )
    examples = (
        Example("GLU()", (4, 9, 11), "1"),
        Example("GLU()", (14,), "1"),
        Example("GLU()", (2, 3, 5), "1"),
    )
    twin = "torch.nn.GLU"
    operators = ("Mul", "Sigmoid", "Slice")

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """(2 C, ...) -> (C, ...)."""
        channels, *rest = in_shape
        if channels % 2:
            raise ShapeError(
                f"GLU expects an even number of channels, got {channels} of an input of shape {in_shape}; give the "
                "layer before it twice as many as are to come out"
            )
        return channels // 2, *rest

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """a * sigmoid(b)."""
        a, b = _halves(x)
        gate = each(sigmoid, b, ctx)
        return np.multiply(a, gate, out=ctx.empty_like(a)), (x, gate)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """Both halves of dx."""
        x, gate = cache
        dx = ctx.empty_like(x)
        da, db = _halves(dx)
        np.multiply(dy, gate, out=da)
        np.subtract(1, gate, out=db)
        db *= da
        db *= _halves(x)[0]
        return dx, {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Slice of both halves, Sigmoid and Mul."""
        channels = graph.shape(x)[0]
        a, b = (
            graph.add("Slice", x, *(np.array([number]) for number in (first, first + channels // 2, 1)))
            for first in (0, channels // 2)
        )
        return graph.add("Mul", a, graph.add("Sigmoid", b))

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        each_number = "an exponential, an addition, a division and a multiplication for each number of the output"
        return LayerCost(4 * math.prod(out_shape), each_number)


def _halves(x: Array) -> tuple[Array, Array]:
    """Views of the first and the second half of the channels."""
    channels = x.shape[1] // 2
    return x[:, :channels], x[:, channels:]
