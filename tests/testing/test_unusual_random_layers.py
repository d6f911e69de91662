"""Layers that draw in an unusual way, and are right: check_layer must refuse none of them."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit.components import Layer, Merge
from cnnkit.layers import Dense
from cnnkit.testing import check_layer
from cnnkit.types import Array, Cache, Context, Grads, Shape

IMAGE = (3, 8, 7)


class Noise(Layer):
    """Adds noise in training."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return (x + ctx.rng.normal(size=x.shape).astype(x.dtype) if ctx.training else x), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy, {}


class Masking(Layer):
    """What masks have in common: y = a * (x * mask + fill * (1 - mask)) + b in training."""

    fill, a, b = 0.0, 1.0, 0.0

    def __init__(self, rate: float = 0.2) -> None:
        self.rate = rate

    def mask(self, x: Array, ctx: Context) -> Array:
        return ctx.rng.random(x.shape) >= self.rate

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        if not ctx.training:
            return x, np.ones_like(x)
        mask = self.mask(x, ctx)
        y = self.a * np.where(mask, x, x.dtype.type(self.fill)) + self.b
        return y.astype(x.dtype), (self.a * mask).astype(x.dtype)

    def backward(self, dy: Array, slope: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy * slope, {}


class AlphaDropout(Masking):
    """Drops to a value below 0, and does not keep the mean of ones."""

    fill, a, b = -1.7581, 0.9, 0.3


class ChannelDropout(Masking):
    """Drops whole channels."""

    def __init__(self, rate: float = 0.2) -> None:
        super().__init__(rate)
        self.a = 1 / (1 - rate)

    def mask(self, x: Array, ctx: Context) -> Array:
        return np.broadcast_to(ctx.rng.random((*x.shape[:2], 1, 1)) >= self.rate, x.shape)


class DropPath(ChannelDropout):
    """Drops whole samples, rarely."""

    def mask(self, x: Array, ctx: Context) -> Array:
        return np.broadcast_to(ctx.rng.random((len(x), *(1 for _ in x.shape[1:]))) >= self.rate, x.shape)


class Occlude(Masking):
    """Sets a column to zero, and scales nothing."""

    def __init__(self) -> None:
        super().__init__(0.0)

    def mask(self, x: Array, ctx: Context) -> Array:
        column = ctx.rng.integers(x.shape[-1], size=(len(x), *(1 for _ in x.shape[1:])))
        return np.broadcast_to(np.arange(x.shape[-1]) != column, x.shape)


class DropConnect(Dense):
    """Drops weights, the same for all samples of a tile."""

    def weights(self, ctx: Context) -> Array:
        weight = self.params["weight"]
        kept = 2.0 * (ctx.rng.random(weight.shape) >= 0.5) if ctx.training else np.ones(weight.shape)
        return np.asarray(weight * kept.astype(weight.dtype))

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        weight = self.weights(ctx)
        return x @ weight.T + self.params["bias"], x

    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        used = self.weights(ctx)
        kept = 2 * (used != 0) if ctx.training else np.ones(used.shape)
        return dy @ used, {"weight": (dy.T @ x) * kept.astype(dy.dtype), "bias": dy.sum(axis=0)}


RIGHT: list[tuple[Layer | Merge, Shape]] = [
    (Noise(), IMAGE),
    (AlphaDropout(), IMAGE),
    (ChannelDropout(), IMAGE),
    (DropPath(), IMAGE),
    (DropPath(0.02), (1,)),
    (Occlude(), IMAGE),
    (DropConnect(3), (5,)),
]


@pytest.mark.parametrize(("layer", "in_shape"), RIGHT, ids=[type(layer).__name__ for layer, _ in RIGHT])
def test_none_is_refused(layer: Layer | Merge, in_shape: Shape) -> None:
    check_layer(layer, in_shape)
