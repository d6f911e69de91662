"""A registered model keeps what it is for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit import Registry, Sequential, Trainer, load_model
from cnnkit.errors import RegistryError
from cnnkit.network import Network
from cnnkit.registry import model_manifest
from cnnkit.registry.format import manifest
from cnnkit.types import Task


def model(**options: object) -> Sequential:
    return Sequential(["Flatten()", "Dense(3)"], (1, 2, 2), **options)  # type: ignore[arg-type]  # options of any type


@pytest.mark.parametrize(
    "task", [Task("classes", from_logits=True), Task("classes"), Task("labels", from_logits=True), Task("values")]
)
def test_the_task_comes_back(tmp_path: Path, task: Task) -> None:
    Registry(tmp_path).save(model(task=task), "m")
    assert load_model("m@1", tmp_path).task == task


def test_a_copy_has_the_task(tmp_path: Path) -> None:
    import copy

    assert copy.deepcopy(model(task=Task("values"))).task == Task("values")


def test_the_training_says_what_is_registered(tmp_path: Path) -> None:
    values = model()
    run = Trainer(loss="MSE()", metrics=[], epochs=1).fit(values, (np.zeros((4, 1, 2, 2)), np.zeros((4, 3))))
    Registry(tmp_path).save(values, "m", **run.record())
    assert load_model("m@1", tmp_path).gives == "3 values"


@pytest.mark.parametrize("loss", ["MSE()", "MSE", "cnnkit:MSE( )"])
@pytest.mark.parametrize(
    ("options", "training", "task"),
    [
        ({}, {}, Task("values")),
        ({"labels": "abc"}, {}, Task("classes")),
        ({}, {"metrics": {"accuracy": 0.5}}, Task("classes")),
        ({}, {"history": {"accuracy": [0.5]}}, Task("classes")),
        ({"layers": ["Flatten()", "Dense(3)", "Softmax()"]}, {}, Task("classes")),
    ],
)
def test_a_version_from_before_tasks_trained_on_squares(
    tmp_path: Path, loss: str, options: dict[str, Any], training: dict[str, Any], task: Task
) -> None:
    assert older(tmp_path, {"train": {"loss": loss}}, options, training).task == task


@pytest.mark.parametrize(
    "recipe", [None, {}, {"train": {"loss": "CrossEntropy(label_smoothing=0.1)"}}, {"train": {"loss": "?"}}]
)
def test_any_other_version_from_before_tasks_is_for_classes(tmp_path: Path, recipe: Any) -> None:
    assert older(tmp_path, recipe, {}, {}).task == Task("classes", from_logits=True)


def older(folder: Path, recipe: Any, options: dict[str, Any], training: dict[str, Any]) -> Network:
    """A model as a file without a task gives it."""
    options = {"layers": ["Flatten()", "Dense(3)"], "input_shape": (1, 2, 2)} | options
    Registry(folder).save(Sequential(**options), "m", recipe=recipe, **training)
    record = Registry(folder).read("m@1")
    without = dataclasses.replace(record.manifest, task=None)
    assert manifest.decode(without.encode()).task is None
    return model_manifest.rebuild(without, record.state, "m@1")


@pytest.mark.parametrize("wrong", ["null", "[]", '{"gives": "values"}', '{"gives": "all", "from_logits": true}'])
def test_what_is_no_task_is_refused(tmp_path: Path, wrong: str) -> None:
    Registry(tmp_path).save(model(), "m")
    text = Registry(tmp_path).read("m@1").manifest.encode().decode()
    start, end = text.index('"task"'), text.index("}", text.index('"task"')) + 1
    with pytest.raises(RegistryError, match=r"its manifest has task = .*; expected gives, one of classes, label"):
        manifest.decode(f'{text[:start]}"task": {wrong}{text[end:]}'.encode())
