"""Normalisation by neighbouring channels, as the first deep networks for photographs had it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cnnkit.components import Layer
from cnnkit.components.checks import not_negative, positive, whole
from cnnkit.errors import ShapeError
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape


class LocalResponseNorm(Layer):
    """Each number divided by what the squares of its channel and of neighbouring ones give at the same place.

    Forward:   y[n,c] = x[n,c] / d[n,c]^beta, d[n,c] = k + alpha / size * sum of x[n,j]^2 over j from c - floor(size/2)
               to c + floor((size-1)/2), as far as there are such channels
    Backward:  dx[n,j] = dy[n,j] / d[n,j]^beta - 2 * alpha * beta / size * x[n,j] * sum of dy[n,c] * y[n,c] / d[n,c]
               over the c in whose sum j is

    x, d, y: (N, C, ...), the same shape, with at least one axis of places; what is said of a channel holds at each
    place by itself.
    Raises ConfigError unless size is 1 or above, k above 0, and alpha and beta 0 or above; ShapeError for vectors.
    Source: Krizhevsky, Sutskever, Hinton (2012), ImageNet Classification with Deep Convolutional Neural Networks;
    PyTorch's LocalResponseNorm, for dividing the sum by size, and for the window of an even size, which reaches one
    channel further down than up.
    """

    lesson = (
        "Every number is divided by a power of one more than the squares of its channel and its neighbours at this "
        "place.",
        "Where several channels answer strongly, they damp each other; today, batch normalisation is in its place.",
    )
    examples = (
        Example("LocalResponseNorm(5)", (7, 3, 5), "5"),
        Example("LocalResponseNorm(3, 0.5, 0.6, 2.0)", (4, 5, 3), "3, 0.5, 0.6, 2.0"),
        Example("LocalResponseNorm(2, alpha=1.0)", (5, 2, 6), "2, alpha=1.0"),
        Example("LocalResponseNorm(4, 0.8, 1.5)", (3, 7), "4, 0.8, 1.5"),
        Example("LocalResponseNorm(9, 1.0)", (3, 2, 2), "9, 1.0"),
        Example("LocalResponseNorm(1, 1.0, 0.5, 0.1)", (2, 3, 3), "1, 1.0, 0.5, 0.1"),
    )
    twin = "torch.nn.LocalResponseNorm"
    operators = ("Conv", "Mul", "Pow", "Reshape")

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size = whole("size", size)
        self.alpha = not_negative("alpha", alpha)
        self.beta = not_negative("beta", beta)
        self.k = positive("k", k)

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """Keeps the shape."""
        if len(in_shape) < 2:
            raise ShapeError(
                f"LocalResponseNorm expects an input of shape (channels, height, width) or (channels, length), got "
                f"{in_shape}; put LocalResponseNorm before Flatten() and Dense(...)"
            )
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """x / d^beta."""
        squares = np.square(x, out=ctx.empty_like(x))
        d = _window_sums(squares, *self._reach(x.shape[1]), ctx)
        d *= self.alpha / self.size
        d += self.k
        factor = np.power(d, -self.beta, out=squares)
        return np.multiply(x, factor, out=ctx.empty_like(x)), (x, d, factor)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """The sum runs over a window that is turned around."""
        x, d, factor = cache
        direct = np.multiply(dy, factor, out=ctx.empty_like(factor))
        spread = np.multiply(direct, x, out=ctx.empty_like(factor))
        spread /= d
        before, after = self._reach(x.shape[1])
        dx = _window_sums(spread, after, before, ctx)
        dx *= x
        dx *= -2 * self.alpha * self.beta / self.size
        dx += direct
        return dx, {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """The formula, whose sums are a convolution of the channels.

        ONNX LRN has the window of an even size turned around, and runtimes take odd sizes and images alone; ONNX's
        reference evaluator takes only as many channels as there are samples, and OpenVINO another mean.
        """
        shape = graph.shape(x)
        before, after = self._reach(shape[0])
        kernel = np.full((1, 1, before + after + 1, 1), self.alpha / self.size)
        maps = graph.add("Reshape", graph.add("Mul", x, x), np.array([0, 1, shape[0], -1]))
        window = {"kernel_shape": kernel.shape[2:], "strides": [1, 1], "pads": [before, 0, after, 0]}
        d = graph.add("Conv", maps, kernel, np.array([self.k]), **window)
        factor = graph.add("Pow", d, np.array(-self.beta, np.float32))
        return graph.add("Mul", x, graph.add("Reshape", factor, np.array([0, *shape])))

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        added, numbers = sum(self._reach(out_shape[0])), math.prod(out_shape)
        what = f"a power, three multiplications and {added + 1} additions for each number"
        return LayerCost((5 + added) * numbers, what, rounds=added, touched=added * numbers)

    def _reach(self, channels: int) -> tuple[int, int]:
        """How many channels before and after its own a sum can meet."""
        return min(self.size // 2, channels - 1), min((self.size - 1) // 2, channels - 1)


def _window_sums(x: Array, before: int, after: int, ctx: Context) -> Array:
    """y[:, c] = sum of x[:, j] over j from c - before to c + after, as far as there are such channels."""
    y = ctx.empty_like(x)
    y[...] = x
    for step in range(1, before + 1):
        y[:, step:] += x[:, :-step]
    for step in range(1, after + 1):
        y[:, :-step] += x[:, step:]
    return y
