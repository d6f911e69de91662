"""Right layers that faulty ones are made from."""

from __future__ import annotations

import numpy as np

from cnnkit.components import Layer
from cnnkit.types import Array, Cache, Context, Grads, OnnxGraph, Shape

IMAGE = (3, 8, 7)


class Double(Layer):
    """The right layer that the faulty ones are made from: y = 2 x."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return np.multiply(x, 2, out=ctx.empty_like(x)), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return 2 * dy, {}


class Affine(Layer):
    """Another right one: a factor and an offset for each channel."""

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        self.params = {"gamma": np.ones(in_shape[0]), "beta": np.zeros(in_shape[0])}
        return in_shape

    def channels(self, name: str, x: Array) -> Array:
        return self.params[name].reshape(1, -1, *(1 for _ in x.shape[2:]))

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x * self.channels("gamma", x) + self.channels("beta", x), x

    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        axes = tuple(axis for axis in range(x.ndim) if axis != 1)
        return dy * self.channels("gamma", x), {"gamma": (dy * x).sum(axis=axes), "beta": dy.sum(axis=axes)}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        shape = (-1, *(1 for _ in graph.shape(x)[1:]))
        scaled = graph.add("Mul", x, self.params["gamma"].reshape(shape))
        return graph.add("Add", scaled, self.params["beta"].reshape(shape))


class Drop(Layer):
    """And one that draws: dropout."""

    def __init__(self, rate: float = 0.25) -> None:
        self.rate = rate

    def mask(self, x: Array, ctx: Context) -> Array:
        return (ctx.rng.random(x.shape) >= self.rate) / (1 - self.rate)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        mask = self.mask(x, ctx).astype(x.dtype) if ctx.training else np.ones_like(x)
        return x * mask, mask

    def backward(self, dy: Array, mask: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy * mask, {}
