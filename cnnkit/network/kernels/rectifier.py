"""The rectifier alone and after a residual connection, in any memory order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnkit.components import Merge
from cnnkit.network.kernels.layout import in_memory_order, passed, rectify
from cnnkit.types import Array, Cache, Context, Grads


class RectifierKernel:
    """ReLU; equals

    y = relu.forward(x)
    """

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """A copy, then the maximum with an array of zeros."""
        y = ctx.empty_like(x)
        y[...] = x
        rectify(in_memory_order(y))
        return y, y

    def backward(self, dy: Array, y: Cache, ctx: Context) -> tuple[Array, Grads]:
        """Dy where y > 0."""
        return _passed(dy, y, ctx), {}


class ResidualKernel(Merge):
    """Residual, then ReLU; equals

    y, _ = residual.forward(xs); y = relu.forward(y)
    """

    def forward(self, xs: Sequence[Array], ctx: Context) -> tuple[Array, Cache]:
        """The sum, rectified in place."""
        y = np.add(xs[0], xs[1], out=ctx.empty_like(xs[0]))
        rectify(in_memory_order(y))
        return y, y

    def backward(self, dy: Array, y: Cache, ctx: Context) -> Sequence[Array]:
        """The same gradient for both ends."""
        dx = _passed(dy, y, ctx)
        return dx, dx


def _passed(dy: Array, y: Array, ctx: Context) -> Array:
    dx = ctx.empty_like(y)
    order = sorted(range(y.ndim), key=lambda axis: -y.strides[axis])
    passed(dy.transpose(order), y.transpose(order), dx.transpose(order), ctx)
    return dx
