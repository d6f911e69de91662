"""Layers that a training freezes, or moves more slowly: for each optimizer, any number of workers, and when resumed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnkit import Graph, Run, Sequential, Trainer
from cnnkit.errors import ConfigError
from cnnkit.layers import BatchNorm2D, Dense
from cnnkit.network import Network
from cnnkit.training.checkpoint import Checkpoints
from cnnkit.types import Array
from tests.training.test_checkpoint import InMemory, StopsAfter
from tests.training.test_gradient_method import Differences

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 1, 6, 6), np.float32)
Y = RNG.integers(0, 3, 300)
LAYERS = ["Conv2D(4, 3, padding=1)", "BatchNorm2D()", "ReLU()", "Conv2D(2, 3)", "Flatten()", "Dense(3)"]
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
