"""`cnnkit reproduce`: the same bits again, or where they part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.errors import ExpressionError
from cnnkit.evaluation.reproduce import retrain
from cnnkit.registry import Registry
from cnnkit.registry.format import sealing
from cnnkit.registry.format.contents import unpack


def changed(registry: Path, **manifest: Any) -> None:
    """Replace things in the manifest of tiny@1, sealed again, with no log that could notice it."""
    import dataclasses

    path = registry / "tiny" / "v000001.h5"
    content, state = unpack(path.read_bytes(), "tiny")
    state = manifest.pop("state", state)
    path.write_bytes(sealing.pack(dataclasses.replace(content, **manifest).encode(), state))
    (registry / "tiny" / "digests.log").unlink(missing_ok=True)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_model_is_reproduced_bit_for_bit(trained: Any, workers: str) -> None:
    result = trained("reproduce", "tiny@1", "--workers", workers)
    assert result.code == 0
    assert "tiny@1 is reproduced bit for bit: 2 arrays, and the history of 1 epochs" in result.out
    document = trained("reproduce", "tiny@1", "--json").document
    assert (document["identical"], document["epoch"], document["array"]) == (True, None, "")


def test_another_weight_is_named(trained: Any, tmp_path: Path) -> None:
    state = Registry(tmp_path / "registry").read("tiny@1").state
    bias = state["dense_1.bias"].copy()
    bias[3] = np.nextafter(bias[3], np.float32(1))
    changed(tmp_path / "registry", state=state | {"dense_1.bias": bias})
    result = trained("reproduce", "tiny@1")
    assert result.code == 1
    assert "tiny@1 is not reproduced bit for bit" in result.err
    assert "the first array that differs is dense_1.bias" in result.err
    assert "the history differs" not in result.err


def test_the_first_epoch_that_differs_is_named(trained: Any, tmp_path: Path) -> None:
    history = Registry(tmp_path / "registry").read("tiny@1").manifest.history
    changed(tmp_path / "registry", history=history | {"loss": [history["loss"][0] * (1 + 1e-15)]})
    result = trained("reproduce", "tiny@1", "--json")
    assert result.code == 1
    assert (result.document["epoch"], result.document["quantity"], result.document["array"]) == (1, "loss", "")


def test_other_samples_are_no_reproduction(trained: Any, tmp_path: Path) -> None:
    changed(tmp_path / "registry", dataset={"name": "Digits()", "digest": "0" * 64})
    result = trained("reproduce", "tiny@1")
    assert result.code == 1
    assert "has different samples now" in result.err


@pytest.mark.parametrize("key", ["optimizer", "loss", "gradient", "schedule", "metrics", "callbacks"])
def test_a_model_file_chooses_no_plugin(trained: Any, tmp_path: Path, key: str) -> None:
    recipe = Registry(tmp_path / "registry").read("tiny@1").manifest.recipe
    assert recipe is not None
    recipe["train"][key] = ["somewhere:Evil()"] if key.endswith("s") and key != "loss" else "somewhere:Evil()"
    changed(tmp_path / "registry", recipe=recipe)
    result = trained("reproduce", "tiny@1")
    assert result.code == 2
    assert "somewhere:Evil(), and a model file can use only those that come with cnnkit" in result.err


def test_a_model_file_opens_no_other_samples(trained: Any, tmp_path: Path) -> None:
    recipe = Registry(tmp_path / "registry").read("tiny@1").manifest.recipe
    assert recipe is not None
    for other in ('Arrays("secret.npz")', "FashionMNIST()", "Digits(test=0.5)"):
        recipe["data"]["dataset"] = other
        changed(tmp_path / "registry", recipe=recipe)
        result = trained("reproduce", "tiny@1")
        assert result.code == 2
        assert f"its recipe names the dataset {other}, but it was trained on Digits()" in result.err


def test_other_samples_may_be_asked_for(trained: Any) -> None:
    result = trained("reproduce", "tiny@1", "--dataset", "Digits(test=0.5)")
    assert result.code == 1
    assert "Digits(test=0.5) has different samples now" in result.err


def test_a_model_that_python_put_together_has_no_whole_recipe(trained: Any, tmp_path: Path) -> None:
    changed(tmp_path / "registry", recipe={"train": {}})
    result = trained("reproduce", "tiny@1")
    assert result.code == 2
    assert "its recipe has no [model], [data]" in result.err


def test_a_model_file_chooses_no_layer_that_it_does_not_say_the_origin_of(trained: Any, tmp_path: Path) -> None:
    recipe = Registry(tmp_path / "registry").read("tiny@1").manifest.recipe
    assert recipe is not None
    recipe["model"]["layers"] = ["Flatten()", "somewhere:Evil()", "Dense(10)"]
    changed(tmp_path / "registry", recipe=recipe)
    result = trained("reproduce", "tiny@1")
    assert (result.code, result.out) == (2, "")
    assert "tiny@1 cannot be trained again: it needs Evil, which did not come from a plugin" in result.err


def test_an_empty_dataset_is_not_that_of_the_file(trained: Any, tmp_path: Path) -> None:
    trained("models", "list")
    record = Registry(tmp_path / "registry").read("tiny@1")
    with pytest.raises(ExpressionError):
        retrain(record, "")
