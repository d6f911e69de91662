"""Trials before a training: the learning-rate range test, learning one batch by heart, a time budget."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cnnkit import Sequential, Trainer, load_recipe
from cnnkit.components import Layer
from cnnkit.data import load_dataset
from cnnkit.errors import ConfigError, TrainingError
from cnnkit.layers import Dense
from cnnkit.training import budget
from cnnkit.training.one_batch import overfit_one_batch
from cnnkit.training.range_test import RangeTest, range_test
from cnnkit.training.recipe import Recipe
from cnnkit.types import Array, Context, Data, Grads

DATA = load_dataset("Digits()")


def network(*layers: Any) -> Sequential:
    return Sequential(layers or ["Flatten()", "Dense(10)"], DATA.input_shape, preprocessing=DATA.preprocessing)


class Frozen(Layer):
    """Lets no gradient through: a mistake that a training hides for a long time."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Array]:
        return x, x

    def backward(self, dy: Array, cache: Array, ctx: Context) -> tuple[Array, Grads]:
        return np.zeros_like(dy), {}


class Backwards(Dense):
    """Has the gradient's sign wrong."""

    def backward(self, dy: Array, cache: Any, ctx: Context) -> tuple[Array, Grads]:
        dx, grads = super().backward(dy, cache, ctx)
        return dx, {name: -grad for name, grad in grads.items()}


# The range test


def test_rates_grow_geometrically_and_losses_are_those_of_the_steps() -> None:
    trainer = Trainer(optimizer="SGD(1.0)", batch_size=100)
    found = range_test(trainer, network(), DATA, low=1e-4, high=1e-2, steps=21)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-4, 1e-2, 21))
    batch = np.random.default_rng([2, 0, 0]).permutation(len(DATA.train))[:100]
    assert found.losses[0] == pytest.approx(Trainer().evaluate(network(), DATA.train.take(batch))["loss"], rel=1e-5)
    assert found.smoothed[0] == pytest.approx(found.losses[0])
    expected = (0.1 * found.losses[1] + 0.09 * found.losses[0]) / (1 - 0.9**2)
    assert found.smoothed[1] == pytest.approx(expected)


def test_the_test_ends_where_the_loss_leaves_all_bounds() -> None:
    found = range_test(Trainer(optimizer="SGD(1.0)"), network("Flatten()", "Dense(64)", "ReLU()", "Dense(10)"), DATA)
    assert found.rates[-1] < 10.0
    assert all(map(math.isfinite, found.smoothed))
    assert max(found.smoothed) <= 3 * min(found.smoothed)


@pytest.mark.parametrize("optimizer", ["SGD(1.0)", "SGD(1.0, momentum=0.9)", "Adam(1.0)"])
def test_the_suggested_rate_trains_better_than_ones_far_from_it(optimizer: str) -> None:
    layers = ["Conv2D(8, 3)", "ReLU()", "Flatten()", "Dense(10)"]
    suggestion = range_test(Trainer(optimizer=optimizer), network(*layers), DATA).suggestion

    def loss(rate: float) -> float:
        chosen = optimizer.replace("1.0", repr(rate))
        return Trainer(optimizer=chosen, epochs=2).fit(network(*layers), DATA).history["loss"][-1]

    assert loss(suggestion) < loss(suggestion / 30)
    assert loss(suggestion) < loss(min(suggestion * 30, 10.0))


def test_a_loss_that_only_grows_suggests_nothing() -> None:
    found = range_test(Trainer(optimizer="SGD(1.0)"), network("Flatten()", Backwards(10)), DATA)
    with pytest.raises(TrainingError, match="no learning rate can be suggested: expected a loss that falls"):
        _ = found.suggestion
    with pytest.raises(TrainingError, match="it did not in 0 steps"):
        _ = RangeTest().suggestion


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 1.0, "high": 0.1}, "low < high, got low = 1 and high = 0.1"),
        ({"low": 0}, "low must be a number above 0, got 0"),
        ({"steps": 9}, "steps must be a whole number, 10 or above, got 9"),
    ],
)
def test_a_range_that_is_none_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        range_test(Trainer(), network(), DATA, **options)


# One batch


def test_a_network_learns_one_batch_by_heart() -> None:
    trainer = Trainer(optimizer="Adam(0.01)", batch_size=64, augmentations=["Shift(3)"])
    result = overfit_one_batch(trainer, network("Flatten()", "Dense(32)", "ReLU()", "Dense(10)"), DATA)
    assert (result.learned, result.samples, result.after["accuracy"]) == (True, 64, 1.0)
    assert result.before["accuracy"] < 0.5
    assert result.after["loss"] < result.before["loss"]
    assert result.steps < 500


@pytest.mark.parametrize("layers", [("Flatten()", "Dense(10)", Frozen()), ("Flatten()", Backwards(10))])
def test_broken_gradients_are_noticed(layers: tuple[Any, ...]) -> None:
    result = overfit_one_batch(Trainer(optimizer="SGD(0.01)"), network(*layers), DATA, steps=50)
    assert not result.learned


def test_a_regression_is_learned_when_its_loss_is_a_hundredth() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)).astype(np.float32)
    data = Data(*[_regression(x)] * 2)
    trainer = Trainer(optimizer="Adam(0.05)", loss="MSE()", metrics=[], batch_size=20)
    result = overfit_one_batch(trainer, Sequential(["Dense(2)"], (3,)), data)
    assert result.learned
    assert result.after["loss"] <= 0.01 * result.before["loss"]


def _regression(x: Array) -> Any:
    from cnnkit.types import Samples

    return Samples(x, np.stack([x.sum(axis=1), x[:, 0] - 2], axis=1))


# A time budget


def recipe(**train: Any) -> Recipe:
    return load_recipe("digits", train)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock is a tenth of a second later."""
    ticks = iter(range(10**6))
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks) / 10)


@pytest.mark.usefixtures("clock")
def test_as_many_epochs_as_fit_are_planned_and_limited() -> None:
    data = load_dataset("Digits()", None, 0.1)
    planned = budget.within(recipe(callbacks=["EarlyStopping()"]), data, 60.0)
    assert planned.train.epochs > 1
    assert planned.data == recipe().data
    early, limit = planned.train.callbacks
    assert early == "EarlyStopping()"
    assert limit.startswith("TimeLimit(5")
    half = budget.within(recipe(), data, 30.0)
    assert half.train.epochs == pytest.approx(planned.train.epochs / 2, abs=1.5)


@pytest.mark.usefixtures("clock")
def test_a_fraction_is_taken_where_no_epoch_fits() -> None:
    planned = budget.within(recipe(), load_dataset("Digits()"), 2.5)
    assert planned.train.epochs == 1
    assert 0.1 < planned.data.fraction < 1


@pytest.mark.usefixtures("clock")
def test_no_time_for_a_batch_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="not enough to train on one batch of 1000 samples: an epoch of 1,437 samples"
    ):
        budget.within(recipe(batch_size=1000), DATA, 0.3)
