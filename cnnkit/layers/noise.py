"""Noise."""

from __future__ import annotations

from collections.abc import Sequence

from cnnkit.components import Layer
from cnnkit.components.checks import not_negative
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape


class GaussianNoise(Layer):
    """Adds normal noise to its input in training, and does nothing in prediction.

    Forward:   y = x + stddev * e, with e a standard normal number for each number
    Backward:  dx = dy

    x, y: (N, ...), the same shape; y has the samples last in memory. In prediction y is x.
    Raises ConfigError unless stddev >= 0.
    Source: Bishop (1995), Training with Noise is Equivalent to Tikhonov Regularization.
    """

    passes_values_on = True
    pointwise = True
    lesson = (
        "In training, a random number from a bell curve is added to every number; in prediction nothing happens.",
        "A network that sees everything a little changed cannot learn single values by heart.",
    )
    examples = (
        Example("GaussianNoise(0.5)", (13,)),
        Example("GaussianNoise(0.1)", (2, 5, 4)),
        Example("GaussianNoise(0)", (3,)),
    )

    def __init__(self, stddev: float) -> None:
        self.stddev = not_negative("stddev", stddev)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """x + stddev * e."""
        if not ctx.training:
            return x, None
        # Drawn in the memory order that the kernels give to x, samples last.
        inner = x.transpose(2, 3, 1, 0) if x.ndim == 4 else x.T
        y = ctx.empty(inner.shape)
        ctx.rng.standard_normal(dtype=y.dtype.type, out=y)
        y *= self.stddev
        y += inner
        return (y.transpose(3, 2, 0, 1) if x.ndim == 4 else y.T), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """Dy itself."""
        return dy, {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """Nothing: prediction passes the value on."""
        return x

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost(0, "nothing is computed in prediction")
