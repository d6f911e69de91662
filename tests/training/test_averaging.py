"""The moving average of the weights: its values, where they are used, and that training does not see them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnkit import Sequential, Trainer
from cnnkit.data import load_dataset
from cnnkit.errors import ConfigError
from cnnkit.training import Run
from cnnkit.training.averaging import MovingAverage
from cnnkit.training.checkpoint import Checkpoints
from cnnkit.types import Data
from tests.training.test_checkpoint import InMemory, StopsAfter

DATA = load_dataset("Digits()")
LAYERS = ["Conv2D(4, 3)", "BatchNorm2D()", "ReLU()", "Flatten()", "Dense(10)"]


def network() -> Sequential:
    return Sequential(LAYERS, DATA.input_shape, preprocessing=DATA.preprocessing)


def fit(data: Data = DATA, **options: Any) -> Run:
    settings: dict[str, Any] = {"optimizer": "SGD(0.1)", "epochs": 2, "batch_size": 200}
    return Trainer(**settings | options).fit(network(), data)


def test_the_average_is_that_of_the_formula() -> None:
    model = network()
    rng = np.random.default_rng(0)
    parameters, average = model.parameters.vector, MovingAverage(model, 0.6)
    running = model.nodes[1].layer.buffers["running_mean"]
    expected, expected_running = parameters.astype(np.float64), running.astype(np.float64)
    for step in range(1, 12):
        parameters[...], running[...] = rng.normal(size=parameters.size), rng.normal(size=running.size)
        average.update(step)
        keep = min(0.6, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * parameters
        expected_running = keep * expected_running + (1 - keep) * running
    np.testing.assert_allclose(average.vectors["all.parameters"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(average.vectors["batch_norm2d_1.running_mean"], expected_running, rtol=1e-5, atol=1e-6)


def test_the_model_ends_with_the_averages_and_trains_as_if_there_were_none() -> None:
    plain, averaged = fit(), fit(average=0.9)
    assert averaged.history["loss"] == plain.history["loss"]
    assert not np.array_equal(averaged.model.parameters.vector, plain.model.parameters.vector)
    name = "batch_norm2d_1.running_mean"
    assert not np.array_equal(averaged.model.state()[name], plain.model.state()[name])
    test = Trainer().evaluate(averaged.model, DATA.test)
    assert averaged.metrics["accuracy"] == test["accuracy"]


def test_validation_and_the_best_epoch_are_those_of_the_averages() -> None:
    data = load_dataset("Digits()", None, 0.1)
    run = fit(data, average=0.99, keep="best", epochs=4)
    assert data.validation is not None
    best = max(run.history["validation_accuracy"])
    assert Trainer().evaluate(run.model, data.validation)["accuracy"] == best
    assert run.history["validation_loss"] != fit(data, epochs=4).history["validation_loss"]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_number_of_workers_changes_nothing(workers: int) -> None:
    state = fit(average=0.9, workers=workers).model.state()
    expected = fit(average=0.9, workers=1).model.state()
    assert all(state[name].tobytes() == array.tobytes() for name, array in expected.items())


@pytest.mark.parametrize(("average", "found"), [(0, "above 0, got 0"), (1.0, "0 <= average < 1, got 1.0")])
def test_a_wrong_decay_is_refused(average: float, found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        Trainer(average=average)


def test_the_mean_over_epochs_is_that_of_their_last_weights() -> None:
    """What a training has at the end of an epoch, a shorter one ends with."""
    ends = [fit(epochs=epochs, workers=1).model.state() for epochs in (3, 4, 5)]
    run = fit(epochs=5, average_epochs=0.4, workers=1)
    for name, array in run.model.state().items():
        mean = np.mean([np.asarray(end[name], np.float64) for end in ends], axis=0)
        np.testing.assert_allclose(array, mean, rtol=1e-5, atol=1e-7)
    assert run.history["loss"] == fit(epochs=5, workers=1).history["loss"]
    for workers in (2, 3):
        state = fit(epochs=5, average_epochs=0.4, workers=workers).model.state()
        assert all(state[name].tobytes() == array.tobytes() for name, array in run.model.state().items())


def test_the_mean_over_epochs_is_validated_and_survives_an_interruption() -> None:
    data = load_dataset("Digits()", None, 0.1)
    assert data.validation is not None
    whole = fit(data, epochs=4, average_epochs=0.5)
    assert Trainer().evaluate(whole.model, data.validation)["accuracy"] == whole.history["validation_accuracy"][-1]
    for steps in (5, 19, 25):  # before the mean has begun, and after it
        settings: dict[str, Any] = {"optimizer": "SGD(0.1)", "epochs": 4, "batch_size": 200, "average_epochs": 0.5}
        store, progress = InMemory(), StopsAfter(steps)
        Trainer(**settings, progress=progress).fit(
            network(), data, stop=progress.request, checkpoints=Checkpoints(store)
        )
        run = Trainer(**settings).fit(network(), data, checkpoints=Checkpoints(store, resume=True))
        assert all(run.model.state()[name].tobytes() == one.tobytes() for name, one in whole.model.state().items())


def test_a_training_that_ends_before_its_mean_begins_keeps_its_weights() -> None:
    for steps, partial in ((3, 3), (12, 4), (28, 0)):
        progress, plain = StopsAfter(steps), StopsAfter(steps)
        run = Trainer(optimizer="SGD(0.1)", epochs=4, batch_size=200, average_epochs=0.5, progress=progress).fit(
            network(), DATA, stop=progress.request
        )
        bare = Trainer(optimizer="SGD(0.1)", epochs=4, batch_size=200, progress=plain).fit(
            network(), DATA, stop=plain.request
        )
        assert run.partial_steps == partial
        assert np.array_equal(run.model.parameters.vector, bare.model.parameters.vector) == (partial > 0)


def test_two_means_at_once_are_refused() -> None:
    with pytest.raises(ConfigError, match="average and average_epochs are two means of the weights"):
        fit(average=0.9, average_epochs=0.5)
