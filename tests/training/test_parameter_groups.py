"""Groups of parameters that a training freezes, moves more slowly, or decays less.

For each optimizer, any number of workers, and when resumed.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
import pytest

from cnnkit import Graph, Run, Sequential, Trainer
from cnnkit.components import Optimizer
from cnnkit.errors import ConfigError
from cnnkit.layers import BatchNorm2D, Dense
from cnnkit.network import Network
from cnnkit.network.execution.parameter_groups import ParameterGroups
from cnnkit.training.checkpoint import Checkpoints
from cnnkit.training.groups import groups_of
from cnnkit.types import Array, Samples
from tests.training.test_checkpoint import InMemory, StopsAfter
from tests.training.test_gradient_method import Differences

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 1, 6, 6), np.float32)
Y = RNG.integers(0, 3, 300)
LAYERS = ["Conv2D(4, 3, padding=1)", "BatchNorm2D()", "ReLU()", "Conv2D(2, 3)", "Flatten()", "Dense(3)"]
STEPS = 200
FROZEN = ("conv2d_1", "batch_norm2d_1")
OPTIMIZERS = ("SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1)", "Adam(0.01, weight_decay=0.1)", "AdamW(0.01)")


def network() -> Sequential:
    model = Sequential(LAYERS, (1, 6, 6))
    model.nodes[1].layer.buffers["running_var"][...] = 2.0
    return model


def fit(model: Network | None = None, **options: Any) -> Run:
    given: dict[str, Any] = {
        "freeze": FROZEN,
        "epochs": 2,
        "batch_size": 150,
        "workers": 1,
        "progress": False,
    } | options
    return Trainer(**given).fit(model or network(), (X, Y))


def moved(before: dict[str, Array], after: dict[str, Array]) -> set[str]:
    return {name for name, array in after.items() if (array != before[name]).any()}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_is_frozen_keeps_its_bits(optimizer: str) -> None:
    before = network().state()
    after = fit(optimizer=optimizer, clip_norm=1.0, average=0.9).model.state()
    rest = {f"{name}.{part}" for name in ("conv2d_2", "dense_1") for part in ("weight", "bias")}
    assert moved(before, after) == rest
    assert moved(before, fit(optimizer=optimizer, freeze=None).model.state()) == set(before)


@pytest.mark.parametrize("frozen", [FROZEN, ("conv*", "batch*"), ("dense*",), ("batch*",)])
def test_what_is_frozen_keeps_its_bits_without_backpropagation(frozen: tuple[str, ...]) -> None:
    """And the others move as with backpropagation, by which clipping too counts what is trained alone."""
    before = network().state()
    options: dict[str, Any] = {"freeze": frozen, "optimizer": "SGD(0.1, momentum=0.9)", "clip_norm": 0.1}
    backpropagation = fit(**options).model.state()
    after = fit(**options, gradient=Differences()).model.state()
    assert moved(before, after) == moved(before, backpropagation)
    for name, value in backpropagation.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_rates_of_layers_hold_without_backpropagation(optimizer: str) -> None:
    before = network().state()
    whole, part = (
        fit(gradient=Differences(), optimizer=optimizer, layer_rates=rates, freeze="batch*", epochs=1, batch_size=300)
        for rates in (None, {"conv2d_2": 0.25})
    )
    for name, start in before.items():
        factor = 0.25 if name.startswith("conv2d_2") else 1
        expected = start + factor * (whole.model.state()[name] - start)
        np.testing.assert_allclose(part.model.state()[name], expected, rtol=1e-5, atol=1e-6)


def test_to_freeze_everything_is_refused_before_a_gradient_method_works() -> None:
    class Never(Differences):
        def gradient(self, *given: Any) -> Array:
            raise AssertionError("it was asked")

    with pytest.raises(ConfigError, match="every layer with parameters is frozen, so there is nothing to train"):
        fit(freeze="*", gradient=Never())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_number_of_workers_changes_nothing(optimizer: str) -> None:
    options: dict[str, Any] = {"optimizer": optimizer, "layer_rates": {"conv2d_2": 0.5}}
    alone = fit(**options)
    for workers in (2, 3):
        run = fit(**options, workers=workers)
        assert run.history["loss"] == alone.history["loss"]
        assert not moved(alone.model.state(), run.model.state())


def test_a_frozen_normalisation_computes_as_in_prediction() -> None:
    """With every layer before the last one frozen, the last one learns from what prediction gives it."""
    model = network()
    features = Sequential(LAYERS[:-1], (1, 6, 6))
    features.load_state({name: value for name, value in model.state().items() if not name.startswith("dense")})
    head = Sequential(["Dense(3)"], (32,))
    head.load_state({name: value for name, value in model.state().items() if name.startswith("dense")})
    options: dict[str, Any] = {"optimizer": "SGD(0.1)", "epochs": 2, "batch_size": 150, "workers": 1, "progress": False}
    Trainer(**options).fit(head, (features.outputs(X), Y))
    run = fit(model, freeze=["conv*", "batch*"], optimizer="SGD(0.1)")
    for name, value in head.state().items():
        np.testing.assert_allclose(run.model.state()[name], value, rtol=1e-4, atol=1e-6)


def test_a_rate_is_that_of_the_layer() -> None:
    before = network().state()
    steps = {}
    for factor in (1.0, 0.25):
        run = fit(freeze=None, layer_rates=[f"conv2d_1={factor}"], optimizer="SGD(0.01)", epochs=1, batch_size=300)
        steps[factor] = {name: run.model.state()[name] - value for name, value in before.items()}
    np.testing.assert_allclose(
        steps[0.25]["conv2d_1.weight"], 0.25 * steps[1.0]["conv2d_1.weight"], rtol=1e-3, atol=1e-7
    )
    assert (steps[0.25]["dense_1.weight"] == steps[1.0]["dense_1.weight"]).all()


def test_a_frozen_layer_takes_no_part_in_clipping() -> None:
    before = network().state()
    after = fit(optimizer="SGD(1.0)", clip_norm=0.01, epochs=1, batch_size=300).model.state()
    length = np.sqrt(sum(float(((after[name] - before[name]) ** 2).sum()) for name in before))
    assert length == pytest.approx(0.01, rel=1e-3)


def test_an_interrupted_training_goes_on_to_the_same_bits() -> None:
    whole = fit(optimizer=OPTIMIZERS[0])
    store, progress = InMemory(), StopsAfter(3)
    options: dict[str, Any] = {
        "freeze": FROZEN,
        "epochs": 2,
        "batch_size": 150,
        "workers": 1,
        "optimizer": OPTIMIZERS[0],
    }
    Trainer(**options, progress=progress).fit(network(), (X, Y), stop=progress.request, checkpoints=Checkpoints(store))
    resumed = Checkpoints(store, resume=True)
    run = Trainer(**options, progress=False).fit(network(), (X, Y), checkpoints=resumed)
    assert not moved(whole.model.state(), run.model.state())
    with pytest.raises(ConfigError, match="the checkpoint belongs to another training"):
        Trainer(**options | {"freeze": None}, progress=False).fit(network(), (X, Y), checkpoints=resumed)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"freeze": "dense_7"},
            "freeze: no layer is named 'dense_7'; those with parameters are conv2d_1, batch_norm2d_1",
        ),
        ({"freeze": "*"}, "freeze: every layer with parameters is frozen, so there is nothing to train"),
        ({"layer_rates": ["conv*"]}, "layer_rates must be factors above 0, such as {'conv*': 0.1} or"),
        ({"layer_rates": {"conv*": -1}}, "layer_rates must be factors above 0"),
        ({"freeze": []}, "freeze must be names of layers, or patterns such as 'conv*', got []"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fit(**options)
    assert text in str(caught.value)


def twins(**options: Any) -> tuple[dict[str, Array], dict[str, Array]]:
    """The parameters before and after a step of a graph, two nodes of which share a layer."""
    shared = Dense(8)
    nodes: dict[str, Any] = {"flat": "Flatten()", "one": shared, "relu": "ReLU()", "two": shared, "out": "Dense(3)"}
    model = Graph(nodes, (1, 2, 4))
    before = model.state()
    Trainer(optimizer="SGD(0.1)", epochs=1, batch_size=300, progress=False, **options).fit(model, (X[:, :, :2, :4], Y))
    return before, model.state()


def test_a_shared_layer_follows_its_rate_once() -> None:
    before, full = twins()
    _, slow = twins(layer_rates={"one": 0.5, "two": 0.5})
    for name, array in before.items():
        share = 0.5 if name.startswith("one") else 1.0
        np.testing.assert_allclose(slow[name] - array, share * (full[name] - array), rtol=1e-4, atol=1e-7)
    _, frozen = twins(layer_rates={"one": 0.5}, freeze="two")
    assert moved(before, frozen) == {"out.weight", "out.bias"}


def test_a_shared_layer_that_is_frozen_keeps_its_statistics() -> None:
    shared = BatchNorm2D()
    nodes: dict[str, Any] = {"one": shared, "relu": "ReLU()", "two": shared, "flat": "Flatten()", "out": "Dense(3)"}
    model = Graph(nodes, (1, 6, 6))
    before = model.state()
    fit(model, freeze="two")
    assert moved(before, model.state()) == {"out.weight", "out.bias"}


def update(step: int, rule: Optimizer, params: Array, grads: Array, slots: dict[str, Array]) -> None:
    rule.update(params, grads, slots, rule.lr, step)


def moved_apart(optimizer: str, workers: int, rates: dict[str, float], decays: dict[str, float]) -> dict[str, Array]:
    """The parameters of the network after 200 steps with random gradients, cut up as between workers."""
    model = network()
    groups = groups_of(model, Trainer(optimizer=optimizer, layer_rates=rates or None, layer_decays=decays or None))
    rule = Trainer(optimizer=optimizer).optimizer
    parameters = model.parameters
    mover, vector, rng = ParameterGroups(parameters, rule, groups), parameters.vector, np.random.default_rng(0)
    state = {name: np.zeros_like(vector) for name in rule.slots()}
    bounds = np.linspace(0, vector.size, workers + 1).astype(int)
    for step in range(1, STEPS + 1):
        gradient = rng.normal(size=vector.size).astype(np.float32)
        for part in (slice(*pair) for pair in itertools.pairwise(bounds)):
            slots = {name: slot[part] for name, slot in state.items()}
            mover.move(part, vector[part], gradient[part], slots, functools.partial(update, step))
    return model.state()


@pytest.mark.parametrize(
    ("optimizer", "theirs"),
    [
        ("SGD(0.01, momentum=0.9, weight_decay=0.5)", "SGD(groups, 0.01, momentum=0.9)"),
        ("AdamW(0.01, weight_decay=0.5)", "AdamW(groups, 0.01)"),
        ("Adam(0.01, weight_decay=0.5)", "Adam(groups, 0.01)"),
        ("Lion(0.01, weight_decay=0.5)", ""),
    ],
)
def test_groups_are_those_of_pytorch(optimizer: str, theirs: str) -> None:
    rates = {"conv2d_1": 0.1, "*.bias": 0.5}
    decays = {"*": 1.0, "*.bias": 0.0, "conv2d_2.weight": 0.25}
    ours = moved_apart(optimizer, 1, rates, decays)
    for workers in (2, 3):
        assert not moved(ours, moved_apart(optimizer, workers, rates, decays))
    if not theirs:
        return
    torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    model, rng = network(), np.random.default_rng(0)
    groups, tensors = [], {}
    for node in model.nodes:
        for name, array in node.layer.params.items():
            tensors[f"{node.name}.{name}"] = tensor = torch.tensor(array.ravel(), requires_grad=True)
            decay = 0.0 if name == "bias" else 0.25 if f"{node.name}.{name}" == "conv2d_2.weight" else 1.0
            rate = 0.5 if name == "bias" else 0.1 if node.name == "conv2d_1" else 1.0
            groups.append({"params": [tensor], "lr": 0.01 * rate, "weight_decay": 0.5 * decay})
    rule = eval(f"torch.optim.{theirs}", {"torch": torch, "groups": groups})
    for _ in range(STEPS):
        gradient, start = rng.normal(size=model.parameters.vector.size).astype(np.float32), 0
        for tensor in tensors.values():
            tensor.grad = torch.tensor(gradient[start : start + tensor.numel()])
            start += tensor.numel()
        rule.step()
    for name, tensor in tensors.items():
        expected = tensor.detach().numpy()
        assert np.abs(ours[name].ravel() - expected).max() <= 1e-5 * np.abs(expected).max()


def test_one_switch_keeps_biases_and_normalisations_from_decay() -> None:
    """Without a gradient, a parameter shrinks by its decay alone."""
    model = network()
    trainer = Trainer(optimizer="SGD(0.1, weight_decay=1.0)", decay="weights", workers=1, batch_size=10, progress=False)
    for node in model.nodes:
        for array in node.layer.params.values():
            array += 1.0
    before = model.state()
    with trainer.session(model, Samples(X, Y)) as session:
        session.update(0.1, 1)
    after = model.state()
    for name in before:
        factor = 0.9 if name.endswith("weight") else 1.0
        np.testing.assert_allclose(after[name], factor * before[name], rtol=1e-6)
    assert {name.rpartition(".")[2] for name in before} >= {"weight", "bias", "gamma", "beta"}


def test_single_parameters_can_be_frozen() -> None:
    before = network().state()
    after = fit(freeze=["*.bias", "dense_1.weight"]).model.state()
    assert not any(name.endswith(".bias") or name == "dense_1.weight" for name in moved(before, after))
    assert "batch_norm2d_1.running_mean" in moved(before, after)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"decay": "all"}, "decay must be one of 'weights', got 'all'"),
        (
            {"layer_decays": ["*.bias"]},
            "layer_decays must be factors, 0 or above, such as {'conv*': 0.1} or",
        ),
        ({"layer_decays": {"*.bias": -1}}, "layer_decays must be factors, 0 or above"),
        ({"layer_rates": {"*.bias": 0}}, "layer_rates must be factors above 0"),
        (
            {"decay": "weights", "optimizer": "SGD(0.1)"},
            "decay has no effect: SGD(lr=0.1) has no weight decay; give it one, such as AdamW(weight_decay=0.01), or",
        ),
        (
            {"layer_decays": {"*.bias": 0}, "optimizer": "Adam()"},
            "layer_decays has no effect: Adam() has no weight decay",
        ),
        (
            {"layer_decays": {"*.scale": 0}, "optimizer": "AdamW()"},
            "layer_decays: no layer is named '*.scale'; those",
        ),
    ],
)
def test_groups_that_cannot_be_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fit(freeze=None, **options)
    assert text in str(caught.value)
