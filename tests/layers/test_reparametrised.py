"""Layers around a layer: PyTorch's weight normalisation, standardised weights, gradients, files, tiles and workers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from cnnkit import Registry, Sequential, Trainer, load_model
from cnnkit.components import Initializer, Layer, Weights, installed_catalog
from cnnkit.errors import CnnkitError
from cnnkit.layers import Conv2D, ConvTranspose2D, Dense, WeightNorm, WeightStandardization
from cnnkit.layers.reparametrised import _Reparametrised
from cnnkit.network.kernels import kernel_for
from cnnkit.network.kernels.reparametrised_kernel import ReparametrisedKernel
from cnnkit.onnx.export import to_onnx
from cnnkit.testing import PlainContext, gradient_check
from cnnkit.types import Array, Grads, Shape

Rng = np.random.Generator
CONFIGURATIONS = 50


def pick(rng: Rng, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def inside(rng: Rng) -> tuple[str, Shape]:
    """The expression of a layer with weights of any kind, and the shape of its input."""
    groups, kernel, stride, bias = pick(rng, 1, 3), (pick(rng, 1, 3), 3), pick(rng, 1, 2), pick(rng, 0, 1)
    image = (groups * pick(rng, 1, 3), pick(rng, 4, 7), pick(rng, 4, 7))
    end = f"bias={bool(bias)}"
    return (
        (f"Conv2D({groups * pick(rng, 1, 2)}, {kernel}, {stride}, 1, {pick(rng, 1, 2)}, {groups}, {end})", image),
        (f"DepthwiseConv2D({kernel}, {stride}, 'same', multiplier={pick(rng, 1, 2)}, {end})", image),
        (f"ConvTranspose2D({groups * pick(rng, 1, 2)}, {kernel}, {stride}, groups={groups}, {end})", image),
        (f"Conv1D({groups * pick(rng, 1, 2)}, {kernel[1]}, {stride}, groups={groups}, {end})", (image[0], 9)),
        (f"Dense({pick(rng, 1, 4)}, {end})", (pick(rng, 3, 6),)),
    )[pick(rng, 0, 4)]


def made(expression: str) -> Layer:
    return cast(Layer, installed_catalog().build("layer", expression))


@pytest.mark.parametrize("cls", [WeightNorm, WeightStandardization])
def test_gradients_of_random_configurations(cls: type[Layer]) -> None:
    for seed in range(CONFIGURATIONS):
        expression, in_shape = inside(np.random.default_rng(seed))
        report = gradient_check(made(f"{cls.__name__}({expression})"), in_shape)
        assert report.error <= 1e-6, (expression, report)


def passed(layer: Layer, x: Array, dy: Array) -> tuple[Array, Array, Grads]:
    ctx = PlainContext(dtype="float32")
    y, cache = layer.forward(x, ctx)
    return (y, *layer.backward(dy, cache, ctx))


def close(ours: Array, theirs: Any) -> None:
    expected = theirs.detach().numpy()
    assert ours.dtype == np.float32
    assert np.abs(ours.reshape(expected.shape) - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize(
    ("layer", "shape", "module", "dim"),
    [
        (Conv2D(4, (2, 3), 2, 1, groups=2), (4, 7, 6), "Conv2d(4, 4, (2, 3), 2, 1, groups=2)", 0),
        (Dense(7), (13,), "Linear(13, 7)", 0),
        (ConvTranspose2D(5, 3, 2), (3, 4, 5), "ConvTranspose2d(3, 5, 3, 2)", 1),
    ],
)
def test_weight_norm_is_that_of_pytorch(layer: Layer, shape: Shape, module: str, dim: int) -> None:
    torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    rng = np.random.default_rng(0)
    theirs = eval(f"torch.nn.{module}", {"torch": torch})
    ours = WeightNorm(layer)
    out_shape = ours.build(shape, rng)
    start = torch.tensor(ours.params["weight_g"].copy())
    ours.params = {name: rng.normal(size=value.shape).astype("f4") for name, value in ours.params.items()}
    torch.nn.utils.parametrizations.weight_norm(theirs, dim=dim)
    trained = theirs.parametrizations.weight
    with torch.no_grad():
        trained.original1.copy_(torch.tensor(ours.params["weight_v"]))
        assert trained.original0.numel() == start.numel()
        trained.original0.copy_(torch.tensor(ours.params["weight_g"]).reshape(trained.original0.shape))
        theirs.bias.copy_(torch.tensor(ours.params["bias"]))
    x, dy = rng.normal(size=(3, *shape)).astype("f4"), rng.normal(size=(3, *out_shape)).astype("f4")
    given = torch.tensor(x, requires_grad=True)
    expected = theirs(given)
    expected.backward(torch.tensor(dy))
    y, dx, grads = passed(ours, x, dy)
    close(y, expected)
    close(dx, given.grad)
    close(grads["weight_g"], trained.original0.grad)
    close(grads["weight_v"], trained.original1.grad)
    close(grads["bias"], theirs.bias.grad)


def test_standardized_weights_are_those_of_a_convolution_in_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    rng = np.random.default_rng(0)
    ours = WeightStandardization(Conv2D(6, 3, 2, 1, groups=2), epsilon=1e-5)
    out_shape = ours.build((4, 7, 6), rng)
    ours.params = {name: rng.normal(0.5, 2, value.shape).astype("f4") for name, value in ours.params.items()}
    x, dy = rng.normal(size=(3, 4, 7, 6)).astype("f4"), rng.normal(size=(3, *out_shape)).astype("f4")
    given, weight, bias = (
        torch.tensor(array, requires_grad=True) for array in (x, ours.params["weight"], ours.params["bias"])
    )
    var, mean = torch.var_mean(weight, dim=(1, 2, 3), keepdim=True, unbiased=False)
    expected = torch.nn.functional.conv2d(given, (weight - mean) / torch.sqrt(var + 1e-5), bias, 2, 1, groups=2)
    expected.backward(torch.tensor(dy))
    y, dx, grads = passed(ours, x, dy)
    close(y, expected)
    close(dx, given.grad)
    close(grads["weight"], weight.grad)
    close(grads["bias"], bias.grad)


def test_effective_weights_have_the_norm_or_the_moments_that_they_should() -> None:
    for expression, shape in (("Conv2D(5, 3)", (3, 6, 6)), ("ConvTranspose2D(6, 3, groups=2)", (4, 5, 6))):
        for cls in (WeightNorm, WeightStandardization):
            layer = cast(_Reparametrised, made(f"{cls.__name__}({expression})"))
            layer.build(shape, np.random.default_rng(0))
            if "weight_g" in layer.params:
                layer.params["weight_g"] = np.arange(1.0, len(layer.params["weight_g"]) + 1)
            units, axes = layer.by_unit(layer.effective(np.empty).weight)
            if cls is WeightNorm:
                lengths = np.sqrt(np.square(units).sum(axis=axes)).ravel()
                np.testing.assert_allclose(lengths, layer.params["weight_g"], rtol=1e-12)
            else:
                np.testing.assert_allclose(units.mean(axis=axes), 0, atol=1e-12)
                np.testing.assert_allclose(units.var(axis=axes), 1, rtol=1e-7)


def test_weight_norm_begins_as_the_layer_without_it() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 6))
    for inner in ("Conv2D(4, 3)", "Conv2D(4, 3, initializer=Orthogonal())", "Conv2D(4, 3, initializer=Zeros())"):
        plain = Sequential([inner], (3, 6, 6), dtype="float64").outputs(x)
        np.testing.assert_allclose(
            Sequential([f"WeightNorm({inner})"], (3, 6, 6), dtype="float64").outputs(x), plain, rtol=1e-12, atol=1e-14
        )


def test_weights_that_start_at_zero_learn() -> None:
    layer = WeightNorm(made("Dense(3, initializer=Zeros())"))
    layer.build((4,), np.random.default_rng(0))
    _, _, grads = passed(layer, np.ones((2, 4), np.float32), np.ones((2, 3), np.float32))
    assert (grads["weight_g"] != 0).all()
    layer.params["weight_v"][...] = 0
    y, _, grads = passed(layer, np.ones((2, 4), np.float32), np.ones((2, 3), np.float32))
    assert not y.any()
    assert all(np.isfinite(value).all() for value in grads.values())


class ReadOnly(Initializer):
    """One number that takes no memory for all weights."""

    def __init__(self, value: float) -> None:
        self.value = value

    def values(self, weights: Weights, rng: Rng) -> Array:
        return np.broadcast_to(self.value, weights.shape)


class GivesReadOnly(Dense):
    """Its weights cannot be written to."""

    def build(self, in_shape: Shape, rng: Rng) -> Shape:
        out_shape = super().build(in_shape, rng)
        self.params["weight"].flags.writeable = False
        return out_shape


def test_weights_in_memory_that_cannot_be_written_to_are_what_they_say() -> None:
    x = np.ones((2, 4), np.float32)
    for value in (0.5, 0.0):
        model = Sequential([WeightNorm(Dense(3, initializer=ReadOnly(value)))], (4,))
        np.testing.assert_allclose(model.outputs(x), 4 * value)
        assert (model.state()["weight_norm_1.weight_v"] != 0).all()
    given = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    plain = Sequential([GivesReadOnly(3)], (4,)).outputs(given)
    np.testing.assert_allclose(Sequential([WeightNorm(GivesReadOnly(3))], (4,)).outputs(given), plain, rtol=1e-5)


def test_no_call_leaves_anything_and_what_was_given_stays() -> None:
    given = Conv2D(4, 3)
    layer = WeightNorm(given)
    layer.build((3, 6, 6), np.random.default_rng(0))
    assert (given.params, given.buffers) == ({}, {})
    assert not hasattr(given, "window")
    kept = {name: id(value) for name, value in vars(layer).items()}
    inner = {name: copy.copy(value) for name, value in vars(layer._inside).items()}
    passed(layer, np.ones((2, 3, 6, 6), np.float32), np.ones((2, 4, 4, 4), np.float32))
    assert {name: id(value) for name, value in vars(layer).items()} == kept
    assert vars(layer._inside) == inner
    twice = Sequential([WeightNorm(given), WeightNorm(given)], (3, 9, 9))
    assert twice.output_shape == (4, 5, 5)


@pytest.mark.parametrize("cls", ["WeightNorm", "WeightStandardization"])
@pytest.mark.parametrize("behind", [[], ["ReLU()"]])
def test_the_kernel_of_the_layer_inside_computes_the_same(cls: str, behind: list[str]) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        expression, in_shape = inside(rng)
        layer = made(f"{cls}({expression})")
        out_shape = layer.build(in_shape, rng)
        layer.params = {name: rng.normal(size=value.shape) for name, value in layer.params.items()}
        taken = kernel_for([layer, *map(made, behind)], needs_dx=True)
        if taken is None:
            assert kernel_for([cast(_Reparametrised, layer).outline()], needs_dx=True) is None
            continue
        kernel, used = cast(ReparametrisedKernel, taken[0]), taken[1]
        assert isinstance(kernel, ReparametrisedKernel)
        chain = [layer, *map(made, behind[: used - 1])]
        for follower in chain[1:]:
            out_shape = follower.build(out_shape, rng)
        x, dy = rng.normal(size=(3, *in_shape)), rng.normal(size=(3, *out_shape))
        ctx, caches, y = PlainContext(), [], x
        for one in chain:
            y, cache = one.forward(y, ctx)
            caches.append(cache)
        grads: Grads = {}
        dx = dy
        for one, cache in zip(reversed(chain), reversed(caches), strict=True):
            dx, grads = one.backward(dx, cache, ctx)
        found, cache = kernel.forward(x, ctx)
        found_dx, found_grads = kernel.backward(dy, cache, ctx)
        np.testing.assert_allclose(found, y, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(cast(Array, found_dx), dx, rtol=1e-9, atol=1e-9)
        assert found_grads.keys() == grads.keys() == layer.params.keys()
        for name, value in grads.items():
            np.testing.assert_allclose(found_grads[name], value, rtol=1e-9, atol=1e-9)


def test_a_derived_class_runs_as_it_is_written() -> None:
    class Mine(WeightNorm):
        """May compute something else."""

    layer = Mine(Dense(3))
    layer.build((4,), np.random.default_rng(0))
    assert kernel_for([layer], needs_dx=True) is None


LAYERS = [
    'WeightStandardization(Conv2D(6, 3, padding="same"))',
    "BatchNorm2D()",
    "ReLU()",
    "WeightNorm(Conv2D(4, 3))",
    "Flatten()",
    "WeightNorm(Dense(3))",
]
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((200, 1, 6, 6), np.float32), RNG.integers(0, 3, 200)


def test_they_train_alike_with_any_workers_and_learn() -> None:
    options: dict[str, Any] = {"epochs": 3, "batch_size": 100, "progress": False, "max_norm": {"*.weight_v": 1.0}}
    runs = [Trainer(workers=workers, **options).fit(Sequential(LAYERS, (1, 6, 6)), (X, Y)) for workers in (1, 2, 3)]
    for run in runs[1:]:
        assert run.history["loss"] == runs[0].history["loss"]
        assert (run.model.parameters.vector == runs[0].model.parameters.vector).all()
    assert runs[0].history["loss"][-1] < runs[0].history["loss"][0]
    names = [name for name in runs[0].model.state() if name.startswith("weight_")]
    assert names[0] == "weight_standardization_1.weight"
    assert {"weight_norm_1.weight_g", "weight_norm_1.weight_v", "weight_norm_2.bias"} <= set(names)


def test_a_prediction_computes_weights_once_and_from_the_present_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tiles it has, by a kernel or without one."""
    model = Sequential([*LAYERS[:-1], WeightNorm(GivesReadOnly(3))], (1, 6, 6))
    x = np.random.default_rng(1).standard_normal((2000, 1, 6, 6), np.float32)
    assert model.engine(logits=False).largest_prediction_tile < len(x) / 2
    calls: list[type] = []
    for cls in (WeightNorm, WeightStandardization):

        def counted(layer: Any, empty: Any, compute: Any = cls.effective) -> Any:
            calls.append(type(layer))
            return compute(layer, empty)

        monkeypatch.setattr(cls, "effective", counted)
    for scale in (1, 1.5):
        model.parameters.vector[...] *= scale
        calls.clear()
        found = model.outputs(x)
        assert calls == [WeightStandardization, WeightNorm, WeightNorm]
        values = x
        for node in model.nodes:
            values, _ = cast(Layer, node.layer).forward(values, PlainContext(training=False, dtype="float32"))
        np.testing.assert_allclose(found, values, rtol=1e-3, atol=1e-5)


def test_files_and_exports(tmp_path: Path) -> None:
    model = Sequential(LAYERS, (1, 6, 6))
    version = Registry(tmp_path).save(model, "wrapped")
    again = load_model(version.ref, registry=tmp_path)
    np.testing.assert_array_equal(again.logits(X), model.logits(X))
    assert again.expressions() == model.expressions()
    written = [node.op_type for node in to_onnx(model).graph.node]
    assert written.count("Conv") == 2
    assert not {"Sqrt", "Div", "ReduceMean"} & set(written)


@pytest.mark.parametrize("cls", ["WeightNorm", "WeightStandardization"])
@pytest.mark.parametrize(
    ("inner", "shape", "message"),
    [
        ("3", (3,), " expects a layer with weights, such as Conv2D(8, 3), got 3"),
        ("BatchNorm2D()", (3, 4, 4), " expects a layer with weights, such as Conv2D(8, 3), got BatchNorm2D()"),
        ("Residual(Conv2D(3, 1))", (3, 4, 4), " expects a layer with weights, such as Conv2D(8, 3), got Residual("),
        (
            "ReLU()",
            (3,),
            " expects a layer with a parameter 'weight' of two axes or more, such as Conv2D(8, 3); ReLU()",
        ),
        ("PReLU()", (3,), " expects a layer with a parameter 'weight' of two axes or more"),
        ("WeightNorm(Dense(3))", (3,), " expects a layer with a parameter 'weight' of two axes or more"),
        ("Conv2D(3, 9)", (3, 4, 4), "Conv2D has a window of 9 x 9, larger than its input of 4 x 4"),
    ],
)
def test_what_cannot_be_inside_is_refused(cls: str, inner: str, shape: Shape, message: str) -> None:
    with pytest.raises(CnnkitError) as caught:
        Sequential([f"{cls}({inner})"], shape)
    assert message in str(caught.value)


@pytest.mark.parametrize(("inner", "count"), [("DepthwiseConv2D(1)", 1), ("DepthwiseConv2D((1, 2))", 2)])
def test_few_weights_cannot_be_standardized(inner: str, count: int) -> None:
    with pytest.raises(CnnkitError, match=rf"expects three weights or more for each unit, .* has {count} here: one "):
        Sequential([f"WeightStandardization({inner})"], (3, 4, 4))
    with pytest.raises(CnnkitError, match="epsilon must be a number above 0, got 0"):
        made("WeightStandardization(Dense(3), 0)")
