"""The whole path in a second or two: train, register, load, export, validate."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np

import cnnkit
from cnnkit import Registry, export_onnx, load_dataset, load_model, load_recipe, train, validate_onnx


def test_from_a_recipe_to_a_validated_file(tmp_path: Path) -> None:
    changes = {"model.layers": ["MaxPool2D(2)", "Flatten()", "Dense(10)"], "train.optimizer": "Adam(0.03)"}
    recipe = load_recipe("digits", {**changes, "train.epochs": 5})
    run = train(recipe)
    assert run.metrics["accuracy"] > 0.6
    assert run.history["loss"][-1] < run.history["loss"][0]

    registry = Registry(tmp_path / "models")
    version = registry.save(run.model, recipe.model.name, **run.record())
    assert version.ref == "digits@1"
    assert registry.verify() == []

    model = load_model("digits@latest", registry)
    x = load_dataset("Digits()").test.x
    np.testing.assert_array_equal(model.logits(x), run.model.logits(x))

    report = validate_onnx(export_onnx(model, tmp_path / "digits.onnx"), model, x)
    assert report.ok, str(report)
    other = train("digits", epochs=2).model
    assert not validate_onnx(tmp_path / "digits.onnx", other, x).ok


def test_the_version_is_that_of_the_distribution() -> None:
    assert cnnkit.__version__ == importlib.metadata.version("cnnkit")
