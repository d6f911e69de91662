"""Planted faults: each layer breaks its contract in one way, and check_layer must find it and name it."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit.components import BatchCoupledLayer, Layer
from cnnkit.errors import CheckError
from cnnkit.testing import check_layer
from cnnkit.types import Array, Cache, Context, Grads, OnnxGraph, Shape
from tests.testing.right_layers import IMAGE, Affine, Double, Drop


class Clip6(Layer):
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return np.clip(x, 0, 6), x

    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy * (x > 0), {}


class Clip6Lowered(Clip6):
    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy * ((x > 0) & (x < 6)), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        return graph.add("Relu", x)


class NaiveSoftmax(Layer):
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        y = np.exp(x)
        y /= y.sum(axis=1, keepdims=True)
        return y, y

    def backward(self, dy: Array, y: Cache, ctx: Context) -> tuple[Array, Grads]:
        return y * (dy - (dy * y).sum(axis=1, keepdims=True)), {}


class OverNorm(Layer):
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        n = np.sqrt((x * x).sum(axis=1, keepdims=True))
        return x / n, (x / n, n)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        y, n = cache
        return (dy - y * (dy * y).sum(axis=1, keepdims=True)) / n, {}


class WrongSlot(Affine):
    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        dx, grads = super().backward(dy, x, ctx)
        for name in ("gamma", "beta"):
            place = ctx.gradient("gamma", grads[name].shape)
            place[...] = grads[name]
            grads[name] = place
        return dx, grads


class ReadsItsPlace(Affine):
    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        dx, grads = super().backward(dy, x, ctx)
        place = ctx.gradient("gamma", grads["gamma"].shape)
        place += grads["gamma"]
        return dx, grads | {"gamma": place}


class Replaces(Affine):
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        self.params["gamma"] = np.clip(self.params["gamma"], -2, 2)
        return super().forward(x, ctx)


class TileMeans(BatchCoupledLayer):
    def partial(self, x: Array, ctx: Context) -> Array:
        return np.stack([np.ones(x.shape[1]), x.mean(axis=(0, 2, 3))]).astype(np.float64)

    def channels(self, v: Array, x: Array) -> Array:
        return v.reshape(1, -1, 1, 1).astype(x.dtype)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        if not ctx.training:
            return x + 0, (x.shape, 1.0)
        return x - self.channels(ctx.total[1] / ctx.total[0], x), (x.shape, ctx.total[0, 0])

    def backward_partial(self, dy: Array, cache: Cache, ctx: Context) -> Array:
        return np.asarray(dy.mean(axis=(0, 2, 3)), np.float64)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy - self.channels(ctx.total / cache[1], dy), {}


class Float32Partial(TileMeans):
    def partial(self, x: Array, ctx: Context) -> Array:
        return super().partial(x, ctx).astype(np.float32)


class OnlyInTraining(Double):
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        if ctx.training:
            return 2 * x, None
        x *= 2
        return x, None


class Float64InPrediction(Double):
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return (2 * x if ctx.training else x * np.float64(2.0)), None


class NoBackwardInPrediction(Double):
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return 2 * x, (2.0 if ctx.training else None)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return (dy * cache).astype(dy.dtype), {}


class WrongGradientInPrediction(Double):
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return (2 * x if ctx.training else 3 * x), None


class FromTheEnd(Double):
    """Takes memory for logical order."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        y = ctx.empty_like(x)
        y.T[...] = 2 * x.T
        flat = y.T.ravel(order="K") if x.ndim == 4 and x.strides[0] == x.itemsize else y.ravel()
        return flat.reshape(x.shape), None


class ForFewSamples(Double):
    """Looks at the first 32 samples only."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        y = 2 * x
        y[32:] = x[32:]
        return y, None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        dx = 2 * dy
        dx[32:] = dy[32:]
        return dx, {}


class Unset(Double):
    """Reads memory of bool that nobody has written."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        bits = ctx.empty_bits(x.shape)
        return 2 * x * bits.any(), None


class HidesUnset(Double):
    """Reads unwritten memory in a way that swallows NaN."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return np.fmax(2 * x, ctx.empty_like(x)), None


class SquareOnly(Double):
    """Mixes up height and width; nobody notices on square images."""

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        return (*in_shape[:-2], *reversed(in_shape[-2:]))


class OddHeights(Double):
    """Is wrong where the height is odd."""

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return (2 + dy.shape[2] % 2) * dy, {}


class PositiveLowering(Affine):
    """Exports the size of its factor."""

    def lower(self, graph: OnnxGraph, x: str) -> str:
        shape = (-1, *(1 for _ in graph.shape(x)[1:]))
        scaled = graph.add("Mul", x, np.abs(self.params["gamma"]).reshape(shape))
        return graph.add("Add", scaled, self.params["beta"].reshape(shape))


class LoweringOfOneShape(Double):
    """Exports a constant that depends on the number of columns."""

    def lower(self, graph: OnnxGraph, x: str) -> str:
        return graph.add("Mul", x, np.full((1,), 2.0 + (graph.shape(x)[-1] > 8)))


class LeakAtZero(Layer):
    """x^2 whose gradient is wrong at 0 alone."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x * x, x

    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy * np.where(x == 0, 1, 2 * x).astype(x.dtype), {}


class OtherBuild(Affine):
    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        self.params = {"gamma": np.random.default_rng().normal(size=in_shape[0]), "beta": np.zeros(in_shape[0])}
        return in_shape


class WholeParameters(Affine):
    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        super().build(in_shape, rng)
        self.params["beta"] = np.zeros(in_shape[0]) * np.nan
        return in_shape


class BuildChangesRepr(Double):
    def __init__(self, size: int = 0) -> None:
        self.size = size

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        self.size = in_shape[0]
        return in_shape


class ReturnsNoCache(Double):
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return 2 * x  # type: ignore[return-value]  # wrong on purpose


class MissingGradient(Affine):
    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        dx, grads = super().backward(dy, x, ctx)
        return dx, {"gamma": grads["gamma"]}


class MeanGradient(Affine):
    """A mean over the samples where a sum is due."""

    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        dx, grads = super().backward(dy, x, ctx)
        return dx, {name: grad / len(x) for name, grad in grads.items()}


class NoArray(Affine):
    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        self.params = {"gain": 0.5}  # type: ignore[dict-item]  # wrong on purpose
        return in_shape


class AbsorbsFloat64(TileMeans):
    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        self.buffers = {"mean": np.zeros(in_shape[0])}
        return in_shape

    def partial(self, x: Array, ctx: Context) -> Array:
        count = np.full(x.shape[1], x.size / x.shape[1])
        return np.stack([count, x.sum(axis=(0, 2, 3))]).astype(np.float64)

    def absorb(self, total: Array) -> None:
        self.buffers["mean"] = 0.9 * self.buffers["mean"] + 0.1 * total[1] / total[0]

    def backward_partial(self, dy: Array, cache: Cache, ctx: Context) -> Array:
        return np.asarray(dy.sum(axis=(0, 2, 3)), np.float64)


FAULTS: list[tuple[Layer, Shape, str, str]] = [
    (Clip6(), IMAGE, "gradient", "with large values, where x is .*, backward gives .* and finite differences give 0"),
    (Clip6Lowered(), IMAGE, "lowering", "for inputs of 0 and up to .-100 and no parameters they differ by up to 9.5e"),
    (NaiveSoftmax(), IMAGE, "finite", "is nan for inputs from -100 to 101: keep exponents, quotients and roots finite"),
    (OverNorm(), IMAGE, "finite", "is nan for inputs .*, or declare the inputs that the layer takes"),
    (WrongSlot(), IMAGE, "gradient places", "the gradient of 'gamma' is overwritten: ctx.gradient"),
    (ReadsItsPlace(), IMAGE, "memory", "gradient of gamma in training is not finite; write memory from ctx before"),
    (Replaces(), IMAGE, "no call state", r"replaced params\['gamma'\] by another array, but training moves"),
    (TileMeans(), IMAGE, "training tiles", "cut into unequal tiles; partials must be sums"),
    (Float32Partial(), IMAGE, "shapes", "partials must be float64 and of one shape for every tile, got float32"),
    (AbsorbsFloat64(), IMAGE, "absorbing", r"absorb changed dtype or shape of buffers\['mean'\]; write into it"),
    (OnlyInTraining(), IMAGE, "inputs unchanged", r"changed xs\[0\] in place, in prediction; write into ctx"),
    (Float64InPrediction(), IMAGE, "dtype", "dtype of y in prediction: expected float32, got float64"),
    (NoBackwardInPrediction(), IMAGE, "shapes", "backward fails after a forward pass in prediction"),
    (WrongGradientInPrediction(), IMAGE, "gradient", "for example in prediction, where x is"),
    (FromTheEnd(), IMAGE, "strides", "for inputs .*: expected the same values"),
    (ForFewSamples(), IMAGE, "training tiles", "y in training of a batch that is cut into unequal tiles"),
    (Unset(), IMAGE, "memory", "depends on what memory from ctx holds; write it before it is read"),
    (HidesUnset(), IMAGE, "memory", "depends on what memory from ctx holds; write it before it is read"),
    (SquareOnly(), (3, 8, 8), "shapes", r"shape of y in training: expected \(1, 3, 8, 11\), got \(1, 3, 11, 8\)"),
    (OddHeights(), IMAGE, "gradient", r"inputs of shape \(3, 11, 7\).*the gradient of OddHeights\(\) is wrong"),
    (PositiveLowering(), IMAGE, "lowering", "for ordinary inputs and parameters of both signs they differ"),
    (LoweringOfOneShape(), IMAGE, "lowering", r"inputs of shape \(3, 8, 9\)"),
    (LeakAtZero(), IMAGE, "gradient", "x at 0: 1.0e"),
    (OtherBuild(), IMAGE, "build", r"params\['gamma'\] differs between two builds with equal rng"),
    (WholeParameters(), IMAGE, "build", r"build must make params\['beta'\] an array of finite floats"),
    (NoArray(), IMAGE, "build", r"build must make params\['gain'\] an array of finite floats, it made 0.5"),
    (BuildChangesRepr(), IMAGE, "repr", r"repr after build and a call: expected BuildChangesRepr\(\), got"),
    (ReturnsNoCache(), IMAGE, "shapes", r"forward must return \(y, cache\) with y an array, it returned an array"),
    (MissingGradient(), IMAGE, "shapes", "shapes of gradients in training: expected"),
    (MeanGradient(), IMAGE, "training tiles", "gradient of gamma in training of a batch that is cut"),
]


@pytest.mark.parametrize(
    ("layer", "in_shape", "check", "reason"), FAULTS, ids=[type(layer).__name__ for layer, *_ in FAULTS]
)
def test_each_fault_is_found_and_named(layer: Layer, in_shape: Shape, check: str, reason: str) -> None:
    with pytest.raises(CheckError, match=f"(?s){reason}") as caught:
        check_layer(layer, in_shape)
    assert f"fails the check {check!r}: " in str(caught.value)


@pytest.mark.parametrize("layer", [Double(), Affine(), Drop(), Drop(0.9)], ids=repr)
@pytest.mark.parametrize("in_shape", [IMAGE, (4, 6, 6), (5,)], ids=str)
def test_what_they_are_made_from_is_right(layer: Layer, in_shape: Shape) -> None:
    check_layer(layer, in_shape)
