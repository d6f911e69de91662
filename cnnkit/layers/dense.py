"""Fully connected layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnkit.components import Initializer, Layer, Weights, initializer_of
from cnnkit.components.checks import true_or_false, whole
from cnnkit.components.sums import sum_over
from cnnkit.errors import ShapeError
from cnnkit.initializers import GLOROT_UNIFORM
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape


class Dense(Layer):
    """Fully connected layer: every output is a weighted sum of all inputs.

    Forward:   y = x weight^T + bias
    Backward:  dx = dy weight, dweight = dy^T x, dbias = sum of dy over the samples

    x: (N, F); weight: (units, F); bias: (units,); y: (N, units). Weights start as the initializer says,
    biases at zero.
    Raises ConfigError for arguments out of range, ShapeError if the input has more axes than (features,).
    Source: ONNX operator Gemm.
    """

    lesson = (
        "Every output is a weighted sum of all inputs, plus a bias: one row of the weight matrix, multiplied with the "
        "input number by number and added up.",
        "It weighs everything against everything else, as a decision between classes must.",
    )
    examples = (
        Example("Dense(1)", (13,), "13, 1"),
        Example("Dense(1, bias=False)", (13,), "13, 1, False"),
        Example("Dense(7)", (13,), "13, 7"),
        Example("Dense(5, initializer=Orthogonal(1.4))", (6,), "6, 5"),
        Example("Dense(7, bias=False)", (1,), "1, 7, False"),
    )
    twin = "torch.nn.Linear"
    operators = ("Gemm",)

    def __init__(self, units: int, bias: bool = True, *, initializer: Initializer = GLOROT_UNIFORM) -> None:
        self.units = whole("units", units)
        self.bias = true_or_false("bias", bias)
        self.initializer = initializer_of(initializer)

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """(F,) -> (units,)."""
        if len(in_shape) != 1:
            raise ShapeError(f"Dense expects an input of shape (features,), got {in_shape}; put Flatten() before it")
        (features,) = in_shape
        weights = Weights((self.units, features), fan_in=features, fan_out=self.units)
        self.params = {"weight": self.initializer.make(weights, rng)}
        if self.bias:
            self.params["bias"] = np.zeros(self.units)
        return (self.units,)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """One product."""
        y = np.matmul(x, self.params["weight"].T, out=ctx.empty((len(x), self.units)))
        if self.bias:
            y += self.params["bias"]
        return y, x

    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        """Two products."""
        grads = {"weight": np.matmul(dy.T, x, out=ctx.gradient("weight", self.params["weight"].shape))}
        if self.bias:
            grads["bias"] = sum_over(dy, 0)
        return np.matmul(dy, self.params["weight"], out=ctx.empty(x.shape)), grads

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Gemm."""
        return graph.add("Gemm", x, *self.params.values(), transB=1)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost.of_products(self.units * in_shapes[0][0])
