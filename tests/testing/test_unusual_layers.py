"""Layers that are right but unusual: check_layer must refuse none of them."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest

from cnnkit.components import Layer, Merge
from cnnkit.errors import CheckError, ConfigError, ShapeError
from cnnkit.layers import Dense
from cnnkit.testing import check_layer, gradient_check, gradient_check_at
from cnnkit.types import Array, Cache, Context, Grads, OnnxGraph, Shape

IMAGE = (3, 8, 7)
TABLES: dict[int, Array] = {}


class Elementwise(Layer):
    """y = f(x), dx = dy * f'(x); forward keeps the slope."""

    def values(self, x: Array) -> tuple[Array, Array]:
        raise NotImplementedError

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return self.values(x)

    def backward(self, dy: Array, slope: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy * slope, {}


class Log(Elementwise):
    domain: ClassVar[tuple[float, float]] = (0.0, math.inf)

    def values(self, x: Array) -> tuple[Array, Array]:
        return np.log(x), 1 / x

    def lower(self, graph: OnnxGraph, x: str) -> str:
        return graph.add("Log", x)


class Logit(Elementwise):
    domain: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def values(self, x: Array) -> tuple[Array, Array]:
        return np.log(x / (1 - x)), 1 / (x * (1 - x))


class Exp(Elementwise):
    domain: ClassVar[tuple[float, float]] = (-math.inf, 80.0)

    def values(self, x: Array) -> tuple[Array, Array]:
        y = np.exp(x)
        return y, y


class NaiveSigmoid(Elementwise):
    """exp overflows, which NumPy warns of, and 1 / inf is the right answer."""

    def values(self, x: Array) -> tuple[Array, Array]:
        y = 1 / (1 + np.exp(-x))
        return y, y * (1 - y)

    def lower(self, graph: OnnxGraph, x: str) -> str:
        return graph.add("Sigmoid", x)


class Square(Elementwise):
    def values(self, x: Array) -> tuple[Array, Array]:
        return x * x, 2 * x


class Sine(Elementwise):
    def values(self, x: Array) -> tuple[Array, Array]:
        return np.sin(x), np.cos(x)


class Absolute(Elementwise):
    def values(self, x: Array) -> tuple[Array, Array]:
        return np.abs(x), np.sign(x)

    def lower(self, graph: OnnxGraph, x: str) -> str:
        return graph.add("Abs", x)


class Softsign(Elementwise):
    def values(self, x: Array) -> tuple[Array, Array]:
        return x / (1 + np.abs(x)), 1 / (1 + np.abs(x)) ** 2


class Straight(Layer):
    surrogate_gradients: ClassVar[tuple[str, ...]] = ("x",)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return np.sign(x), x

    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy * (np.abs(x) <= 1), {}


class BinaryDense(Dense):
    """Weights are signs; their gradient goes straight through."""

    surrogate_gradients: ClassVar[tuple[str, ...]] = ("weight",)

    def signs(self) -> Array:
        return np.sign(self.params["weight"])

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x @ self.signs().T + self.params["bias"], x

    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy @ self.signs(), {"weight": dy.T @ x, "bias": dy.sum(axis=0)}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        return graph.add("Gemm", x, self.signs(), self.params["bias"], transB=1)


class Ramp(Layer):
    """A constant that is made once, and for seven columns."""

    @functools.cached_property
    def ramp(self) -> Array:
        return np.linspace(0, 1, 7)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x * self.ramp.astype(x.dtype), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy * self.ramp.astype(dy.dtype), {}


class TableOfTheModule(Layer):
    """A constant for each width, kept in the module."""

    def table(self, x: Array) -> Array:
        width = x.shape[-1]
        if width not in TABLES:
            TABLES[width] = np.cos(np.arange(width))
        return TABLES[width].astype(x.dtype)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x * self.table(x), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy * self.table(dy), {}


@functools.lru_cache
def window(width: int) -> Array:
    return np.hanning(width + 2)[1:-1]


class CachedFunction(Layer):
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x * window(x.shape[-1]).astype(x.dtype), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy * window(dy.shape[-1]).astype(dy.dtype), {}


class Logging(Elementwise):
    """Tells a logger, which remembers what it was asked."""

    def __init__(self) -> None:
        self.log = logging.getLogger("unusual")

    def values(self, x: Array) -> tuple[Array, Array]:
        self.log.debug("%d samples", len(x))
        return 3 * x, np.full_like(x, 3)


class SafeNorm(Layer):
    """Divides by the length over the channels, with a floor far below all inputs."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        length = np.sqrt((x * x).sum(axis=1, keepdims=True))
        n = np.maximum(length, x.dtype.type(1e-12))
        return x / n, (x / n, n, length > 1e-12)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        y, n, free = cache
        return (dy - free * y * (dy * y).sum(axis=1, keepdims=True)) / n, {}


class Grey(Layer):
    """Made for three channels; it fails for others in its own way."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        weight = np.array([0.3, 0.6, 0.1], x.dtype)
        return np.einsum("nchw,c->nhw", x, weight)[:, None], weight

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        return (1, *in_shape[1:])

    def backward(self, dy: Array, weight: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy * weight.reshape(1, 3, 1, 1), {}


class SquareImages(Layer):
    """Transposes images, and says that it takes square ones alone."""

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        if in_shape[1] != in_shape[2]:
            raise ShapeError(f"SquareImages expects square images, got {in_shape}; crop them")
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x.swapaxes(2, 3), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy.swapaxes(2, 3), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        return graph.add("Transpose", x, perm=[0, 1, 3, 2])


class Embedding(Layer):
    """Inputs are indices; they have no gradient."""

    domain: ClassVar[tuple[float, float]] = (0.0, 9.0)

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        self.params = {"table": rng.normal(size=(9, 4))}
        return (*in_shape, 4)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        index = x.astype(int)
        return self.params["table"][index], index

    def backward(self, dy: Array, index: Cache, ctx: Context) -> tuple[Array, Grads]:
        table = ctx.gradient("table", self.params["table"].shape)
        table[...] = 0
        np.add.at(table, index, dy)
        return np.zeros(index.shape, dy.dtype), {"table": table}


class SharedGradient(Layer):
    """Two parameters with one gradient, returned as one array."""

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        self.params = {"one": np.zeros(in_shape), "two": np.zeros(in_shape)}
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x + self.params["one"] + self.params["two"], None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        grad = dy.sum(axis=0)
        return dy, {"one": grad, "two": grad}


class Gain(Layer):
    """One parameter without an axis, which is changed in place."""

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        self.params = {"gain": np.array(0.5, np.float32)}
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        gain = self.params["gain"]
        assert isinstance(gain, np.ndarray)
        return np.multiply(x, gain, out=ctx.empty_like(x)), x

    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy * self.params["gain"], {"gain": np.sum(dy * x, out=ctx.gradient("gain", ()))}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        return graph.add("Mul", x, self.params["gain"])


class Gate(Merge):
    """The product of two branches."""

    def __init__(self, one: Layer, two: Layer) -> None:
        self.one, self.two = one, two
        self.branches = [[one], [two]]

    def merge_shape(self, in_shapes: Sequence[Shape]) -> Shape:
        return in_shapes[0]

    def forward(self, xs: Sequence[Array], ctx: Context) -> tuple[Array, Cache]:
        return xs[0] * xs[1], xs

    def backward(self, dy: Array, xs: Cache, ctx: Context) -> Sequence[Array]:
        return dy * xs[1], dy * xs[0]

    def lower(self, graph: OnnxGraph, xs: Sequence[str]) -> str:
        return graph.add("Mul", *xs)


RIGHT: list[tuple[Layer | Merge, Shape]] = [
    (Log(), IMAGE),
    (Logit(), IMAGE),
    (Exp(), IMAGE),
    (NaiveSigmoid(), IMAGE),
    (Square(), (5,)),
    (Sine(), IMAGE),
    (Absolute(), IMAGE),
    (Softsign(), IMAGE),
    (Straight(), IMAGE),
    (BinaryDense(3), (5,)),
    (Ramp(), IMAGE),
    (TableOfTheModule(), IMAGE),
    (CachedFunction(), IMAGE),
    (Logging(), IMAGE),
    (SafeNorm(), IMAGE),
    (Grey(), IMAGE),
    (SquareImages(), (2, 6, 6)),
    (Embedding(), (5,)),
    (SharedGradient(), (5,)),
    (Gain(), IMAGE),
    (Gain(), (1,)),
    (Gate(NaiveSigmoid(), Sine()), IMAGE),
]


@pytest.mark.parametrize(("layer", "in_shape"), RIGHT, ids=[type(layer).__name__ for layer, _ in RIGHT])
def test_none_is_refused(layer: Layer | Merge, in_shape: Shape) -> None:
    check_layer(layer, in_shape)


def test_without_its_declaration_each_is_refused() -> None:
    class AnyLog(Log):
        domain = (-math.inf, math.inf)

    class PlainStraight(Straight):
        surrogate_gradients = ()

    with pytest.raises(CheckError, match=r"y in training is nan .*: keep exponents.* domain = \(0.0, math.inf\)"):
        check_layer(AnyLog(), IMAGE)
    with pytest.raises(CheckError, match=r"if that is on purpose, declare surrogate_gradients = \('x',\)"):
        check_layer(PlainStraight(), IMAGE)


def test_what_is_not_declared_is_still_compared() -> None:
    class WrongBias(BinaryDense):
        def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
            dx, grads = super().backward(dy, x, ctx)
            return dx, grads | {"bias": 1.001 * grads["bias"]}

    report = gradient_check(WrongBias(3), (5,))
    assert not report.ok
    assert report.surrogates == ("params.weight",)
    assert "params.weight: not compared, it is declared a surrogate gradient" in str(report)
    assert "params.weight" not in report.errors


def test_a_gradient_at_one_place_keeps_to_the_declarations() -> None:
    report = gradient_check_at(Straight(), [np.array([[0.5, -2.0]])], np.ones((1, 2)))
    assert report.ok
    assert report.surrogates == ("x",)


def test_a_gradient_at_one_place_of_a_parameter_without_an_axis() -> None:
    gain = Gain()
    gain.build((2,), np.random.default_rng(0))
    report = gradient_check_at(gain, [np.array([[0.5, -2.0]])], np.ones((1, 2)))
    assert report.ok
    assert set(report.errors) == {"x", "params.gain"}


def test_declarations_are_checked() -> None:
    class Backwards(Log):
        domain = (1.0, 0.0)

    class NotAPair(Log):
        domain = 3.0  # type: ignore[assignment]  # wrong on purpose

    class Misspelt(Straight):
        surrogate_gradients = ("wieght",)

    with pytest.raises(ConfigError, match=r"domain must be \(low, high\) with low < high, got \(1.0, 0.0\)$"):
        gradient_check(Backwards(), (3,))
    with pytest.raises(ConfigError, match=r"^NotAPair\(\): domain must be \(low, high\), such as \(0.0, .*, got 3.0$"):
        gradient_check(NotAPair(), (3,))
    with pytest.raises(ConfigError, match=r"surrogate_gradients must be a tuple of names among \['x'\], got 'wieght'$"):
        gradient_check(Misspelt(), (3,))
