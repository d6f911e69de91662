"""Trainings that a registry keeps: begun, interrupted, gone on with, and registered, from Python."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cnnkit import Registry, load_recipe, registered_training
from cnnkit.errors import ConfigError, RecipeError, RegistryError
from cnnkit.registered_training import RegisteredTraining
from cnnkit.training.assembly import data_for, model_for, trainer_for
from cnnkit.training.interruption import StopRequest
from cnnkit.training.recipe import Recipe
from cnnkit.training.training_plan import plan_of


def recipe(**overrides: Any) -> Recipe:
    return load_recipe(
        "digits", {"epochs": 1, "data.fraction": 0.1, "model.layers": ["Flatten()", "Dense(10)"]} | overrides
    )


def stopped() -> StopRequest:
    stop = StopRequest()
    stop.signal = signal.SIGINT
    return stop


def test_a_training_becomes_a_version_and_leaves_no_run(tmp_path: Path) -> None:
    with RegisteredTraining.begin(recipe(), tmp_path) as training:
        run = training.train(workers=1, steps=1)
        assert training.place.has_begun()
        version = training.register(run)
    assert version is not None
    assert (version.ref, run.recipe, training.failure) == ("digits@1", recipe().to_dict(), "")
    assert not training.place.has_begun()
    with pytest.raises(RegistryError, match="no interrupted run"):
        RegisteredTraining.resume("latest", tmp_path)


def test_one_that_was_stopped_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    with RegisteredTraining.begin(recipe(), tmp_path / "whole") as training:
        whole = training.train(workers=1)
    with RegisteredTraining.begin(recipe(), Registry(tmp_path)) as training:
        run = training.train(workers=1, stop=stopped())
        assert (run.partial_steps, training.register(run)) == (1, None)
    with RegisteredTraining.resume("latest", tmp_path) as again:
        assert (again.place.name, again.recipe, again.differences) == (training.place.name, training.recipe, ())
        run = again.train(workers=1)
        version = again.register(run)
    assert version is not None
    np.testing.assert_array_equal(run.model.parameters.vector, whole.model.parameters.vector)


def test_what_could_not_be_registered_is_refused_before_it_is_trained(tmp_path: Path) -> None:
    (tmp_path / "digits").write_text("in the way")
    with pytest.raises(RegistryError, match="digits"):
        RegisteredTraining.begin("digits", tmp_path)
    with pytest.raises(RecipeError, match="no recipe named 'digit' ships with cnnkit"):
        RegisteredTraining.begin("digit", tmp_path)


def test_a_full_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registered_training, "PAUSE", 0.0)
    save, left = Registry.save, [2]

    def full(self: Registry, *arguments: Any, **options: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise RegistryError("no room") from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return save(self, *arguments, **options)

    monkeypatch.setattr(Registry, "save", full)
    with RegisteredTraining.begin(recipe(), tmp_path) as training:
        run = training.train(workers=1)
        with pytest.warns(
            RuntimeWarning,
            match=r"^no room; free some space, and it is registered: waiting for 5 minutes",
        ):
            assert training.register(run) is not None
        left[0] = 1
        monkeypatch.setattr(registered_training, "PATIENCE", -1.0)
        with pytest.raises(RegistryError, match="no room"):
            training.register(run)


def test_a_plan_tells_the_size_of_a_training() -> None:
    planned = recipe(epochs=3)
    data = data_for(planned)
    plan = plan_of(trainer_for(planned, workers=1), model_for(planned, data), data)
    assert plan.counts() == {
        "training_samples": len(data.train),
        "validation_samples": len(data.validation or ()),
        "test_samples": len(data.test),
        "steps_in_an_epoch": -(-len(data.train) // 64),
        "steps_in_all": 3 * -(-len(data.train) // 64),
        "parameters": 650,
    }
    assert plan.memory.footprint().total > 0
    assert plan.warnings == ()


def test_a_learning_rate_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        recipe(optimizer="SGD(0.1, momentum=0.9)").with_learning_rate(0.5).train.optimizer
        == "SGD(lr=0.5, momentum=0.9)"
    )
    assert recipe(optimizer="cnnkit:SGD(0.1)").with_learning_rate(0.5).train.optimizer == "cnnkit:SGD(lr=0.5)"
    monkeypatch.setattr("cnnkit.components.installed_catalog", lambda: SimpleNamespace(build=lambda *_: object()))
    with pytest.raises(ConfigError, match=r"^SGD\(\) has no argument lr to change: choose another train\."):
        recipe(optimizer="SGD()").with_learning_rate(0.5)
