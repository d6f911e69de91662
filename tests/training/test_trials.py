"""Trials before a training: the learning-rate range test, learning one batch by heart, a time budget."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cnnkit import Sequential, Trainer, load_recipe
from cnnkit.components import Layer
from cnnkit.data import load_dataset
from cnnkit.errors import ConfigError, TrainingError
from cnnkit.layers import Dense
from cnnkit.training import time_budget
from cnnkit.training.one_batch import overfit_one_batch
from cnnkit.training.range_test import RangeTest, range_test
from cnnkit.training.recipe import Recipe
from cnnkit.types import Array, Context, Data, Grads, Samples, Task

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


@pytest.mark.filterwarnings("ignore:relu_1. all outputs are 0")  # with rates far too high
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
    with pytest.raises(TrainingError, match="no learning rate can be suggested: expected a falling loss"):
        _ = found.suggestion
    with pytest.raises(TrainingError, match="it did not fall in 0 steps"):
        _ = RangeTest().suggestion


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 1.0, "high": 0.1}, "low < high, got low = 1 and high = 0.1"),
        ({"low": 0}, "low must be a number above 0, got 0"),
        ({"steps": 10}, "steps must be a whole number, 11 or above, got 10"),
    ],
)
def test_a_range_that_is_none_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        range_test(Trainer(), network(), DATA, **options)


def test_the_suggestion_is_a_tenth_of_the_rate_of_the_lowest_loss() -> None:
    rates = np.geomspace(1e-4, 1.0, 41).tolist()
    smoothed = [abs(number - 30) / 30 + 0.5 for number in range(41)]
    assert RangeTest(rates, smoothed, smoothed).suggestion == pytest.approx(rates[30] / 10)


def test_gradients_are_clipped_as_in_training() -> None:
    """With a norm of almost nothing, nothing is learned."""
    options: dict[str, Any] = {"optimizer": "SGD(1.0)", "batch_size": 64, "clip_norm": 1e-9}
    losses = range_test(Trainer(**options), network(), DATA, low=0.5, high=1.0, steps=40).losses
    plain = range_test(Trainer(**options | {"clip_norm": None}), network(), DATA, low=0.5, high=1.0, steps=40).losses
    assert np.mean(losses[-5:]) > 2 > np.mean(plain[-5:])
    assert not overfit_one_batch(Trainer(**options), network(), DATA, steps=30).learned
    assert overfit_one_batch(Trainer(**options | {"clip_norm": None}), network(), DATA, steps=300).learned


@pytest.mark.parametrize(
    "trial",
    [
        lambda data: range_test(Trainer(), network(), data),
        lambda data: overfit_one_batch(Trainer(), network(), data),
        lambda data: time_budget.within(recipe(), data, 5.0),
    ],
)
def test_trials_check_what_trainings_check(trial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.array(DATA.train.x, np.float32)
    x[7, 0, 3, 3] = np.nan
    with pytest.raises(TrainingError, match="the input of the training sample 7 is not finite"):
        trial(replace(DATA, train=Samples(x, DATA.train.y)))
    monkeypatch.setattr("cnnkit.training.trainer.available_memory", lambda: 1000)
    with pytest.raises(ConfigError, match="training with batch size 64 takes about"):
        trial(DATA)


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
    data = Data(_regression(x), _regression(x))
    trainer = Trainer(optimizer="Adam(0.05)", loss="MSE()", metrics=[], batch_size=20)
    result = overfit_one_batch(trainer, Sequential(["Dense(2)"], (3,)), data)
    assert result.learned
    assert result.after["loss"] <= 0.01 * result.before["loss"]


def test_smoothed_labels_do_not_hide_that_a_batch_is_known() -> None:
    trainer = Trainer(optimizer="Adam(0.01)", loss="CrossEntropy(label_smoothing=0.3)", metrics=[], batch_size=64)
    assert overfit_one_batch(trainer, network("Flatten()", "Dense(32)", "ReLU()", "Dense(10)"), DATA).learned


def test_what_the_model_was_for_before_does_not_matter() -> None:
    model = network("Flatten()", "Dense(32)", "ReLU()", "Dense(10)")
    model.task = Task("values")
    trainer = Trainer(optimizer="Adam(0.01)", batch_size=64)
    assert overfit_one_batch(trainer, model, DATA).learned
    assert model.task == Task("values")


@pytest.mark.parametrize("last", ["Dense(2)", "Dense(2, bias=False)"])
def test_labels_are_learned_when_all_are_told_right(last: str) -> None:
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    labels = np.stack([x[:, 0] > 0, x[:, 1] + 3 > x[:, 2] * 9], axis=1).astype(np.float32)
    trainer = Trainer(optimizer="Adam(0.05)", loss="BinaryCrossEntropy()", metrics=[], batch_size=40)
    model = Sequential([last], (3,))
    result = overfit_one_batch(trainer, model, Data(Samples(x, labels), Samples(x, labels)), steps=400)
    model.task = Task("labels", from_logits=True)
    assert result.learned == (model.predict(x) == labels).all() == (last == "Dense(2)")


@pytest.mark.parametrize("trial", [range_test, overfit_one_batch])
def test_trials_tell_what_trainings_tell(trial: Any) -> None:
    few = replace(DATA, train=DATA.train.take(np.flatnonzero(DATA.train.y != 9)[:100]))
    with pytest.warns(RuntimeWarning, match="the test samples have classes that no training sample has"):
        trial(Trainer(batch_size=50), network(), few, steps=11)
    with pytest.raises(ConfigError, match="the metric Accuracy"):
        trial(Trainer(loss="BinaryCrossEntropy()"), network(), few)
    model = network()
    model.trainable = False  # type: ignore[attr-defined]  # wrong on purpose
    with pytest.raises(ConfigError, match="the model has the attribute trainable = False"):
        trial(Trainer(), model, DATA)


def _regression(x: Array) -> Samples:
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
    planned = time_budget.within(recipe(callbacks=["EarlyStopping()"]), data, 60.0)
    assert planned.train.epochs > 1
    assert planned.data == recipe().data
    early, limit = planned.train.callbacks
    assert early == "EarlyStopping()"
    assert limit.startswith("TimeLimit(5")
    half = time_budget.within(recipe(), data, 30.0)
    assert half.train.epochs == pytest.approx(planned.train.epochs / 2, abs=1.5)


@pytest.mark.usefixtures("clock")
def test_a_fraction_is_taken_where_no_epoch_fits() -> None:
    planned = time_budget.within(recipe(), load_dataset("Digits()"), 2.5)
    assert planned.train.epochs == 1
    assert 0.1 < planned.data.fraction < 1


@pytest.mark.usefixtures("clock")
def test_no_time_for_a_batch_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="not enough to train on one batch of 1000 samples: an epoch of 1,437 samples"
    ):
        time_budget.within(recipe(batch_size=1000), DATA, 0.3)


@pytest.mark.usefixtures("clock")
def test_a_time_that_is_too_short_for_the_warm_up_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^epochs that fit into 5 s: \d; Cosine\(warmup=30\) warms up for 30"):
        time_budget.within(recipe(schedule="Cosine(warmup=30)"), DATA, 5.0)


def test_a_time_limit_ends_nothing_that_is_at_its_end() -> None:
    run = Trainer(epochs=2, batch_size=500, callbacks=["TimeLimit(1e-9)"]).fit(network(), DATA)
    assert (len(run.history["loss"]), run.reason[:14]) == (1, "one more epoch")
    run = Trainer(epochs=1, batch_size=500, callbacks=["TimeLimit(1e-9)"]).fit(network(), DATA)
    assert run.reason == "all epochs done"
