"""Initializers: their distributions are PyTorch's, their fans are counted, and files keep them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from cnnkit import Registry, Sequential, load_model
from cnnkit.components import Component, Initializer, Layer, Weights, installed_catalog
from cnnkit.components.catalog import Catalog
from cnnkit.components.contracts import Merge
from cnnkit.components.hookspecs import hookimpl
from cnnkit.components.plugin_metadata import Plugin, installed_plugins
from cnnkit.errors import CnnkitError, ComponentError, ConfigError, RegistryError, ShapeError
from cnnkit.initializers import (
    GLOROT_UNIFORM,
    INITIALIZERS,
    Constant,
    GlorotUniform,
    HeNormal,
    Identity,
    Orthogonal,
    Zeros,
)
from cnnkit.layers import Conv1D, Conv2D, ConvTranspose2D, Dense, DepthwiseConv2D, SeparableConv2D
from cnnkit.testing import PlainContext
from cnnkit.types import Array, Context, Example, Shape

EXAMPLES = [(cls, example) for cls in INITIALIZERS for example in cls.examples]
EXACT = {"Constant", "Identity", "Zeros"}
LAYERS: list[tuple[Layer, Shape]] = [
    (Dense(7), (5,)),
    (Conv2D(6, 3, padding=1), (4, 9, 9)),
    (Conv2D(6, (3, 5), padding=(1, 2)), (4, 9, 11)),
    (DepthwiseConv2D(3, padding=1, multiplier=2), (4, 9, 9)),
    (ConvTranspose2D(6, 3, padding=1), (4, 9, 9)),
    (ConvTranspose2D(6, 3, padding=1, groups=2), (4, 9, 9)),
    (Conv1D(6, 5, padding=2), (4, 15)),
]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def weights(*shape: int, groups: int = 1) -> Weights:
    size = math.prod(shape[2:])
    return Weights(shape, shape[1] * size if shape[1:] else 1, shape[0] * size, groups)


def made(expression: str, *shape: int, groups: int = 1, seed: int = 0) -> Array:
    component = cast(Initializer, installed_catalog().build("initializer", expression))
    return component.make(weights(*shape, groups=groups), rng(seed))


class Asked(Initializer):
    """Keeps what it was asked for."""

    seen: Weights

    def values(self, weights: Weights, rng: np.random.Generator) -> Array:
        type(self).seen = weights
        return np.ones(weights.shape)


def test_every_initializer_says_all_of_itself() -> None:
    for cls in INITIALIZERS:
        assert cls.examples, cls
        assert cls.twin, cls
        assert "Source:" in (cls.__doc__ or ""), cls


@pytest.mark.parametrize(("cls", "example"), EXAMPLES, ids=lambda one: getattr(one, "expression", ""))
def test_each_is_its_expression_and_gives_the_same_numbers_again(cls: type[Initializer], example: Example) -> None:
    component = cast(Initializer, installed_catalog().build("initializer", example.expression))
    assert type(component) is cls
    assert installed_catalog().build("initializer", repr(component)) == component
    values = made(example.expression, *example.in_shape)
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, made(example.expression, *example.in_shape))
    drawn = cls.__name__ not in EXACT
    assert np.array_equal(values, made(example.expression, *example.in_shape, seed=1)) != drawn


@pytest.mark.parametrize(
    ("cls", "example"),
    [case for case in EXAMPLES if case[0].__name__ not in EXACT | {"Orthogonal"}],
    ids=lambda one: getattr(one, "expression", ""),
)
def test_the_distribution_is_that_of_pytorch(cls: type[Initializer], example: Example) -> None:
    torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    stats = pytest.importorskip("scipy.stats")
    torch.manual_seed(0)
    tensor = torch.empty(example.in_shape, dtype=torch.float64)
    eval(f"{cls.twin}(tensor, {example.twin})", {"torch": torch, "tensor": tensor})
    ours, theirs = made(example.expression, *example.in_shape).ravel(), tensor.numpy().ravel()
    assert stats.ks_2samp(ours, theirs).pvalue > 0.01
    assert stats.ks_2samp(1.15 * ours, theirs).pvalue < 0.01  # it would see 15 %
    spread = np.abs(ours - ours.mean()).max()
    if "Uniform" in cls.__name__ or "Truncated" in cls.__name__:
        assert spread == pytest.approx(np.abs(theirs - theirs.mean()).max(), rel=0.01)


@pytest.mark.parametrize(
    ("expression", "shape", "groups"),
    [
        ("Identity()", (6, 4, 3, 3), 1),
        ("Identity()", (4, 6, 2, 5), 1),
        ("Identity()", (6, 2, 3, 3), 3),
        ("Identity()", (8, 2, 5, 3), 2),
        ("Identity()", (6, 1, 3, 3), 3),
        ("Identity()", (4, 3, 3), 1),
    ],
)
def test_the_identity_is_that_of_pytorch(expression: str, shape: Shape, groups: int) -> None:
    torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    tensor = torch.nn.init.dirac_(torch.empty(shape), groups)
    np.testing.assert_array_equal(made(expression, *shape, groups=groups), tensor.numpy())


@pytest.mark.parametrize("gain", [1, 0.5])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda start: Conv2D(4, 3, padding="same", initializer=start), (4, 5, 6)),
        (lambda start: Conv2D(4, 5, padding="same", groups=2, initializer=start), (4, 5, 6)),
        (lambda start: DepthwiseConv2D(3, padding=1, initializer=start), (4, 5, 6)),
        (lambda start: ConvTranspose2D(4, 3, padding=1, initializer=start), (4, 5, 6)),
        (lambda start: ConvTranspose2D(4, 3, padding=1, groups=2, initializer=start), (4, 5, 6)),
        (lambda start: Conv1D(4, 3, padding=1, initializer=start), (4, 5)),
        (lambda start: Dense(4, initializer=start), (4,)),
    ],
)
def test_layers_that_start_as_the_identity_pass_their_input_on(layer: Any, shape: Shape, gain: float) -> None:
    one = layer(Identity(gain))
    one.build(shape, rng())
    x = rng().normal(size=(3, *shape))
    np.testing.assert_allclose(one.forward(x, PlainContext())[0], gain * x, rtol=1e-15)


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda one: repr(one))
def test_fans_are_the_products_that_meet(layer: Layer, shape: Shape) -> None:
    """With ones everywhere, the middle of the output is fan_in, and that of the input's gradient is fan_out."""
    again = cast(Any, installed_catalog().build("layer", repr(layer)))
    again.initializer = Asked()
    out_shape = again.build(shape, rng())
    y, cache = again.forward(np.ones((1, *shape)), PlainContext())
    dx, _ = again.backward(np.ones((1, *out_shape)), cache, PlainContext())
    assert (Asked.seen.fan_in, Asked.seen.fan_out) == (y.max(), dx.max())
    assert Asked.seen.shape == again.params["weight"].shape


def test_with_groups_a_conv2d_counts_as_pytorch_does() -> None:
    torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    Conv2D(8, 3, groups=2, initializer=Asked()).build((4, 9, 9), rng())
    theirs = torch.nn.init._calculate_fan_in_and_fan_out(torch.nn.Conv2d(4, 8, 3, groups=2).weight)
    assert (Asked.seen.fan_in, Asked.seen.fan_out) == theirs == (18, 72)
    assert Asked.seen.groups == 2


def test_what_nobody_says_is_glorot_uniform() -> None:
    for layer, shape in LAYERS:
        assert "initializer" not in repr(layer)
        assert cast(Any, layer).initializer == GLOROT_UNIFORM == GlorotUniform()
        layer.build(shape, rng())
        kept = layer.params["weight"]
        said = cast(Layer, installed_catalog().build("layer", repr(layer)[:-1] + ", initializer=GlorotUniform())"))
        assert repr(said) == repr(layer)
        said.build(shape, rng())
        np.testing.assert_array_equal(kept, said.params["weight"])


def test_glorot_weights_are_those_of_the_formula_bit_for_bit() -> None:
    layer = Conv2D(6, 3)
    layer.build((4, 9, 9), rng(5))
    bound = math.sqrt(6.0 / ((6 + 4) * 9))
    np.testing.assert_array_equal(layer.params["weight"], rng(5).uniform(-bound, bound, (6, 4, 3, 3)))


def test_separable_hands_its_initializer_to_both() -> None:
    layer = SeparableConv2D(6, 3, initializer=HeNormal())
    assert [repr(one) for one in layer.branches[0]] == [
        "DepthwiseConv2D(3, bias=False, initializer=HeNormal())",
        "Conv2D(6, 1, initializer=HeNormal())",
    ]
    assert repr(layer) == "SeparableConv2D(6, 3, initializer=HeNormal())"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("Dense(3, initializer=HeNorml())", "there is no initializer named 'HeNorml'\n  did you mean HeNormal"),
        ("Dense(3, initializer=Dense(3))", "there is no initializer named 'Dense'"),
        (
            "Dense(3, initializer='he_normal')",
            "initializer must be an initializer, such as HeNormal(), got 'he_normal'",
        ),
        ("Conv2D(3, 1, initializer=None)", "initializer must be an initializer, such as HeNormal(), got None"),
        ("SeparableConv2D(3, 1, initializer=3)", "initializer must be an initializer, such as HeNormal(), got 3"),
        ("BatchNorm2D(initializer=3)", "initializer must be an initializer, such as HeNormal(), got 3"),
        ("InstanceNorm2D(initializer=Zeros())", "initializer is for affine=True alone, as there is no gamma without"),
        ("Dense(3, initializer=Normal())", "missing a required argument: 'std'; expected Normal(std, mean=0.0)"),
        ("Dense(3, initializer=Normal(0))", "std must be a number above 0, got 0"),
        ("Dense(3, initializer=Normal(1, 'a'))", "mean must be a finite number, got 'a'"),
        ("Dense(3, initializer=TruncatedNormal(-1))", "std must be a number above 0, got -1"),
        ("Dense(3, initializer=Uniform(1, 1))", "low must be below high, got low=1 and high=1"),
        ("Dense(3, initializer=Uniform('a', 1))", "low must be a finite number, got 'a'"),
        ("Dense(3, initializer=Constant(True))", "value must be a finite number, got True"),
        ("Dense(3, initializer=Orthogonal(0))", "gain must be a number above 0, got 0"),
        ("Dense(3, initializer=Identity(-1))", "gain must be a number above 0, got -1"),
        ("Dense(3, initializer=GlorotNormal('a'))", "gain must be a number above 0, got 'a'"),
        ("Dense(3, initializer=Normal(1e300))", "std must be a number above 0 and of at most 3.403e+38, got 1e+300"),
        ("Dense(3, initializer=TruncatedNormal(1e39))", "std must be a number above 0 and of at most 3.403e+38, got"),
        ("Dense(3, initializer=Identity(1e39))", "gain must be a number above 0 and of at most 3.403e+38, got 1e+39"),
        ("Dense(3, initializer=Orthogonal(1e300))", "gain must be a number above 0 and of at most 3.403e+38, got"),
        ("Dense(3, initializer=GlorotUniform(1e200))", "gain must be a number above 0 and of at most 3.403e+38, got"),
        ("Dense(3, initializer=HeNormal(fan='both'))", "fan must be one of 'in', 'out', got 'both'"),
        ("Dense(3, initializer=HeUniform(None))", "slope must be a finite number, got None"),
    ],
)
def test_what_is_wrong_is_named(expression: str, message: str) -> None:
    with pytest.raises(CnnkitError) as caught:
        installed_catalog().build("layer", expression)
    assert message in str(caught.value)


@pytest.mark.parametrize("initializer", [Identity(), Orthogonal()])
def test_scales_of_channels_have_no_matrix(initializer: Initializer) -> None:
    with pytest.raises(ShapeError, match=r"is for weights with two axes or more, got \(5,\); use Constant\(1\) for"):
        initializer.make(Weights((5,), 1, 1), rng())


class Bad(Initializer):
    """Gives what it should not."""

    def __init__(self, how: str) -> None:
        self.how = how

    def values(self, weights: Weights, rng: np.random.Generator) -> Array:
        given: dict[str, Any] = {
            "shape": np.zeros(3),
            "nan": np.full(weights.shape, np.nan),
            "list": [0.0],
            "complex": np.zeros(weights.shape, complex),
            "infinite": np.full(weights.shape, -np.inf),
            "large": np.full(weights.shape, 1e39),
            "one nan": np.array([[0.0, np.nan, 1.0]] * 4),
        }
        return cast(Array, given[self.how])


@pytest.mark.parametrize("how", ["shape", "nan", "list", "complex", "infinite", "large", "one nan"])
def test_an_initializer_keeps_its_contract(how: str) -> None:
    with pytest.raises(
        ComponentError, match=r"must give 12 numbers of shape \(4, 3\), finite in float32; values\(\) gave "
    ):
        Sequential([Dense(4, initializer=Bad(how))], (3,))


@pytest.mark.parametrize("initializer", ["Normal(3e38)", "TruncatedNormal(3e38)"])
def test_no_weight_becomes_infinite_in_float32(initializer: str) -> None:
    with pytest.raises(ComponentError, match=r"must give 200 numbers of shape \(200, 1\), finite in float32"):
        Sequential([f"Dense(200, initializer={initializer})"], (1,))
    assert np.isfinite(Sequential(["Dense(200, initializer=Constant(3.4e38))"], (1,)).state()["dense_1.weight"]).all()


@pytest.mark.parametrize(
    "end",
    [
        "Conv2D(4, 3, padding=1, initializer=Zeros())",
        "BatchNorm2D(initializer=Zeros())",
        "GroupNorm(2, initializer=Zeros())",
        "LayerNorm(initializer=Constant(0))",
        "RMSNorm('channels', initializer=Zeros())",
        "InstanceNorm2D(affine=True, initializer=Zeros())",
    ],
)
def test_zeros_at_the_end_of_a_branch_make_it_the_identity(end: str) -> None:
    branch = f"Residual(Conv2D(4, 3, padding=1), ReLU(), {end})"
    model = Sequential([branch], (4, 5, 5))
    x = rng().normal(size=(2, 4, 5, 5)).astype(np.float32)
    np.testing.assert_array_equal(model.outputs(x), x)


def test_files_keep_the_expression(tmp_path: Path) -> None:
    layers = ["Conv2D(3, 3, initializer=HeNormal(slope=0.1))", "Flatten()", "Dense(2, initializer=Orthogonal())"]
    model = Sequential(layers, (1, 5, 5))
    version = Registry(tmp_path).save(model, "started")
    again = load_model(version.ref, registry=tmp_path)
    assert again.expressions() == model.expressions() == layers
    for name, array in model.state().items():
        np.testing.assert_array_equal(again.state()[name], array)
    origins = Registry(tmp_path).read(version.ref).manifest.components
    assert {name: one.distribution for name, one in origins.items()} == dict.fromkeys(
        ["Conv2D", "Dense", "Flatten", "HeNormal", "Orthogonal"], "cnnkit"
    )


class Ramp(Initializer):
    """From 0 to 1."""

    def values(self, weights: Weights, rng: np.random.Generator) -> Array:
        return np.linspace(0, 1, math.prod(weights.shape)).reshape(weights.shape)


def test_one_from_a_notebook_is_given_to_who_loads(tmp_path: Path) -> None:
    model = Sequential([Dense(4, initializer=Ramp())], (3,))
    assert model.state()["dense_1.weight"][0, 1] == pytest.approx(1 / 11)
    version = Registry(tmp_path).save(model, "ramp")
    with pytest.raises(RegistryError, match="it needs Ramp, which did not come from a plugin; give its class"):
        load_model(version.ref, registry=tmp_path)
    again = load_model(version.ref, registry=tmp_path, components=[Ramp])
    assert again.expressions() == ["Dense(4, initializer=Ramp())"]


def test_a_file_draws_nothing() -> None:
    """What it holds takes the place of weights at once: no initializer is asked, and none makes more than there is."""
    model = Sequential([Dense(4, initializer=Bad("nan"))], (3,), limit=16)
    assert not model.state()["dense_1.weight"].any()
    with pytest.raises(ShapeError, match="it asks for 1,000,000,000 numbers, more than remain of the 16"):
        Sequential([Dense(10**9, initializer=Constant(1))], (1,), limit=16)


class OfMine(Layer):
    """A layer of a plugin, with an initializer at any place."""

    def __init__(self, start: Initializer, initializer: Initializer = GLOROT_UNIFORM) -> None:
        self.start = start
        self.initializer = initializer

    argument_kinds = {"start": "initializer", "initializer": "initializer"}  # noqa: RUF012  # as a plugin writes it

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        self.params = {"weight": self.start.make(Weights(in_shape, 1, 1), rng)}
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Any]:
        return x, None


def test_layers_and_initializers_of_plugins() -> None:
    class Provided:
        @hookimpl
        def cnnkit_layers(self) -> list[type[Layer | Merge]]:
            return [OfMine]

        @hookimpl
        def cnnkit_initializers(self) -> list[type[Component]]:
            return [Ramp]

    catalog = Catalog([*installed_plugins(), Plugin("mine", "1", "mine", Provided)])
    layer = cast(OfMine, catalog.build("layer", "OfMine(Ramp(), Zeros())"))
    assert (layer.start, layer.initializer) == (Ramp(), Zeros())
    assert repr(catalog.build("layer", repr(layer))) == "OfMine(Ramp(), initializer=Zeros())"
    with pytest.raises(ConfigError, match="expected an initializer, got ReLU"):
        catalog.build("initializer", installed_catalog().build("layer", "ReLU()"))
