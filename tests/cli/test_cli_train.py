"""`train`, and what is seen of the model afterwards: `evaluate`, `summary`."""

from __future__ import annotations

import re
import shlex
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnkit import Registry
from cnnkit.network import Objective
from cnnkit.training.recipe import recipe_descriptions
from cnnkit.training.trainer import Trainer

PARTS = ("program", "samples", "parameters", "gradients", "optimizer", "workspaces", "processes")


def test_train_registers_the_model_and_says_how_to_go_on(cli: Any, tmp_path: Path) -> None:
    result = cli("train", "tiny.toml")
    assert result.code == 0
    path = tmp_path / "registry" / "tiny" / "v000001.h5"
    assert path.is_file()
    assert f"file        {path}\n" in result.out
    assert "accuracy" in result.out
    assert "epoch 1/1  loss" in result.err
    for line in ("cnnkit evaluate tiny@1", "cnnkit export tiny@1", "cnnkit plot tiny@1"):
        assert f"  {line}\n" in result.out


def test_all_recipes_that_ship_are_listed(cli: Any) -> None:
    result = cli("train", "--list")
    about = recipe_descriptions()
    assert (result.code, result.err) == (0, "")
    heading, *lines = result.out.splitlines()
    assert heading.split(maxsplit=1) == ["recipe", "what it trains"]
    assert dict(line.split(maxsplit=1) for line in lines) == about
    listed = [{"recipe": name, "description": text} for name, text in about.items()]
    assert cli("train", "--list", "--json").document == listed
    refused = cli("train", "digits", "--list")
    assert (refused.code, refused.err) == (2, "error: --list trains nothing: remove --list, or digits\n")


def test_the_commands_to_go_on_with_work_as_printed(cli: Any, tmp_path: Path) -> None:
    folder = tmp_path / "my models"
    result = cli("train", "tiny.toml", "--registry", folder)
    lines = [shlex.split(line)[1:] for line in result.out.splitlines() if line.startswith("  cnnkit ")]
    assert [line[-2:] for line in lines] == [["--registry", str(folder)]] * 3
    evaluated, exported = (cli(*line) for line in lines[:2])
    assert (evaluated.code, exported.code) == (0, 0)


def test_json_is_one_document_and_progress_goes_elsewhere(cli: Any, tmp_path: Path) -> None:
    result = cli("train", "tiny.toml", "--epochs", "2", "--json")
    document = result.document
    assert document["ref"] == "tiny@1"
    assert document["path"] == str(tmp_path / "registry" / "tiny" / "v000001.h5")
    assert len(document["digest"]) == 64
    assert document["epochs"] == len(document["history"]["loss"]) == 2
    assert document["reason"] == "all epochs done"
    assert 0 <= document["metrics"]["accuracy"] <= 1
    assert "epoch 2/2" in result.err


def test_flags_and_set_change_the_recipe_that_is_stored(cli: Any) -> None:
    flags = ("--lr", "0.05", "--seed", "7", "--batch-size", "500")
    settings = ("--set", "data.validation=0.2", "--set", "model.name=other")
    recipe = cli("train", "tiny.toml", *flags, *settings, "--json").document["recipe"]
    assert recipe["train"]["optimizer"] == "SGD(lr=0.05, momentum=0.9)"
    assert (recipe["train"]["seed"], recipe["train"]["batch_size"]) == (7, 500)
    assert recipe["data"]["validation"] == 0.2
    assert cli("models", "show", "other@latest", "--json").document["recipe"] == recipe


def test_workers_do_not_change_a_digest(cli: Any, tmp_path: Path) -> None:
    import numpy as np

    from cnnkit.registry import Registry

    for workers in ("1", "2"):
        assert cli("train", "tiny.toml", "--workers", workers).code == 0
    one, two = (Registry(tmp_path / "registry").read(f"tiny@{number}").state for number in (1, 2))
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_dry_run_shows_the_plan_and_writes_nothing(cli: Any, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    result = cli("train", "tiny.toml", "--dry-run", "--epochs", "3")
    assert result.code == 0
    assert "epochs = 3\n" in result.out
    assert "650 parameters" in result.out
    assert "training samples    1,437\n" in result.out
    assert "steps in all        18\n" in result.out
    document = cli("train", "tiny.toml", "--dry-run", "--json").document
    assert (document["steps_in_an_epoch"], document["steps_in_all"], document["test_samples"]) == (6, 6, 360)
    assert document["recipe"]["model"]["name"] == "tiny"
    assert sorted(tmp_path.rglob("*")) == before


def test_dry_run_shows_the_memory(cli: Any) -> None:
    shown = cli("train", "tiny.toml", "--dry-run").out.partition("\nmemory:\n")[2].splitlines()
    names = [*PARTS, "in all", "of that new", "available", "largest layer"]
    assert [line[2:].partition("  ")[0] for line in shown] == names
    document = cli("train", "tiny.toml", "--dry-run", "--json").document
    memory = document["memory"]
    assert list(memory) == [*PARTS, "total", "available"]
    assert memory["total"] == sum(memory[name] for name in PARTS)
    assert memory["parameters"] == 4 * 650
    assert document["largest_layer"] == "flatten_1"


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_training_that_does_not_fit_is_refused(cli: Any, monkeypatch: pytest.MonkeyPatch, options: Any) -> None:
    monkeypatch.setattr("cnnkit.training.trainer.available_memory", lambda: 1000)
    result = cli("train", "tiny.toml", *options)
    assert result.code == 2
    assert result.err.startswith("error: training with batch size 256 takes about ")
    assert result.err.endswith("no batch size fits; use fewer workers, smaller inputs, or a smaller network\n")
    assert ("memory:" in result.out) == bool(options)


def test_memory_that_runs_out_is_one_line(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*arguments: Any, **options: Any) -> None:
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr(Trainer, "fit", exhausted)
    result = cli("train", "tiny.toml")
    assert (result.code, result.err) == (2, "error: out of memory: Unable to allocate 9 TiB\n")


def _stop_in_epoch(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send this process SIGTERM when an epoch begins."""
    original = Objective.means
    calls: list[None] = []

    def means(self: Objective, sums: Any) -> dict[str, float]:
        calls.append(None)
        if len(calls) == 7 * (epoch - 1) + 1:  # six steps in an epoch, and its end
            signal.raise_signal(signal.SIGTERM)
        return original(self, sums)

    monkeypatch.setattr(Objective, "means", means)


def test_an_interrupted_training_registers_nothing_and_says_how_to_go_on(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stop_in_epoch(3, monkeypatch)
    result = cli("train", "tiny.toml", "--epochs", "50", "--registry", "my models")
    assert result.code == 128 + signal.SIGTERM
    assert "interrupted after 2 epochs: nothing was registered" in result.err
    assert "to continue: cnnkit train --resume tiny-" in result.err
    assert result.err.endswith(" --registry 'my models'\n")
    assert not (tmp_path / "my models" / "tiny").exists()


def test_an_interrupted_training_names_its_run_as_json(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _stop_in_epoch(1, monkeypatch)
    document = cli("train", "tiny.toml", "--epochs", "3", "--json").document
    assert (document["ref"], document["reason"], document["epochs"]) == (None, "stopped by the user", 0)
    finished = cli("train", "--resume", document["run"], "--json").document
    assert (finished["ref"], finished["run"], finished["epochs"]) == ("tiny@1", None, 3)


def test_an_interrupted_training_is_not_profiled(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _stop_in_epoch(2, monkeypatch)
    result = cli("train", "tiny.toml", "--epochs", "50", "--profile", "--json")
    assert result.code == 128 + signal.SIGTERM
    assert result.document["profile"] is None


def test_evaluate_repeats_the_metrics_of_the_training(cli: Any) -> None:
    metrics = cli("train", "tiny.toml", "--json").document["metrics"]
    document = cli("evaluate", "tiny@latest", "--json").document
    assert document["metrics"] == metrics
    assert (document["ref"], document["samples"], document["same_data"]) == ("tiny@1", 360, True)
    plain = cli("evaluate", "tiny")
    assert plain.code == 0
    assert "tiny@1 on 360 test samples of Digits()" in plain.err
    assert f"{metrics['accuracy']:.6g}" in plain.out


def test_evaluate_on_another_dataset_says_that_it_is_another(trained: Any) -> None:
    result = trained("evaluate", "tiny@1", "--dataset", "Digits(test=0.5)", "--json")
    assert (result.document["same_data"], result.document["samples"]) == (False, 899)
    assert "warning" not in result.err


def test_evaluate_warns_when_the_data_is_not_what_it_was(cli: Any, tmp_path: Path) -> None:
    import numpy as np

    rng = np.random.default_rng(0)

    def write() -> None:
        x, y = rng.integers(256, size=(40, 1, 4, 4), dtype=np.uint8), np.arange(40) % 10
        np.savez(tmp_path / "mine.npz", x=x, y=y)

    write()
    assert cli("train", "tiny.toml", "--set", "data.dataset=Arrays('mine.npz')").code == 0
    command = ("evaluate", "tiny", "--dataset", "Arrays('mine.npz')")
    assert "warning" not in cli(*command).err
    write()
    assert 'warning: Arrays("mine.npz") has changed since tiny@1 was trained' in cli(*command).err


def test_summary_of_a_recipe_and_of_its_model_is_the_same(trained: Any) -> None:
    described, registered = trained("summary", "tiny.toml"), trained("summary", "tiny@1")
    assert described.code == registered.code == 0
    assert described.out == registered.out
    assert "dense_1    Dense(10)" in described.out
    document = trained("summary", "tiny@1", "--json").document
    sums = {"parameters": 650, "products": 640, "operations": 1280}
    assert {name: document[name] for name in sums} == sums
    flatten, dense = document["nodes"]
    assert (flatten["inputs"], flatten["parameters"], flatten["products"]) == (["input"], 0, 0)
    assert dense == {"name": "dense_1", "layer": "Dense(10)", "inputs": ["flatten_1"], "output": [10]} | sums


def test_the_next_commands_name_what_a_model_file_may_not_open(cli: Any, tmp_path: Path) -> None:
    import numpy as np

    np.savez(tmp_path / "own.npz", x=np.zeros((20, 8, 8), np.uint8), y=np.arange(20) % 10)
    recipe = (tmp_path / "tiny.toml").read_text().replace("Digits()", "Arrays('own.npz')")
    (tmp_path / "own.toml").write_text(recipe)
    result = cli("train", "own.toml")
    line = next(line for line in result.out.splitlines() if "evaluate" in line)
    command = shlex.split(line)
    assert command[3:] == ["--dataset", 'Arrays("own.npz")']
    assert cli(*command[1:]).code == 0
    assert "--dataset" not in cli("train", "tiny.toml").out


def test_a_model_that_cannot_be_tested_is_registered_and_the_exit_code_says_so(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: object) -> None:
        raise ZeroDivisionError("no such class")

    monkeypatch.setattr(Trainer, "_evaluated", fails)
    result = cli("train", "tiny.toml", "--json")
    assert result.code == 1
    warning = "the model was trained, but could not be measured on the test samples: ZeroDivisionError: no such class"
    assert f"warning: {warning}" in result.err
    assert (result.document["ref"], result.document["metrics"], result.document["warning"]) == ("tiny@1", {}, warning)
    manifest = Registry("registry").read("tiny@1").manifest
    assert manifest.settings["warning"] == warning
    assert manifest.input_range == (0, 16)


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_wrong_samples_are_found_before_the_first_step(cli: Any, tmp_path: Path, options: list[str]) -> None:
    x, y = np.zeros((20, 8), np.float32), np.arange(20) % 10
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=y, x_test=x, y_test=y + (np.arange(20) == 13) * 9)
    result = cli("train", "tiny.toml", "--set", "data.dataset=Arrays('mine.npz')", *options)
    assert result.code == 2
    assert "class indices must be 0 to 9; the target of the test sample 13 is 12" in result.err
    assert "epoch" not in result.err


def test_the_epoch_that_was_kept_is_in_what_is_printed_and_in_the_registry(cli: Any) -> None:
    best = ("--epochs", "4", "--lr", "3", "--set", "train.keep=best", "--set", "data.validation=0.2")
    document = cli("train", "tiny.toml", *best, "--json").document
    accuracies = document["history"]["validation_accuracy"]
    assert document["kept_epoch"] == accuracies.index(max(accuracies)) + 1 < 4
    assert document["settings"]["kept_epoch"] == document["kept_epoch"]
    assert f"kept epoch  {document['kept_epoch']} of 4\n" in cli("train", "tiny.toml", *best).out
    assert re.search(rf"^kept epoch +{document['kept_epoch']}$", cli("models", "show", "tiny@1").out, re.MULTILINE)
    assert cli("models", "show", "tiny@1", "--json").document["settings"]["kept_epoch"] == document["kept_epoch"]


def test_where_the_last_is_kept_nobody_speaks_of_it(cli: Any) -> None:
    document = cli("train", "tiny.toml", "--json").document
    assert (document["kept_epoch"], document["partial_steps"]) == (1, 0)
    assert "kept epoch" not in cli("train", "tiny.toml").out + cli("models", "show", "tiny@1").out


def test_a_callback_that_fails_is_named(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnkit.training.callbacks import StopAt

    monkeypatch.setattr(StopAt, "after_epoch", lambda self, history: history["nothing"])
    result = cli("train", "tiny.toml", "--set", "train.callbacks=[\"StopAt(2.0, 'accuracy')\"]")
    assert result.code == 2
    assert "internal error: KeyError: 'nothing'\n  in the callback StopAt(2.0, monitor=\"accuracy\")" in result.err


def test_data_in_the_place_of_a_recipe_get_a_recipe(cli: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "My Data.npz", x=rng.normal(size=(40, 1, 8, 8)).astype(np.float32), y=np.arange(40) % 2)
    result = cli("train", "My Data.npz", "--epochs", "1", "--save-recipe", "mine.toml")
    assert result.code == 0
    assert (
        'chosen for Arrays("My Data.npz"): 17 layers, of which 4 convolutions; AdamW(0.003, weight_decay=0.1), 1 epoch'
        in result.err
    )
    assert "registered  my-data@1" in result.out
    again = cli("train", "mine.toml")
    assert "registered  my-data@2" in again.out
    assert "chosen for" not in again.err
    refused = cli("train", "My Data.npz", "--save-recipe", "mine.toml")
    assert (refused.code, refused.out) == (2, "")
    assert "--save-recipe does not overwrite mine.toml: choose another name, or remove it" in refused.err
    assert "cannot write the recipe to no/mine.toml" in cli("train", "--save-recipe", "no/mine.toml").err


def test_warnings_of_the_data_are_told(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(4):
            image = np.full((8, 8), 20 * number + len(label) * (label == "cat"), np.uint8)
            Image.fromarray(image).save(tmp_path / "photos" / label / f"{number}.png")
    (tmp_path / "photos" / "cat" / "page.png").write_text("<html>")
    for command in (("train", "photos", "--dry-run"), ("train", "photos/", "--epochs", "1")):
        result = cli(*command)
        assert result.code == 0
        expected = "warning: photos: 1 image that cannot be used, left out:\n  cat/page.png: expected an image"
        assert expected in result.err
    for command in (
        ("datasets", "show", 'ImageFolder("photos", on_error="skip")'),
        ("evaluate", "photos@1", "--dataset", 'ImageFolder("photos", on_error="skip")'),
    ):
        assert "warning: photos: 1 image that cannot be used, left out\n" in cli(*command).err
