"""Dropout."""

from __future__ import annotations

import numpy as np

from cnnkit.components import Layer
from cnnkit.components.checks import in_range
from cnnkit.types import Array, Cache, Context, Grads, Graph


class Dropout(Layer):
    """Sets a random part of its input to zero in training, and does nothing in prediction.

    Forward:   y = x * mask, with mask = 0 with probability `rate`, else 1 / (1 - rate), so that the mean stays
    Backward:  dx = dy * mask

    x, y: (N, ...), the same shape; strides are kept. In prediction y is x.
    Raises ConfigError unless 0 <= rate < 1.
    Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov (2014), Dropout, section 10 ("inverted").
    """

    def __init__(self, rate: float) -> None:
        self.rate = in_range("rate", rate, 0.0, 1.0)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """x * mask."""
        if not ctx.training:
            return x, None
        if x.ndim == 4:  # drawn in the memory order that convolution and pooling give to x: rows first
            random = ctx.empty((x.shape[2], x.shape[1], x.shape[3], x.shape[0])).transpose(3, 1, 0, 2)
        else:
            random = ctx.empty(x.shape)
        ctx.rng.random(dtype=random.dtype.type, out=random.ravel(order="K"))  # a view
        mask = np.greater_equal(random, self.rate, out=ctx.empty_like(x))  # 1 or 0
        mask *= 1 / (1 - self.rate)
        return np.multiply(x, mask, out=ctx.empty_like(x)), mask

    def backward(self, dy: Array, mask: Cache, ctx: Context) -> tuple[Array, Grads]:
        """Dy * mask."""
        return np.multiply(dy, mask, out=ctx.empty_like(mask)), {}

    def lower(self, graph: Graph, x: str) -> str:
        """Nothing: prediction passes the value on."""
        return x
