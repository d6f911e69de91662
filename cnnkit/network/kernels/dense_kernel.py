"""Fully connected layer with the samples as the fastest axis, and the activation behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.layers import Dense
from cnnkit.network.kernels.epilogue import Epilogue, epilogue_of
from cnnkit.network.kernels.layout import samples_last
from cnnkit.network.kernels.products import BLAS, Products
from cnnkit.types import Array, Cache, Context, Grads

FEW_UNITS = 32
"""Up to here the gradient of the weights is faster computed transposed, with dy copied for it."""


class DenseKernel:
    """Dense, then optionally an activation.

    Equals the plain layers one after the other:

        y = dense.forward(x); if activation: y = activation.forward(y)

    All arrays are (features, N) in memory, as convolutions leave them.
    """

    products: ClassVar[Products] = BLAS

    def __init__(self, dense: Dense, epilogue: Epilogue, *, needs_dx: bool) -> None:
        self.dense = dense
        self.epilogue = epilogue
        self.needs_dx = needs_dx

    @classmethod
    def take(cls, layers: Sequence[Layer | Merge], needs_dx: bool, /) -> tuple[Self, int] | None:
        """A fully connected layer with the activation behind it."""
        first = layers[0]
        if type(first) is not Dense:
            return None
        epilogue, used = epilogue_of(layers[1:2])
        return cls(first, epilogue, needs_dx=needs_dx), 1 + used

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """One product."""
        inner = samples_last(x, ctx)
        y = ctx.empty((self.dense.units, len(x)))
        self.products.product(self.dense.params["weight"], inner, y, ctx)
        if self.dense.bias:
            np.add(y, self.dense.params["bias"][:, None], out=y)
        self.epilogue.apply(y)
        return y.T, (inner, self.epilogue.kept(y))

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array | None, Grads]:
        """Two products; the second only where someone needs it."""
        inner, y = cache
        inner_dy = self.epilogue.passed(samples_last(dy, ctx), y, ctx)
        weight = self.dense.params["weight"]
        grads = {"weight": self._weight_gradient(inner_dy, inner, ctx)}
        if self.dense.bias:
            grads["bias"] = np.add.reduce(inner_dy, axis=1, out=ctx.gradient("bias", (len(weight),)))
        if not self.needs_dx:
            return None, grads
        dx = ctx.empty(inner.shape)
        self.products.product(weight.T, inner_dy, dx, ctx)
        return dx.T, grads

    def _weight_gradient(self, dy: Array, x: Array, ctx: Context) -> Array:
        """dy: (units, N), x: (features, N) -> (units, features)."""
        units, features = len(dy), len(x)
        if units > FEW_UNITS:
            return np.matmul(dy, x.T, out=ctx.gradient("weight", (units, features)))
        columns = ctx.empty((dy.shape[1], units))
        columns[...] = dy.T
        return np.matmul(x, columns, out=ctx.empty((features, units))).T
