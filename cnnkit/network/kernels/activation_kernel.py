"""Activations alone, and after a sum of branches, in any memory order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.layers import Add, Residual
from cnnkit.network.kernels.epilogue import Activation, activation_of
from cnnkit.network.kernels.layout import in_memory_order, memory_order
from cnnkit.types import Array, Cache, Context, Grads


class ActivationKernel:
    """An activation; equals

    y = activation.forward(x)
    """

    def __init__(self, activation: Activation) -> None:
        self.activation = activation

    @classmethod
    def take(cls, layers: Sequence[Layer | Merge], _needs_dx: bool, /) -> tuple[Self, int] | None:
        """The first layer, if kernels know it."""
        found = activation_of(layers[0])
        return (cls(found), 1) if found else None

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """A copy, changed in place."""
        y = ctx.empty_like(x)
        y[...] = x
        self.activation.apply(in_memory_order(y))
        return y, y

    def backward(self, dy: Array, y: Cache, ctx: Context) -> tuple[Array, Grads]:
        """What the output tells."""
        return _passed(self.activation, dy, y, ctx), {}


class SumKernel(Merge):
    """Add, or Residual, then an activation; equals

    y, _ = add.forward(xs); y = activation.forward(y)
    """

    def __init__(self, activation: Activation) -> None:
        self.activation = activation

    @classmethod
    def take(cls, layers: Sequence[Layer | Merge], _needs_dx: bool, /) -> tuple[Self, int] | None:
        """A sum with an activation behind it."""
        first, *others = layers
        if type(first) not in (Add, Residual) or not others or not (found := activation_of(others[0])):
            return None
        return cls(found), 2

    def forward(self, xs: Sequence[Array], ctx: Context) -> tuple[Array, Cache]:
        """The sum, changed in place."""
        y = np.add(xs[0], xs[1], out=ctx.empty_like(xs[0]))
        for x in xs[2:]:
            np.add(y, x, out=y)
        self.activation.apply(in_memory_order(y))
        return y, (y, len(xs))

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> Sequence[Array]:
        """Every input gets dy."""
        y, inputs = cache
        return [_passed(self.activation, dy, y, ctx)] * inputs


def _passed(activation: Activation, dy: Array, y: Array, ctx: Context) -> Array:
    dx = ctx.empty_like(y)
    order = memory_order(y)
    activation.passed(dy.transpose(order), y.transpose(order), dx.transpose(order), ctx)
    return dx
