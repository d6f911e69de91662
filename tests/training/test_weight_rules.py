"""Penalties and constraints of weights: their values, by any workers, in any session, and when resumed."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from cnnkit import Graph, Run, Sequential, Trainer, load_recipe
from cnnkit.components import Layer
from cnnkit.errors import ConfigError
from cnnkit.layers import ConvTranspose2D, Dense, WeightNorm
from cnnkit.metrics import Accuracy
from cnnkit.network import Network
from cnnkit.network.execution.weight_rules import Penalties
from cnnkit.training.checkpoint import Checkpoints
from cnnkit.training.constraints import max_norm, non_negative, unit_norm
from cnnkit.training.groups import groups_of
from cnnkit.types import Array, Samples
from tests.training.test_checkpoint import InMemory, StopsAfter
from tests.training.test_gradient_method import Differences

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 1, 6, 6), np.float32)
Y = RNG.integers(0, 3, 300)
LAYERS = ["Conv2D(4, 3, padding=1)", "BatchNorm2D()", "ReLU()", "Conv2D(2, 3)", "Flatten()", "Dense(3)"]
RULES: dict[str, Any] = {
    "l1": {"conv*": 0.01},
    "l2": {"*.weight": 0.02, "dense_1.bias": 0.1},
    "max_norm": {"conv2d_2": 0.3, "dense*": 0.5},
    "non_negative": "conv2d_1",
}


def network() -> Sequential:
    return Sequential(LAYERS, (1, 6, 6))


def fit(model: Network | None = None, **options: Any) -> Run:
    given: dict[str, Any] = {
        "optimizer": "SGD(0.1, momentum=0.9)",
        "epochs": 2,
        "batch_size": 150,
        "workers": 1,
        "progress": False,
    }
    return Trainer(**given | options).fit(model or network(), (X, Y))


def gradient(
    batches: tuple[Array, ...] = (np.arange(150),), **options: Any
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The gradient of the first step, of one batch or several, and the weights."""
    from cnnkit.training.steps import accumulated

    model = network()
    trainer = Trainer(batch_size=150, workers=1, progress=False, **options)
    with trainer.session(model, Samples(X, Y)) as session:
        accumulated(session, batches, (0, 0, 0))
        views = {
            f"{model.nodes[entry.node].name}.{entry.name}": model.parameters.view(session.gradient.copy(), entry)
            for entry in model.parameters
        }
    return views, model.state()


def same(one: Run, other: Run) -> bool:
    states = one.model.state(), other.model.state()
    return all((array == states[1][name]).all() for name, array in states[0].items()) and all(
        one.history[name] == other.history[name] for name in ("loss", "penalty") if name in one.history
    )


@pytest.mark.parametrize("batches", [(np.arange(150),), (np.arange(100), np.arange(100, 250))])
@pytest.mark.parametrize("method", [None, Differences()])
def test_the_gradient_has_the_penalties_once(batches: tuple[Array, ...], method: Any) -> None:
    plain, _ = gradient(batches, gradient=method)
    penalized, weights = gradient(batches, gradient=method, l1=RULES["l1"], l2=RULES["l2"])
    for name, value in plain.items():
        l1 = 0.01 if name in ("conv2d_1.weight", "conv2d_2.weight") else 0.0
        l2 = 0.02 if name.endswith("weight") else 0.1 if name == "dense_1.bias" else 0.0
        expected = value + l1 * np.sign(weights[name]) + 2 * l2 * weights[name]
        np.testing.assert_allclose(penalized[name], expected, rtol=1e-5, atol=1e-6)


def test_the_gradient_is_that_of_the_penalty() -> None:
    model = Sequential(LAYERS, (1, 6, 6), dtype="float64")
    penalties = Penalties(model.parameters, groups_of(model, Trainer(l1=RULES["l1"], l2=RULES["l2"])))
    vector = model.parameters.vector
    found, numeric = np.zeros_like(vector), np.zeros_like(vector)
    penalties.add(found, slice(0, vector.size))
    for place in range(vector.size):
        values = []
        for step in (1e-6, -2e-6):
            vector[place] += step
            values.append(penalties.value())
        vector[place] += 1e-6
        numeric[place] = (values[0] - values[1]) / 2e-6
    kinked = np.abs(vector) < 1e-5
    np.testing.assert_allclose(found[~kinked], numeric[~kinked], rtol=1e-6, atol=1e-8)


def test_the_penalty_stands_in_the_history_and_the_loss_is_without_it() -> None:
    run, plain = fit(l1=RULES["l1"], l2=RULES["l2"], epochs=1, batch_size=300), fit(epochs=1, batch_size=300)
    assert run.history["loss"] == plain.history["loss"]  # of the only step, before its update
    assert "penalty" not in plain.history
    state = {name: array.astype(np.float64) for name, array in run.model.state().items()}
    l1 = sum(np.abs(state[name]).sum() for name in ("conv2d_1.weight", "conv2d_2.weight"))
    l2 = sum(np.square(array).sum() for name, array in state.items() if name.endswith(".weight"))
    expected = 0.01 * l1 + 0.02 * l2 + 0.1 * np.square(state["dense_1.bias"]).sum()
    assert run.history["penalty"] == pytest.approx([expected], rel=1e-12)


def test_plain_gradient_descent_with_l2_is_weight_decay_twice_as_large() -> None:
    ours = fit(optimizer="SGD(0.1)", l2={"*.weight": 0.01})
    decayed = fit(optimizer="SGD(0.1, weight_decay=0.02)", decay="weights")
    for name, value in decayed.model.state().items():
        np.testing.assert_allclose(ours.model.state()[name], value, rtol=1e-4, atol=1e-6)


def test_without_a_gradient_of_the_loss_l1_makes_weights_exactly_as_much_smaller() -> None:
    model = network()
    before = model.state()
    with Trainer(l1=["*=0.5"], workers=1, optimizer="SGD(0.01)", progress=False).session(
        model, Samples(X, Y)
    ) as session:
        session.gradient[...] = 0
        session.end_gradient(0)
        session.update(0.01, 1)
    for name, array in model.state().items():
        expected = before[name] - 0.005 * np.sign(before[name]) * name.endswith("weight")
        np.testing.assert_allclose(array, expected, rtol=1e-6)


def test_constraints_hold_after_each_update() -> None:
    run = fit(max_norm=RULES["max_norm"], non_negative="conv2d_1")
    state = run.model.state()
    assert state["conv2d_1.weight"].min() == 0
    for name, limit in (("conv2d_2.weight", 0.3), ("dense_1.weight", 0.5)):
        norms = np.sqrt(np.square(state[name], dtype=np.float64).reshape(len(state[name]), -1).sum(axis=1))
        assert norms.max() <= limit * (1 + 1e-6)
        assert norms.max() > 0.9 * limit
    norms = np.linalg.norm(fit(unit_norm=["conv2d_1", "dense_1.weight"]).model.state()["dense_1.weight"], axis=1)
    np.testing.assert_allclose(norms, 1, rtol=1e-6)


NORMED = ["WeightNorm(Conv2D(4, 3, padding=1))", "ReLU()", "Flatten()", "WeightNorm(Dense(3))"]


def computed_norms(model: Network, place: int) -> Array:
    """Of the weights of each unit by which a layer computes."""
    layer = model.nodes[place].layer
    assert isinstance(layer, WeightNorm)
    weight = layer.computed().weight
    norms: Array = np.linalg.norm(weight.reshape(len(weight), -1).astype(np.float64), axis=1)
    return norms


@pytest.mark.parametrize("end", ["", ".weight_g", ".weight_v", ".weight*"])
def test_norms_of_weight_norm_are_those_of_the_weights_that_it_computes_with(end: str) -> None:
    options = {"optimizer": "SGD(0.5)", "max_norm": {f"weight_norm_1{end}": 0.3}, "unit_norm": f"weight_norm_2{end}"}
    run, free = fit(Sequential(NORMED, (1, 6, 6)), **options), fit(Sequential(NORMED, (1, 6, 6)), optimizer="SGD(0.5)")
    assert computed_norms(free.model, 0).min() > 0.3
    assert computed_norms(run.model, 0).max() <= 0.3 * (1 + 1e-6)
    assert computed_norms(run.model, 0).min() > 0.2  # each by itself
    np.testing.assert_allclose(computed_norms(run.model, 3), 1, rtol=1e-6)


def test_a_norm_of_weight_norm_keeps_its_sign_and_its_bias_is_one_unit() -> None:
    layer, norms, bias = WeightNorm(Dense(3)), np.array([-2.0, 0.0, 0.5]), np.array([3.0, 4.0])
    unit_norm(layer, "weight_g")(norms)
    max_norm(layer, "bias", 1.0)(bias)
    np.testing.assert_allclose(norms, [-1, 0, 1])
    np.testing.assert_allclose(bias, [0.6, 0.8])


@pytest.mark.parametrize(
    ("layer", "options", "text"),
    [
        ("WeightNorm(Dense(3))", {"non_negative": "*"}, "non_negative does not reach the weights that weight_norm_1"),
        ("WeightNorm(Dense(3))", {"l1": {"*": 0.1}}, "l1 does not reach the weights that weight_norm_1 computes with"),
        (
            "WeightNorm(Dense(3))",
            {"l2": {"*.weight_v": 0.1}},
            "l2 does not reach the weights that weight_norm_1 computes with: of weight_v WeightNorm takes the "
            "direction alone, and their norms from weight_g; name 'weight_norm_1.weight_g' for these, or other layers",
        ),
        *(
            ("WeightStandardization(Dense(3))", options, f"{next(iter(options))} has no effect on weight_standard")
            for options in (
                {"max_norm": {"*": 1.0}},
                {"unit_norm": "*"},
                {"non_negative": "*.weight"},
                {"l1": {"*": 0.1}},
                {"l2": {"*": 0.1}},
            )
        ),
        (
            "WeightNorm(WeightStandardization(Dense(3)))",
            {"max_norm": {"*.weight_g": 1.0}},
            "max_norm has no effect on weight_norm_1: WeightStandardization gives the weights of each unit mean 0 and "
            "variance 1, whatever weight_g is; name other layers",
        ),
    ],
)
def test_rules_without_an_effect_on_what_is_computed_are_refused(
    layer: str, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        fit(Sequential(["Flatten()", layer], (1, 6, 6)), **options)
    assert text in str(caught.value)
    assert fit(Sequential(["Flatten()", layer], (1, 6, 6)), epochs=1, l2={"*.bias": 0.1}).history["penalty"]


def test_l2_of_the_lengths_of_weight_norm_is_that_of_the_weights_that_it_computes_with() -> None:
    model = Sequential(["Flatten()", "WeightNorm(Dense(3))"], (1, 6, 6))
    expected = 0.1 * np.square(computed_norms(model, 1)).sum()
    run = fit(model, epochs=1, batch_size=300, optimizer="SGD(1e-12)", l2={"*.weight_g": 0.1})
    assert run.history["penalty"] == pytest.approx([expected], rel=1e-6)


@pytest.mark.parametrize("shape", [(3, 5), (3, 2, 3, 3), (4,)])
def test_a_norm_is_that_of_pytorch(shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    weights = np.random.default_rng(1).normal(size=shape)
    rows = torch.tensor(weights if len(shape) > 1 else weights[None])
    expected = torch.renorm(rows, 2, 0, 1.2).numpy().reshape(shape)
    max_norm(Dense(3), "weight", 1.2)(weights)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_filter_of_a_transposed_convolution_is_a_unit(groups: int) -> None:
    """Its norm is that of what a single filter does: all other outputs stay as they were."""
    layer = ConvTranspose2D(4, 3, groups=groups)
    layer.build((6, 5, 5), np.random.default_rng(0))
    weights = layer.params["weight"]
    before = weights.copy()
    unit_norm(layer, "weight")(weights)
    for unit in range(4):
        group, column = divmod(unit, 4 // groups)
        own = np.s_[group * 6 // groups : (group + 1) * 6 // groups, column]
        np.testing.assert_allclose(np.linalg.norm(weights[own]), 1, rtol=1e-12)
        np.testing.assert_allclose(weights[own], before[own] / np.linalg.norm(before[own]), rtol=1e-12)


def test_what_is_allowed_stays_bit_for_bit_and_zeros_stay_zeros() -> None:
    weights = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    weights[1] = 0
    kept = weights.copy()
    max_norm(Dense(3), "weight", 100.0)(weights)
    np.testing.assert_array_equal(weights, kept)
    unit_norm(Dense(3), "weight")(weights)
    assert not weights[1].any()
    non_negative(weights)
    assert (weights >= 0).all()


@pytest.mark.parametrize("options", [RULES, {"unit_norm": "*", "l2": {"*": 0.1}}, RULES | {"accumulate": 2}])
def test_the_number_of_workers_changes_nothing(options: dict[str, Any]) -> None:
    alone = fit(**options)
    for workers in (2, 3):
        assert same(alone, fit(**options, workers=workers))


def test_an_interrupted_training_goes_on_to_the_same_bits() -> None:
    whole = fit(**RULES)
    store, progress = InMemory(), StopsAfter(3)
    options: dict[str, Any] = RULES | {
        "optimizer": "SGD(0.1, momentum=0.9)",
        "epochs": 2,
        "batch_size": 150,
        "workers": 1,
    }
    Trainer(**options, progress=progress).fit(network(), (X, Y), stop=progress.request, checkpoints=Checkpoints(store))
    resumed = Checkpoints(store, resume=True)
    assert same(whole, Trainer(**options, progress=False).fit(network(), (X, Y), checkpoints=resumed))
    with pytest.raises(ConfigError, match="the checkpoint belongs to another training"):
        Trainer(**options | {"l2": None}, progress=False).fit(network(), (X, Y), checkpoints=resumed)


def test_what_is_frozen_is_neither_penalized_nor_held() -> None:
    before = network().state()
    run = fit(freeze="conv*", l1={"*": 0.1}, max_norm={"*": 0.01}, clip_norm=1.0)
    for name, array in run.model.state().items():
        if name.startswith("conv"):
            np.testing.assert_array_equal(array, before[name])
    assert np.linalg.norm(run.model.state()["dense_1.weight"], axis=1).max() <= 0.01 * (1 + 1e-6)


def test_of_nodes_that_share_a_layer_each_may_name_it() -> None:
    def moved(**options: Any) -> dict[str, Array]:
        shared = Dense(8)
        nodes: dict[str, Any] = {"flat": "Flatten()", "one": shared, "relu": "ReLU()", "two": shared, "out": "Dense(3)"}
        model = Graph(nodes, (1, 2, 4))
        Trainer(optimizer="SGD(0.1)", epochs=1, batch_size=300, progress=False, **options).fit(
            model, (X[:, :, :2, :4], Y)
        )
        return model.state()

    first, second, both = (
        moved(l2=dict.fromkeys(names, 0.1), max_norm=dict.fromkeys(names, 0.5))
        for names in (["one"], ["two"], ["one", "two"])
    )
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
        np.testing.assert_array_equal(array, both[name])
    assert np.linalg.norm(first["one.weight"], axis=1).max() <= 0.5 * (1 + 1e-6)
    assert (
        moved(max_norm={"two": 0.5}, freeze="one")["one.weight"].tolist() == moved(freeze="one")["one.weight"].tolist()
    )


def test_recipes_keep_them() -> None:
    recipe = load_recipe("digits", {"train.l2": ["*.weight=0.0001"], "train.max_norm": ["dense*=3"], "train.epochs": 1})
    kept = recipe.to_dict()["train"]
    assert (kept["l2"], kept["max_norm"]) == (["*.weight=0.0001"], ["dense*=3"])
    trainer = Trainer(l2={"*.weight": 1e-4}, max_norm={"dense*": 3}, non_negative="conv2d_1")
    assert trainer.recipe()["l2"] == ["*.weight=0.0001"]
    assert Trainer(**trainer.recipe()).recipe() == trainer.recipe()


class Penalty(Accuracy):
    """A metric with the name of the penalty."""


def test_a_metric_may_not_be_called_as_the_penalty() -> None:
    assert "penalty" in fit(metrics=[Penalty()]).history
    with pytest.raises(ConfigError, match="a metric is named 'penalty', as what l1 and l2 add to the history: give it"):
        fit(metrics=[Penalty()], l2={"*": 0.1})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"l1": {"dense_7": 0.1}},
            "l1: no layer is named 'dense_7'; those with parameters are conv2d_1, batch_norm2d_1",
        ),
        ({"l2": {"relu_1": 0.1}}, "l2: no layer is named 'relu_1'; those"),
        ({"l2": {"batch_norm2d_1": 0.1}}, "l2: no layer is named 'batch_norm2d_1'; those"),
        ({"l2": ["conv*"]}, "l2 must be factors above 0, such as {'conv*': 0.1} or 'conv*=0.1', got 'conv*'"),
        ({"l1": {"conv*": 0}}, "l1 must be factors above 0, such as"),
        ({"l1": 0.1}, "l1 must be a list, such as [0.1], got 0.1"),
        ({"max_norm": {"conv*": -1}}, "max_norm must be limits above 0, such as {'conv*': 0.1} or"),
        ({"max_norm": {"conv*": "inf"}}, "max_norm must be a number, 0 or above, got inf"),
        ({"unit_norm": []}, "unit_norm must be names of layers, or patterns such as 'conv*', got []"),
        ({"unit_norm": "x*"}, "unit_norm: no layer is named 'x*'"),
        ({"non_negative": [3]}, "non_negative must be names of layers, or patterns such as 'conv*', got [3]"),
        ({"unit_norm": "dense*", "average": 0.9}, "unit_norm and a mean of weights do not go together: the mean of"),
        ({"unit_norm": "dense*", "average_epochs": 0.5}, "unit_norm and a mean of weights do not go together"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fit(**options)
    assert text in str(caught.value)


def test_by_unit_covers_every_weight_once() -> None:
    for layer, shape in ((Dense(3), (4,)), (ConvTranspose2D(6, (2, 3), groups=3), (9, 4, 4))):
        one = cast(Layer, layer)
        one.build(shape, np.random.default_rng(0))
        view, axes = one.by_unit(one.params["weight"])
        assert np.shares_memory(view, one.params["weight"])
        units = view.size // int(np.prod([view.shape[axis] for axis in axes]))
        assert units == (layer.units if isinstance(layer, Dense) else layer.filters)
