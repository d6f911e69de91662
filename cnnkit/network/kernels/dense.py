"""Fully connected layer with the samples as the fastest axis, and the rectifier behind it."""

from __future__ import annotations

import numpy as np

from cnnkit.layers import Dense
from cnnkit.network.kernels.layout import passed, rectify, samples_last
from cnnkit.network.kernels.products import product
from cnnkit.types import Array, Cache, Context, Grads

FEW_UNITS = 32
"""Up to here the gradient of the weights is faster computed transposed, with dy copied for it."""


class DenseKernel:
    """Dense, then optionally ReLU.

    Equals the plain layers one after the other:

        y = dense.forward(x); if relu: y = ReLU().forward(y)

    All arrays are (features, N) in memory, as convolutions leave them.
    """

    def __init__(self, dense: Dense, *, relu: bool, needs_dx: bool) -> None:
        self.dense = dense
        self.relu = relu
        self.needs_dx = needs_dx

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """One product."""
        inner = samples_last(x, ctx)
        y = ctx.empty((self.dense.units, len(x)))
        product(self.dense.params["weight"], inner, y)
        if self.dense.bias:
            np.add(y, self.dense.params["bias"][:, None], out=y)
        if self.relu:
            rectify(y)
        return y.T, (inner, y)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array | None, Grads]:
        """Two products; the second only where someone needs it."""
        inner, y = cache
        inner_dy = samples_last(dy, ctx)
        if self.relu:
            inner_dy = passed(inner_dy, y, ctx.empty(y.shape), ctx)
        weight = self.dense.params["weight"]
        if len(weight) <= FEW_UNITS:
            columns = ctx.empty((len(dy), len(weight)))
            columns[...] = inner_dy.T
            grads = {"weight": np.matmul(inner, columns, out=ctx.empty(weight.T.shape)).T}
        else:
            grads = {"weight": np.matmul(inner_dy, inner.T, out=ctx.gradient("weight", weight.shape))}
        if self.dense.bias:
            grads["bias"] = np.add.reduce(inner_dy, axis=1, out=ctx.gradient("bias", (len(weight),)))
        if not self.needs_dx:
            return None, grads
        dx = ctx.empty(inner.shape)
        product(weight.T, inner_dy, dx)
        return dx.T, grads
