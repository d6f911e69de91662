"""Normalisations: what each of them promises beside its formula, which its examples prove."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit.components import Layer, installed_catalog
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.layers import (
    BatchNorm1D,
    GroupNorm,
    InstanceNorm1D,
    InstanceNorm2D,
    LayerNorm,
    LocalResponseNorm,
    RMSNorm,
)
from cnnkit.network import Sequential
from cnnkit.network.execution.engine import Engine
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.runtimes import OnnxRuntime, ReferenceEvaluator, is_installed
from cnnkit.testing import PlainContext
from cnnkit.training.trainer import Trainer
from cnnkit.types import Array, Shape

RNG = np.random.default_rng
IMAGE = (6, 3, 5)
CENTRED: list[tuple[Layer, tuple[int, ...]]] = [
    (GroupNorm(2), (2, 3, 4)),
    (InstanceNorm2D(), (2, 3)),
    (LayerNorm(), (1, 2, 3)),
    (LayerNorm("channels"), (1,)),
]
"""Layers, and the axes of images, for GroupNorm with groups apart, that a mean runs over."""


def there_and_back(layer: Layer, x: Array, dy: Array) -> list[Array]:
    """Output, gradient of the input, gradients of the parameters."""
    ctx = PlainContext(dtype=x.dtype)
    layer.build(x.shape[1:], RNG(0))
    layer.params = {name: RNG(1).normal(1, 0.5, value.shape).astype(x.dtype) for name, value in layer.params.items()}
    y, cache = layer.forward(x, ctx)
    dx, grads = layer.backward(dy, cache, ctx)
    return [y, dx, *grads.values()]


def normal(layer: Layer, x: Array) -> Array:
    """Gamma is 1, and beta 0."""
    layer.build(x.shape[1:], RNG(0))
    return layer.forward(x, PlainContext(training=False, dtype=x.dtype))[0]


def parts(layer: Layer, x: Array) -> Array:
    """With the groups of a GroupNorm apart."""
    return x.reshape(len(x), layer.groups, -1, *x.shape[2:]) if isinstance(layer, GroupNorm) else x


@pytest.mark.parametrize(("layer", "axes"), CENTRED, ids=repr)
@pytest.mark.parametrize("mean", [0, 30, 1e4])
def test_of_float32_mean_and_variance_are_right_however_large_the_mean(
    layer: Layer, axes: tuple[int, ...], mean: float
) -> None:
    x = RNG(0).normal(mean, 1, (4, 8, 16, 16)).astype("f4")
    y = parts(layer, normal(layer, x))
    exact = parts(layer, x.astype("f8"))
    exact -= exact.mean(axis=axes, keepdims=True)
    exact /= np.sqrt(exact.var(axis=axes, keepdims=True) + 1e-5)
    assert y.dtype == np.float32
    assert np.abs(y.mean(axis=axes, dtype=np.float64)).max() <= 1e-6
    np.testing.assert_allclose(y, exact, atol=4e-6)
    if mean == 1e4:  # the control: a mean that is rounded once
        rounded = parts(layer, x)
        once = rounded - rounded.mean(axis=axes, keepdims=True, dtype=np.float64).astype("f4")
        assert np.abs(once.mean(axis=axes, dtype=np.float64)).max() > 1e-4


@pytest.mark.parametrize(("layer", "axes"), CENTRED, ids=repr)
def test_of_equal_numbers_nothing_is_left(layer: Layer, axes: tuple[int, ...]) -> None:
    x = np.full((2, *IMAGE), -1e8 / 3, "f4")
    assert not normal(layer, x).any()
    y, dx, *_ = there_and_back(layer, x, RNG(0).normal(size=x.shape).astype("f4"))
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()


@pytest.mark.parametrize(
    ("one", "other", "shape"),
    [
        (InstanceNorm2D(affine=True), GroupNorm(6), IMAGE),
        (InstanceNorm1D(affine=True), GroupNorm(6), (6, 7)),
        (LayerNorm(affine=False), GroupNorm(1, affine=False), IMAGE),
        (LayerNorm(), LayerNorm("channels"), (9,)),
        (RMSNorm(), RMSNorm("channels"), (9,)),
    ],
    ids=repr,
)
def test_special_cases_are_equal(one: Layer, other: Layer, shape: Shape) -> None:
    x, dy = RNG(0).normal(2, 3, (2, 4, *shape))
    for given, expected in zip(there_and_back(one, x, dy), there_and_back(other, x, dy), strict=True):
        np.testing.assert_allclose(given, expected, rtol=1e-12, atol=1e-12)


def test_a_square_mean_of_what_has_no_mean_is_its_variance() -> None:
    x = RNG(0).normal(size=(3, *IMAGE))
    x -= x.mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(normal(RMSNorm(epsilon=0.1), x), normal(LayerNorm(epsilon=0.1), x), rtol=1e-12)


@pytest.mark.parametrize("shape", [IMAGE, (6, 7), (6, 1, 1)], ids=str)
@pytest.mark.parametrize("name", ["LayerNorm", "RMSNorm"])
@pytest.mark.parametrize("affine", [True, False])
def test_over_channels_they_are_pytorchs_over_the_last_axis(name: str, shape: Shape, affine: bool) -> None:
    torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    layer: Layer = {"LayerNorm": LayerNorm, "RMSNorm": RMSNorm}[name]("channels", 0.01, affine)
    module = getattr(torch.nn, name)(6, 0.01, affine)
    x, dy = RNG(0).normal(0.5, 2, (2, 4, *shape)).astype("f4")
    found = there_and_back(layer, x, dy)
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), layer.params.values(), strict=True):
            parameter.copy_(torch.tensor(value))
    input_ = torch.tensor(x, requires_grad=True)
    y = module(input_.movedim(1, -1)).movedim(-1, 1)
    y.backward(torch.tensor(dy))
    expected = [y.detach(), input_.grad, *(parameter.grad for parameter in module.parameters())]
    for given, value in zip(found, expected, strict=True):
        assert given.dtype == np.float32
        np.testing.assert_allclose(given, value.numpy(), rtol=1e-5, atol=1e-5 * float(value.abs().max()))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 20])
@pytest.mark.parametrize("shape", [(5, 2, 3), (5, 4), (1, 3, 3)], ids=str)
def test_local_response_norm_against_a_loop(size: int, shape: Shape) -> None:
    x = RNG(0).normal(size=(2, *shape))
    y = np.empty_like(x)
    for c in range(shape[0]):
        window = x[:, max(0, c - size // 2) : c + (size - 1) // 2 + 1]
        y[:, c] = x[:, c] / (1.5 + 0.7 / size * np.square(window).sum(axis=1)) ** 0.6
    np.testing.assert_allclose(normal(LocalResponseNorm(size, 0.7, 0.6, 1.5), x), y, rtol=1e-12)


@pytest.mark.parametrize("layer", [layer for layer, _ in CENTRED], ids=repr)
def test_no_bit_of_a_sample_depends_on_the_mean_of_another(layer: Layer) -> None:
    rng = RNG(0)
    x = rng.normal(2, 1, (2, *IMAGE)).astype("f4")
    dy = rng.normal(size=x.shape).astype("f4")
    expected = there_and_back(layer, x, dy)
    x[1] += 100
    changed = there_and_back(layer, x, dy)
    for before, after in zip(expected[:2], changed[:2], strict=True):
        np.testing.assert_array_equal(after[0], before[0])
        assert (after[1] != before[1]).any()


@pytest.mark.parametrize("text", ["GroupNorm(2)", "InstanceNorm2D()", "LayerNorm()", "LayerNorm('channels')"])
def test_files_are_right_where_the_mean_is_large(text: str) -> None:
    """ONNX InstanceNormalization would not be on every runtime: mean(x^2) - mean^2 has lost all digits there."""
    x = RNG(0).normal(300, 1, (3, *IMAGE)).astype("f4")
    model = Sequential([text], IMAGE)
    for opset in (13, 17, 22):
        data = to_onnx(model, opset=opset).SerializeToString()
        for runtime in filter(is_installed, (ReferenceEvaluator(), OnnxRuntime())):
            np.testing.assert_allclose(runtime.run(data, {"input": x})["logits"], model.logits(x), atol=2e-4)


def test_vectors_are_normalised_as_signals_of_one_number() -> None:
    x = RNG(0).normal(3, 2, (7, 5))
    layer, ctx = BatchNorm1D(), PlainContext()
    layer.build((5,), RNG(0))
    ctx.total = layer.partial(x, ctx)
    np.testing.assert_array_equal(ctx.total, layer.partial(x[:, :, None], ctx))
    y = layer.forward(x, ctx)[0]
    np.testing.assert_allclose(y, (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(layer.forward(x[:, :, None], ctx)[0][:, :, 0], y)


def trained(layers: list[str], shape: Shape, workers: int = 1) -> dict[str, Array]:
    rng = RNG(0)
    data = rng.normal(2, 3, (150, *shape)).astype("f4"), rng.integers(0, 3, 150)
    model = Sequential([*layers, "Dense(3)"], shape)
    Trainer(epochs=2, batch_size=75, workers=workers, optimizer="SGD(0.1)").fit(model, data)
    return model.state()


NETWORKS: list[tuple[list[str], Shape]] = [
    (["Dense(8)", "BatchNorm1D()", "ReLU()"], (6,)),
    (["Conv1D(4, 3)", "BatchNorm1D()", "ReLU()", "Flatten()"], (2, 9)),
    (
        ["Conv2D(4, 3)", "GroupNorm(2)", "InstanceNorm2D()", "LocalResponseNorm(3)", "Flatten()", "LayerNorm()"],
        (2, 6, 9),
    ),
]


@pytest.mark.parametrize(("layers", "shape"), NETWORKS, ids=str)
def test_the_number_of_workers_changes_no_bit(layers: list[str], shape: Shape, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "tile_for", lambda _engine, _batch_size: 16)
    one, *others = (trained(layers, shape, workers) for workers in (1, 2, 3))
    for other in others:
        assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("layers", "shape"), NETWORKS, ids=str)
def test_tiles_change_nothing(layers: list[str], shape: Shape, monkeypatch: pytest.MonkeyPatch) -> None:
    states = []
    for tile in (16, 64, 150):
        monkeypatch.setattr(Engine, "tile_for", lambda _engine, _batch_size, tile=tile: tile)
        states.append(trained(layers, shape))
    for other in states[1:]:
        for name, array in states[0].items():
            np.testing.assert_allclose(other[name], array, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("BatchNorm1D(momentum=1.5)", "momentum must be a number with 0 < momentum <= 1, got 1.5"),
        ("BatchNorm1D(epsilon=0)", "epsilon must be a number above 0, got 0"),
        ("GroupNorm(0)", "groups must be a whole number, 1 or above, got 0"),
        ("GroupNorm(2, epsilon=-1)", "epsilon must be a number above 0, got -1"),
        ("GroupNorm(2, affine=1)", "affine must be True or False, got 1"),
        ("InstanceNorm1D(0)", "epsilon must be a number above 0, got 0"),
        ("InstanceNorm2D(affine=None)", "affine must be True or False, got None"),
        ('LayerNorm("channel")', "axes must be one of 'all', 'channels', got 'channel'; did you mean channels?"),
        ("RMSNorm(1)", "axes must be one of 'all', 'channels', got 1"),
        ("LocalResponseNorm(0)", "size must be a whole number, 1 or above, got 0"),
        ("LocalResponseNorm(5, -1)", "alpha must be a number, 0 or above, got -1"),
        ("LocalResponseNorm(5, beta=-1)", "beta must be a number, 0 or above, got -1"),
        ("LocalResponseNorm(5, k=0)", "k must be a number above 0, got 0"),
    ],
)  # fmt: skip
def test_bad_arguments(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        installed_catalog().build("layer", text)
    assert str(caught.value) == f"{text}: {message}"


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (BatchNorm1D(), IMAGE,
         "BatchNorm1D expects an input of shape (features,) or (channels, length), got (6, 3, 5); of images, "
         "BatchNorm2D normalises the channels"),
        (GroupNorm(4), IMAGE,
         "GroupNorm expects a number of input channels that is a multiple of its 4 groups, got 6 channels; change "
         "groups, or the filters of the layer before it"),
        (InstanceNorm1D(), IMAGE,
         "InstanceNorm1D expects an input of shape (channels, length), got (6, 3, 5); put InstanceNorm1D before "
         "Flatten() and Dense(...)"),
        (InstanceNorm2D(), (10,),
         "InstanceNorm2D expects an input of shape (channels, height, width), got (10,); put InstanceNorm2D before "
         "Flatten() and Dense(...)"),
        (LocalResponseNorm(5), (10,),
         "LocalResponseNorm expects an input of shape (channels, height, width) or (channels, length), got (10,); put "
         "LocalResponseNorm before Flatten() and Dense(...)"),
        *((layer, shape,
           f"{layer!r} would subtract each number from itself: of an input of shape {shape}, each mean is that of a "
           "single number; let it see more channels or larger images")
          for layer, shape in ((GroupNorm(6), (6, 1, 1)), (InstanceNorm2D(), (6, 1, 1)), (InstanceNorm1D(), (6, 1)),
                               (GroupNorm(3), (3,)), (LayerNorm(), (1,)), (LayerNorm("channels"), (1, 8, 8)))),
    ],
    ids=repr,
)  # fmt: skip
def test_inputs_that_do_not_fit(layer: Layer, shape: Shape, message: str) -> None:
    with pytest.raises(ShapeError) as caught:
        layer.build(shape, RNG(0))
    assert str(caught.value) == message
