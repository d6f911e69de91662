"""Dropout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnkit.components import Layer
from cnnkit.components.checks import in_range
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape

LEVELS = 1 << 16
"""Of the random numbers: 16 bits each, four from one draw of the bit generator."""
PIECE = 1 << 14
"""How many are drawn at a time: a small piece of memory that is used again and again."""


class Dropout(Layer):
    """Sets a random part of its input to zero in training, and does nothing in prediction.

    Forward:   y = x * mask, with mask = 0 with probability `rate`, else 1 / (1 - rate), so that the mean stays
    Backward:  dx = dy * mask

    The rate in force is the multiple of 2^-16 nearest to `rate`.

    x, y: (N, ...), the same shape; y has the samples last in memory. In prediction y is x.
    Raises ConfigError unless 0 <= rate < 1.
    Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov (2014), Dropout, section 10 ("inverted").
    """

    passes_values_on = True
    pointwise = True
    lesson = (
        "In training, a random part of the numbers is set to 0, and the others grow so that the mean stays; in "
        "prediction nothing happens.",
        "A network that cannot rely on single numbers learns what holds without them.",
    )
    examples = (
        Example("Dropout(0.5)", (13,), "0.5"),
        Example("Dropout(0.3)", (2, 5, 4), "0.3"),
        Example("Dropout(0.0)", (3,), "0.0"),
    )
    twin = "torch.nn.Dropout"

    def __init__(self, rate: float) -> None:
        self.rate = in_range("rate", rate, 0.0, 1.0)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """x * mask."""
        if not ctx.training:
            return x, None
        # Made in the memory order that the kernels give to x, samples last.
        inner = x.transpose(2, 3, 1, 0) if x.ndim == 4 else x.T
        memory = ctx.empty(inner.shape)
        dropped = min(round(self.rate * LEVELS), LEVELS - 1)
        flat, bits = memory.reshape(-1), ctx.rng.bit_generator
        for start in range(0, flat.size, PIECE):
            part = flat[start : start + PIECE]
            drawn = bits.random_raw(-(-part.size // 4)).view(np.uint16)[: part.size]
            np.copyto(part, drawn >= dropped)
        memory *= LEVELS / (LEVELS - dropped)
        y = np.multiply(inner, memory, out=ctx.empty(inner.shape))
        if x.ndim == 4:
            return y.transpose(3, 2, 0, 1), memory.transpose(3, 2, 0, 1)
        return y.T, memory.T

    def backward(self, dy: Array, mask: Cache, ctx: Context) -> tuple[Array, Grads]:
        """Dy * mask; dy itself after a forward pass in prediction."""
        if mask is None:
            return dy, {}
        return np.multiply(dy, mask, out=ctx.empty_like(mask)), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """Nothing: prediction passes the value on."""
        return x

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost(0, "nothing is computed in prediction")
