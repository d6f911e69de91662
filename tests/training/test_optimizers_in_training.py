"""Every optimizer in a training: the same bits for any number of workers, and when it is resumed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnkit import Run, Sequential, Trainer
from cnnkit.components import Optimizer
from cnnkit.errors import ComponentError, ConfigError
from cnnkit.optimizers import OPTIMIZERS, SGD
from cnnkit.schedules import ReduceOnPlateau, Warmup
from cnnkit.training.checkpoint import Checkpoints
from cnnkit.types import Array
from tests.training.test_checkpoint import InMemory, StopsAfter

RNG = np.random.default_rng(0)
X = RNG.standard_normal((260, 1, 6, 6), np.float32)
Y = RNG.integers(0, 3, 260)
LAYERS = ["Conv2D(4, 3, padding=1)", "BatchNorm2D()", "ReLU()", "Conv2D(5, 3)", "Dropout(0.2)", "Flatten()", "Dense(3)"]
EXPRESSIONS = [example.expression for cls in OPTIMIZERS for example in cls.examples[-1:]]


def fit(optimizer: str | Optimizer, progress: Any = False, **options: Any) -> Run:
    given: dict[str, Any] = {"epochs": 2, "batch_size": 100, "workers": 1} | options
    fitting = {name: given.pop(name) for name in ("stop", "checkpoints", "validation") if name in given}
    return Trainer(optimizer=optimizer, progress=progress, **given).fit(
        Sequential(LAYERS, (1, 6, 6)), (X, Y), **fitting
    )


def same(one: Run, other: Run) -> bool:
    states = one.model.state(), other.model.state()
    return one.history["loss"] == other.history["loss"] and all(
        array.tobytes() == states[1][name].tobytes() for name, array in states[0].items()
    )


@pytest.mark.parametrize("optimizer", EXPRESSIONS)
def test_the_number_of_workers_changes_nothing(optimizer: str) -> None:
    alone = fit(optimizer)
    assert all(same(alone, fit(optimizer, workers=workers)) for workers in (2, 3))
    assert np.isfinite(alone.history["loss"]).all()


@pytest.mark.parametrize("optimizer", EXPRESSIONS)
def test_a_resumed_training_has_the_same_bits(optimizer: str) -> None:
    store, progress = InMemory(), StopsAfter(4)
    fit(optimizer, progress, stop=progress.request, checkpoints=Checkpoints(store))
    assert same(fit(optimizer), fit(optimizer, checkpoints=Checkpoints(store, resume=True), workers=2))


@pytest.mark.parametrize("schedule", [ReduceOnPlateau("loss", 0.5, 0, 0.5), Warmup(ReduceOnPlateau(patience=0), 0.5)])
def test_a_resumed_training_is_as_slow_on_its_plateau(schedule: Any) -> None:
    store, progress = InMemory(), StopsAfter(8)
    options: dict[str, Any] = {"schedule": schedule, "epochs": 5, "validation": 0.1}
    fit("SGD(0.5)", progress, stop=progress.request, checkpoints=Checkpoints(store), **options)
    whole = fit("SGD(0.5)", **options)
    resumed = fit("SGD(0.5)", checkpoints=Checkpoints(store, resume=True), workers=3, **options)
    assert same(whole, resumed)
    assert whole.history["lr"] == resumed.history["lr"]
    assert len(set(whole.history["lr"][1:])) > 1


class Shapes(SGD):
    """Writes down what it is given."""

    def __init__(self, scope: Any, lr: float = 0.1) -> None:
        super().__init__(lr)
        self.scope = scope
        self.seen: list[tuple[int, ...]] = []

    def update(self, params: Array, grads: Array, state: Any, lr: float, step: int) -> None:
        self.seen.append(params.shape)
        super().update(params, grads, state, lr, step)


def test_a_scope_decides_what_an_optimizer_is_given() -> None:
    model = Sequential(LAYERS, (1, 6, 6))
    shapes = [entry.shape for entry in model.parameters]
    whole = model.parameters.vector.size
    for scope, expected in (("numbers", [(whole,)]), ("parameters", shapes), ("network", [(whole,)])):
        optimizer = Shapes(scope)
        fit(optimizer, epochs=1, batch_size=260)
        assert sorted(optimizer.seen) == sorted(expected)
    with pytest.raises(
        ComponentError, match=r"must have a scope among 'numbers', 'parameters', 'network', got 'layer'"
    ):
        fit(Shapes("layer"))


def test_groups_of_an_optimizer_that_looks_at_whole_parameters() -> None:
    optimizer = "LAMB(0.05, weight_decay=0.5)"
    options: dict[str, Any] = {"layer_rates": {"conv2d_1": 0.5}, "decay": "weights", "freeze": "dense_1"}
    alone = fit(optimizer, **options)
    assert all(same(alone, fit(optimizer, workers=workers, **options)) for workers in (2, 3))
    begun = Sequential(LAYERS, (1, 6, 6)).state()
    assert (alone.model.state()["dense_1.weight"] == begun["dense_1.weight"]).all()
    assert not same(alone, fit(optimizer, **options | {"decay": None}))
    with pytest.raises(ConfigError, match="decay has no effect: LBFGS\\(\\) has no weight decay"):
        fit("LBFGS()", decay="weights")
    with pytest.raises(ConfigError, match="moves the whole network at once: its weight decay is the same everywhere"):
        fit(Whole(weight_decay=0.1), decay="weights")


class Whole(SGD):
    """Gradient descent that is given all parameters."""

    scope = "network"


def test_full_batches_are_learned_by_quasi_newton_steps() -> None:
    layers = ["Flatten()", "Dense(3)"]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1, 6, 6)).astype(np.float32)
    y = x.reshape(200, 36) @ rng.normal(size=(36, 3)).astype(np.float32)
    losses = {}
    for optimizer in ("LBFGS(0.5)", "SGD(0.05, momentum=0.9)"):
        trainer = Trainer(optimizer=optimizer, loss="MSE()", metrics=[], epochs=60, batch_size=200, progress=False)
        losses[optimizer] = trainer.fit(Sequential(layers, (1, 6, 6)), (x, y)).history["loss"][-1]
    assert losses["LBFGS(0.5)"] < 1e-3 * losses["SGD(0.05, momentum=0.9)"]
