"""The conformance suite must accept a small foreign layer and find each breach of the contract by name."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from cnnkit.components import Catalog, Layer, Plugin, hookimpl
from cnnkit.components.checks import in_range
from cnnkit.errors import CheckError, ComponentError, ShapeError
from cnnkit.layers import Dense, ReLU
from cnnkit.testing import PlainContext, check_layer, comparing
from cnnkit.types import Array, Cache, Context, Grads, OnnxGraph, Shape


class LeakyReLU(Layer):
    """The layer of the plugin guide, written by someone who knows the contract only."""

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = in_range("slope", slope, 0.0, 1.0)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        y = np.multiply(x, self.slope, out=ctx.empty_like(x))
        return np.maximum(x, y, out=y), x

    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        return np.where(x > 0, dy, self.slope * dy), {}


class CallStateInADeque(LeakyReLU):
    def __init__(self) -> None:
        self.slope, self.seen = 0.1, deque[int](maxlen=3)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        self.seen.append(len(x))
        return super().forward(x, ctx)


class CentredInTraining(LeakyReLU):
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return (x - x.mean(axis=0) if ctx.training else x), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy - dy.mean(axis=0), {}


class WrongLowering(LeakyReLU):
    def lower(self, graph: OnnxGraph, x: str) -> str:
        return graph.add("LeakyRelu", x, alpha=2 * self.slope)


class LyingShape(LeakyReLU):
    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        return (*in_shape[:-1], in_shape[-1] + 1)


class Float64(LeakyReLU):
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return np.where(x > 0, x, np.float64(self.slope) * x), x


class InPlaceForward(LeakyReLU):
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        positive = x > 0
        x[~positive] *= self.slope
        return x, positive.astype(x.dtype)


class InPlaceBackward(LeakyReLU):
    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        dy[x <= 0] *= self.slope
        return dy, {}


class InPlaceWeight(Dense):
    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        dx, grads = super().backward(dy, x, ctx)
        self.params["weight"] -= 0.01 * grads["weight"]
        return dx, grads


class CallState(LeakyReLU):
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        self.x = x
        return super().forward(x, ctx)


class HiddenCallState(LeakyReLU):
    """Keeps its state where no attribute of the instance shows it."""

    seen: list[Array] = []  # noqa: RUF012 - shared by all that are made, which is the fault

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        self.seen[:] = [x]
        return super().forward(x, ctx)

    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        return super().backward(dy, self.seen[0], ctx)


class Counting(LeakyReLU):
    calls = np.zeros(1, "f4")

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        self.calls[:] += 1
        return x * self.calls, x


class MemoryOrder(LeakyReLU):
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x.ravel(order="K").reshape(x.shape), x


class Neighbours(LeakyReLU):
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x - x.mean(axis=0), x


class Unwritten(LeakyReLU):
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        y = ctx.empty_like(x)
        np.copyto(y, x, where=x > 0)
        return y, x


class KeepsNothing(LeakyReLU):
    def __init__(self, steepness: float) -> None:
        super().__init__(steepness)


class KeepsAnother(LeakyReLU):
    """What `repr` says is not what it does."""

    def __init__(self, slope: float) -> None:
        super().__init__(slope)
        self.given, self.slope = slope, 0.5

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return np.maximum(x, x * self.given), x

    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        return np.where(x > 0, dy, self.given * dy), {}


class WrongGradient(LeakyReLU):
    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        return np.where(x > 0, dy, 0), {}


class NoBackward(LeakyReLU):
    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        return Layer.backward(self, dy, x, ctx)


@pytest.mark.parametrize("in_shape", [(7,), (2, 5, 4)])
def test_a_good_layer_passes(in_shape: Shape) -> None:
    check_layer(LeakyReLU(0.1), in_shape)


def test_an_expression_is_built_first() -> None:
    check_layer("Residual(Conv2D(2, 3, padding='same'), BatchNorm2D(), ReLU())", (2, 5, 4))
    with pytest.raises(ComponentError, match="there is no layer named 'Conv2E'"):
        check_layer("Conv2E(2, 3)", (2, 5, 4))
    with pytest.raises(ShapeError, match="Dense expects an input of shape"):
        check_layer("Dense(3)", (2, 5, 4))


@pytest.mark.parametrize(
    ("layer", "check", "reason"),
    [
        (LyingShape(), "shapes", r"shape of y in training: expected \(1, 8\), got \(1, 7\)"),
        (NoBackward(), "shapes", "NotImplementedError: NoBackward has no backward"),
        (Float64(), "dtype", "dtype of y in training: expected float32, got float64"),
        (InPlaceForward(), "inputs unchanged", r"changed xs\[0\] in place, in training"),
        (InPlaceBackward(), "inputs unchanged", "changed dy in place"),
        (InPlaceWeight(3), "inputs unchanged", "changed weight in place"),
        (CallState(), "no call state", "changed self.x; return it in the cache instead"),
        (HiddenCallState(), "no call state", r"changed HiddenCallState.seen\[0\]; return it in the cache"),
        (Counting(), "no call state", "changed Counting.calls; return it in the cache"),
        (MemoryOrder(), "strides", "y in training for inputs whose samples are the fastest axis"),
        (CallStateInADeque(), "no call state", r"changed self.seen\[0\].*; return it in the cache instead"),
        (CentredInTraining(), "training tiles", "a layer that looks at the batch must be a BatchCoupledLayer"),
        (WrongLowering(0.2), "lowering", "lower computes something else than forward does in prediction"),
        (Neighbours(), "training tiles", "a layer that looks at the batch must be a BatchCoupledLayer"),
        (Unwritten(), "memory", "y in training is not finite; write memory from ctx before it is read"),
        (KeepsNothing(0.01), "repr", "takes 'steepness' but keeps no attribute of that name"),
        (WrongGradient(0.2), "gradient", r"the gradient of WrongGradient\(slope=0.2\) is wrong"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Layer) else "",
)
def test_each_breach_is_named(layer: Layer, check: str, reason: str) -> None:
    with pytest.raises(CheckError, match=reason) as caught:
        check_layer(layer, (7,))
    name = type(layer).__name__ if check == "repr" else repr(layer)
    start = f"{name} on inputs of shape (7,) fails the check {check!r}: "
    assert str(caught.value).startswith(start)


def test_a_repr_that_makes_another_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Module:
        @staticmethod
        @hookimpl
        def cnnkit_layers() -> list[type[Layer]]:
            return [LeakyReLU, KeepsAnother]

    catalog = Catalog([Plugin("cnnkit-leaky", "1", "leaky", Module)])
    monkeypatch.setattr(comparing, "installed_catalog", lambda: catalog)
    check_layer(LeakyReLU(0.2), (7,))
    with pytest.raises(
        CheckError, match=r"fails the check 'repr': y in training of the layer made from repr, KeepsAnother\(0.5\)"
    ):
        check_layer(KeepsAnother(0.2), (7,))


def test_plain_context() -> None:
    ctx = PlainContext(training=False, seed=3, dtype="float32")
    x = np.moveaxis(np.zeros((4, 5, 2)), -1, 0)
    assert not ctx.training
    expected = np.random.default_rng(3).random(2).tolist()
    assert [ctx.rng.random(), ctx.rng.random()] == expected
    ctx.end_call()
    assert ctx.rng.random() == expected[0]
    assert np.isnan(ctx.empty((2, 3))).all()
    assert ctx.empty((2, 3)).dtype == np.float32
    assert ctx.empty_like(x).strides == (4, 40, 8)
    assert ctx.empty_bits((3,)).dtype == np.bool_
    assert np.isnan(ctx.gradient("weight", (2, 3))).all()


def test_a_layer_is_checked_on_a_copy() -> None:
    layer = ReLU()
    before = dict(vars(layer))
    check_layer(layer, (7,))
    assert vars(layer) == before
