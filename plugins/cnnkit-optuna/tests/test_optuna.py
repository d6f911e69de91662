"""Searches: what they draw, what decides, what is pruned, and what is registered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from cnnkit_optuna import OptunaPruning, Space, read_space, search
from cnnkit_optuna.__main__ import main
from cnnkit_optuna.pruning import TRIAL

from cnnkit import Registry, Trainer, load_recipe, train
from cnnkit.errors import ConfigError, RecipeError
from cnnkit.testing import check_callback

RECIPE = """
[model]
name = "small"
layers = ["Flatten()", "Dense(16)", "ReLU()", "Dense(10)"]
[data]
dataset = "Digits()"
validation = 0.2
[train]
optimizer = "Adam(0.01)"
epochs = 2
batch_size = 64
"""
SPACE = """
[search]
"train.lr" = { low = 1e-4, high = 1e-1, log = true }
units = { low = 8, high = 32, step = 8 }
batch = { choices = [32, 64] }
[recipe]
"model.layers" = ["Flatten()", "Dense({units})", "ReLU()", "Dense(10)"]
"train.batch_size" = "{batch}"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CNNKIT_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setenv("CNNKIT_KERNELS", "numpy")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    Path("small.toml").write_text(RECIPE)
    Path("space.toml").write_text(SPACE)
    return tmp_path


def test_pruning_keeps_the_contract_of_callbacks() -> None:
    check_callback('OptunaPruning("validation_accuracy")')


def test_values_go_where_the_space_says() -> None:
    drawn = read_space("space.toml").draw(optuna.trial.FixedTrial({"train.lr": 0.01, "units": 24, "batch": repr(32)}))
    assert drawn == {
        "train.lr": 0.01,
        "model.layers": ["Flatten()", "Dense(24)", "ReLU()", "Dense(10)"],
        "train.batch_size": 32,
    }


def test_the_command_searches_registers_and_writes_the_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["small.toml", "space.toml", "--trials", "4", "--output", "best.toml"]) == 0
    out = capsys.readouterr().out
    assert "4 trials: " in out
    assert "registered as small@1" in out
    record = Registry().read("small@1")
    best = load_recipe("best.toml")
    assert record.manifest.recipe == best.to_dict()  # without the callback that only a search needs
    again = train(best, progress=False)
    assert f"validation_accuracy {again.history['validation_accuracy'][-1]:.6g}" in out
    for name, array in record.model().state().items():
        np.testing.assert_array_equal(again.model.state()[name], array)


def test_validation_decides_and_the_same_seed_finds_the_same() -> None:
    found = search("small.toml", "space.toml", trials=3, register=False)
    values = [trial.value for trial in found.study.trials]
    assert found.monitor == "validation_accuracy"
    assert found.value == max(values) != min(values)
    assert found.run is not None
    assert found.run.history["validation_accuracy"][-1] == found.value
    again = search("small.toml", "space.toml", trials=3, register=False)
    assert [trial.params for trial in again.study.trials] == [trial.params for trial in found.study.trials]
    assert not Registry().path.exists() or not any(Registry().path.rglob("*.h5"))


def test_a_loss_is_made_small() -> None:
    found = search("small.toml", "space.toml", trials=3, monitor="validation_loss", register=False)
    assert found.value == min(trial.value or 0.0 for trial in found.study.trials)


def test_a_trial_that_is_worse_than_others_is_pruned() -> None:
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=1))
    callback = OptunaPruning("validation_accuracy")
    for values in ([0.5, 0.6], [0.4]):
        token = TRIAL.set(trial := study.ask())
        told = [callback.after_epoch({"validation_accuracy": values[: n + 1]}) for n in range(len(values))]
        TRIAL.reset(token)
        study.tell(trial, values[-1])
    assert told == ["pruned by Optuna: other trials were better at this epoch"]
    assert callback.after_epoch({"validation_accuracy": [0.0]}) == ""


def test_pruned_and_diverged_trials_do_not_win() -> None:
    space = Space({"train.lr": {"choices": [1e-6, 0.01, 1e38]}})
    recipe = load_recipe("small.toml", {"train.optimizer": "SGD(0.01)", "train.epochs": 4})
    Path("sgd.toml").write_text(recipe.to_toml())
    found = search("sgd.toml", space, trials=16, register=False)
    states = {trial.state.name for trial in found.study.trials}
    assert states == {"COMPLETE", "PRUNED", "FAIL"}
    assert found.overrides == {"train.lr": 0.01}


def test_a_study_is_continued() -> None:
    first = search("small.toml", "space.toml", trials=2, storage="sqlite:///study.db", register=False)
    then = search("small.toml", "space.toml", trials=1, storage="sqlite:///study.db", register=False)
    assert len(first.study.trials) == len(then.study.trials) == 3
    assert then.value >= max(trial.value or 0.0 for trial in then.study.trials[:2])


@pytest.mark.parametrize(
    ("given", "recipe", "message"),
    [
        ({}, {}, r"needs at least one name in \[search\]"),
        ({"train.epochs": {"low": 3}}, {}, r"\[search\] has train.epochs = "),
        ({"train.epochs": {"low": 3, "high": 1}}, {}, "low up to high"),
        ({"train.lr": {"low": 0, "high": 1, "log": True}}, {}, "log only without a step and from above 0"),
        ({"train.epochs": {"choices": []}}, {}, r"\[search\] has train.epochs = "),
        ({"units": {"choices": [1]}}, {}, "'units', which goes nowhere"),
        ({"units": {"choices": [1]}}, {"model.layers": ["Dense({units})", "Dense({other})"]}, r"names \{other\}"),
    ],
)
def test_a_wrong_space_is_explained(given: Any, recipe: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Space(given, recipe)


def test_what_is_wrong_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    space = Space({"train.epochs": {"low": 1, "high": 2}})
    with pytest.raises(ConfigError, match="monitor must be one of validation_accuracy, validation_loss"):
        search("small.toml", space, monitor="accuracy")
    Path("blind.toml").write_text(RECIPE.replace("validation = 0.2\n", ""))
    with pytest.raises(ConfigError, match="'validation_accuracy' is not measured in this training"):
        search("blind.toml", space)
    with pytest.raises(RecipeError, match="epoch"):
        search("small.toml", Space({"train.epoch": {"low": 1, "high": 2}}))
    with pytest.raises(ConfigError, match="monitor must be a quantity of the validation samples"):
        OptunaPruning("accuracy")
    Path("odd.toml").write_text("[other]\n")
    assert main(["small.toml", "odd.toml"]) == 2
    assert "has 'other'; expected the tables [search] and [recipe]" in capsys.readouterr().err
    assert main(["small.toml", "missing.toml"]) == 2
    assert Trainer(callbacks=["OptunaPruning()"]).callbacks == [OptunaPruning()]
