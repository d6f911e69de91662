"""The moving average of the weights: its values, where they are used, and that training does not see them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnkit import Sequential, Trainer
from cnnkit.data import load_dataset
from cnnkit.errors import ConfigError
from cnnkit.training import Run
from cnnkit.training.averaging import Average
from cnnkit.types import Data

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
    parameters, average = model.parameters.vector, Average(model, 0.6)
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
