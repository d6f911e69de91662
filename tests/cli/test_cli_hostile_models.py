"""Models from anybody: what they say about themselves opens no file, starts no download and imports no plugin."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import cnnkit.data.downloading.download
from cnnkit.components import Catalog, Plugin, hookimpl, installed_plugins
from cnnkit.data import Arrays
from cnnkit.losses import CrossEntropy
from cnnkit.network import Sequential
from cnnkit.printable_text import printable
from cnnkit.registry import Registry

COMMANDS = (("evaluate", "net"), ("export", "net", "-o", "net.onnx"), ("validate", "net.onnx", "net"))


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is imported of a plugin, a download, or a file that a dataset opens."""
    found: list[str] = []
    catalog = Catalog([*installed_plugins(), Plugin("evil", "1", "evil", lambda: found.append("import"))])
    importlib.import_module("cnnkit.onnx.available_runtimes")  # it keeps the catalog that it finds when it is imported
    for module in ("cnnkit.components", "cnnkit.data.loading", "cnnkit.data.named", "cnnkit.registry.trust"):
        monkeypatch.setattr(f"{module}.installed_catalog", lambda: catalog)
    monkeypatch.setattr(Arrays, "load", lambda self, data_dir: found.append("load"))
    monkeypatch.setattr(cnnkit.data.downloading.download, "download", lambda *arguments: found.append("download"))
    return found


def _register(dataset: str = "Digits()", labels: tuple[str, ...] = (), **train: Any) -> None:
    model = Sequential(["Flatten()", "Dense(10)"], (1, 8, 8), labels=labels)
    recipe = {"train": train} if train else None
    Registry().save(model, "net", dataset={"name": dataset, "digest": ""}, recipe=recipe)


@pytest.mark.parametrize(
    "dataset",
    [
        'Arrays("/secret.npz")',
        'cnnkit:Arrays("/secret.npz")',
        "MNIST()",
        "FashionMNIST",
        "Nope()",
        "evil:Nope()",
        "Digits(Nope())",
        "not an expression",
        "",
    ],
)
def test_a_recorded_dataset_is_not_loaded_unless_it_is_safe(cli: Any, imported: list[str], dataset: str) -> None:
    _register(dataset)
    for command in COMMANDS:
        result = cli(*command)
        assert f"the model was trained on {dataset}, which " in result.err
        assert "pass --dataset " in result.err
        assert result.code == (2 if command[0] == "evaluate" else 0)
    assert imported == []


@pytest.mark.parametrize(("dataset", "done"), [("Arrays('mine.npz')", "load"), ("Nope()", "import")])
def test_the_fences_see_what_the_user_himself_asks_for(cli: Any, imported: list[str], dataset: str, done: str) -> None:
    _register()
    assert cli("evaluate", "net", "--dataset", dataset).code == 2
    assert imported == [done]


def test_recorded_samples_that_are_in_place_are_used(cli: Any, imported: list[str]) -> None:
    _register("Digits(test=0.5)")
    assert cli("evaluate", "net", "--json").document["samples"] == 899
    for command in COMMANDS[1:]:
        assert "compared on 899 test samples of Digits(test=0.5)" in cli(*command).err
    assert imported == []


@pytest.mark.parametrize("loss", ["Nope()", "evil:Nope()", "CrossEntropy(Nope())", 3, ["MSE()"]])
def test_a_recorded_loss_is_one_that_comes_with_cnnkit(cli: Any, imported: list[str], loss: Any) -> None:
    _register(loss=loss)
    result = cli("evaluate", "net")
    assert (result.code, result.out) == (2, "")
    assert f"the model was trained with the loss {loss}, and a model file can use only those that come" in result.err
    assert imported == []
    assert cli("evaluate", "net", "--loss", "CrossEntropy()").code == 0


def test_a_recorded_metric_that_does_not_come_with_cnnkit_is_left_out(cli: Any, imported: list[str]) -> None:
    _register(metrics=["Accuracy()", "Nope()", 3])
    result = cli("evaluate", "net", "--json")
    assert list(result.document["metrics"]) == ["loss", "accuracy"]
    assert "warning: the metric Nope() is skipped" in result.err
    assert imported == []
    _register(metrics="Accuracy()")
    assert cli("evaluate", "net").code == 0


class Own(CrossEntropy):
    """A loss that a plugin provides."""


def test_a_loss_of_ones_own_is_given(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(cnnkit_losses=hookimpl(specname="cnnkit_losses")(lambda: [Own]))
    catalog = Catalog([*installed_plugins(), Plugin("mine", "1", "mine", lambda: module)])
    for place in ("cnnkit.components", "cnnkit.registry.trust"):
        monkeypatch.setattr(f"{place}.installed_catalog", lambda: catalog)
    _register(loss="Own()")
    assert "pass --loss 'Own()'" in cli("evaluate", "net").err
    assert cli("evaluate", "net", "--loss", "Own()").code == 0


def test_labels_do_not_steer_the_terminal(cli: Any, tmp_path: Path) -> None:
    steering = "\x1b]0;owned\x07\x1b[2J"
    _register(labels=(steering, *"abcdefgh\u202e"))
    np.save(tmp_path / "one.npy", np.zeros((8, 8)))
    for command in (("models", "show", "net"), ("predict", "net", "one.npy", "--top", "10"), ("summary", "net@1")):
        result = cli(*command)
        assert result.code == 0
        assert "\x1b" not in result.out + result.err
        assert "\u202e" not in result.out
    assert "\\x1b]0;owned\\x07\\x1b[2J" in cli("predict", "net", "one.npy", "--top", "10").out
    assert cli("predict", "net", "one.npy", "--top", "10", "--json").document["predictions"][0]["label"]


def test_expressions_do_not_steer_the_terminal(cli: Any) -> None:
    _register('Arrays("\x1b[2J")')
    result = cli("evaluate", "net")
    assert "\x1b" not in result.err
    assert "--dataset 'Arrays(\"\\x1b[2J\")'" in result.err


def test_what_everybody_writes_stays_as_it_is() -> None:
    text = "größe\tÅ 数字 क्ष 👩‍🔬 [red]\nnext"
    assert printable(text) == text
    assert printable("\x00\r\x7f\x9b\u2028\u2066") == "\\x00\\r\\x7f\\x9b\\u2028\\u2066"


def test_set_is_for_recipes(cli: Any) -> None:
    _register()
    result = cli("summary", "net@1", "--set", "x=1")
    assert (result.code, result.out) == (2, "")
    assert "--set overrides values of a recipe; net@1 is a registered model, which cannot change" in result.err


def test_a_home_folder_is_expanded(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _register()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cli("models", "list", "--registry=~/registry", "--json").document[0]["ref"] == "net@1"
    assert f"data      {tmp_path / 'somewhere'} (created when" in cli("doctor", "--data-dir=~/somewhere").out
