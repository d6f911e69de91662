"""Recording arrays: their numbers stand in the history, epoch by epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit import Registry, Sequential, Trainer
from cnnkit.data import load_dataset
from cnnkit.errors import ConfigError

DATA = load_dataset("Digits()")


def network() -> Sequential:
    return Sequential(["Conv2D(2, 3)", "Flatten()", "Dense(10)"], DATA.input_shape, preprocessing=DATA.preprocessing)


def fit(model: Sequential, **options: Any) -> dict[str, list[float]]:
    return Trainer(epochs=3, batch_size=500, **options).fit(model, DATA).history


def test_the_numbers_of_every_epoch_are_kept() -> None:
    model = network()
    history = fit(model, record=["conv2d_1.weight", "dense_1.bias"])
    assert len([name for name in history if name.startswith("conv2d_1.weight[")]) == 18
    last = [history[f"conv2d_1.weight[{index}]"][-1] for index in range(18)]
    assert np.array_equal(np.array(last, np.float32).reshape(2, 1, 3, 3), model.state()["conv2d_1.weight"])
    first = Trainer(epochs=1, batch_size=500).fit(again := network(), DATA)
    assert len(first.history["loss"]) == 1
    assert history["dense_1.bias[4]"][0] == again.state()["dense_1.bias"][4]
    assert {len(values) for values in history.values()} == {3}


def test_recording_changes_no_training() -> None:
    one, other = network(), network()
    fit(one)
    fit(other, record=["dense_1.bias"])
    assert np.array_equal(one.parameters.vector, other.parameters.vector)


def test_with_an_average_its_numbers_are_recorded() -> None:
    model = network()
    history = fit(model, record=["dense_1.bias"], average=0.5)
    assert [history[f"dense_1.bias[{index}]"][-1] for index in range(10)] == model.state()["dense_1.bias"].tolist()


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError) as error:
        fit(network(), record=["conv2d_1"])
    assert str(error.value) == (
        "record: expected names among conv2d_1.weight, conv2d_1.bias, dense_1.weight, dense_1.bias; got 'conv2d_1'"
    )


def test_too_many_numbers_are_refused() -> None:
    model = Sequential(["Flatten()", "Dense(400)", "Dense(10)"], DATA.input_shape)
    with pytest.raises(ConfigError, match=r"at most 500,000 numbers in all, dense_1\.weight have 512,000 in 20 epochs"):
        Trainer(epochs=20, record=["dense_1.weight"]).fit(model, DATA)


def test_a_name_that_stands_there_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected each name once, got dense_1\.bias, dense_1\.bias"):
        fit(network(), record=["dense_1.bias"] * 2)


def test_a_model_with_as_much_recorded_as_may_be_can_be_registered(tmp_path: Path) -> None:
    model = Sequential(["Flatten()", "Dense(390)", "Dense(10)"], DATA.input_shape, preprocessing=DATA.preprocessing)
    run = Trainer(epochs=20, batch_size=1437, record=["dense_1.weight"]).fit(model, DATA)
    version = Registry(tmp_path).save(model, "wide", **run.record())
    assert Registry(tmp_path).read(version.ref).manifest.history == run.history


def test_a_wrong_quantity_lists_those_that_are_no_recorded_numbers() -> None:
    with pytest.raises(ConfigError) as error:
        fit(network(), record=["dense_1.bias"], callbacks=["EarlyStopping('los')"])
    assert str(error.value) == "'los' is not recorded in this training, only loss, accuracy, lr, seconds are"
