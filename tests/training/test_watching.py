"""Callbacks that see steps, add to the history and write it down."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit import Run, Sequential, Trainer, load_recipe
from cnnkit.components import Callback
from cnnkit.errors import CheckError, ComponentError, ConfigError, TrainingError
from cnnkit.testing import check_callback
from cnnkit.training.callbacks import EarlyStopping
from cnnkit.training.checkpoint import Checkpoints
from cnnkit.training.logs import CSVLog, JSONLog
from cnnkit.training.statistics_callbacks import LayerStatistics, Memory
from cnnkit.types import Array, Shape, TrainingStep
from tests.training.test_checkpoint import InMemory, StopsAfter

RNG = np.random.default_rng(0)
X = RNG.standard_normal((100, 1, 6, 6), np.float32)
Y = RNG.integers(0, 3, 100)
LAYERS = ["Conv2D(4, 3)", "ReLU()", "Flatten()", "Dense(3)"]
NAMES = ["conv2d_1.weight", "conv2d_1.bias", "dense_1.weight", "dense_1.bias"]


def fit(*callbacks: Callback, progress: Any = False, **options: Any) -> Run:
    given: dict[str, Any] = {"epochs": 2, "batch_size": 40, "workers": 1, "optimizer": "SGD(0.1)"} | options
    fitting = {name: given.pop(name) for name in ("stop", "checkpoints", "validation") if name in given}
    trainer = Trainer(callbacks=list(callbacks), progress=progress, **given)
    return trainer.fit(Sequential(LAYERS, (1, 6, 6)), (X, Y), **fitting)


class Seen(Callback):
    """Keeps copies of all steps."""

    def __init__(self) -> None:
        self.steps: list[TrainingStep] = []
        self.moved: list[dict[str, Array]] = []

    def on_step(self, step: TrainingStep) -> None:
        self.steps.append(step)
        self.moved.append({name: array - 0.1 * step.gradients[name] for name, array in step.weights.items()})


def test_a_callback_sees_each_step_before_its_update() -> None:
    seen = Seen()
    run = fit(seen)
    assert [(one.epoch, one.step, one.steps, one.samples) for one in seen.steps] == [
        (epoch, step, 3, 20 if step == 3 else 40) for epoch in (1, 2) for step in (1, 2, 3)
    ]
    assert list(seen.steps[0].weights) == list(seen.steps[0].gradients) == NAMES
    for name, array in run.model.state().items():
        np.testing.assert_allclose(seen.moved[-1][name], array, rtol=1e-5, atol=1e-7)
    losses = [one.loss * one.samples for one in seen.steps[:3]]
    assert sum(losses) / 100 == pytest.approx(run.history["loss"][0])
    assert {one.lr for one in seen.steps} == {0.1}
    with pytest.raises(ValueError, match="read-only"):
        seen.steps[0].weights["dense_1.bias"][0] = 1.0


def test_who_looks_changes_nothing() -> None:
    bare, watched = fit(), fit(Seen(), LayerStatistics(), Memory(), workers=2)
    assert watched.history["loss"] == bare.history["loss"]
    for name, array in bare.model.state().items():
        assert array.tobytes() == watched.model.state()[name].tobytes()


def test_statistics_are_those_of_the_last_step_of_each_epoch() -> None:
    seen = Copies()
    history = fit(LayerStatistics(), seen).history
    for epoch, (weights, gradients) in enumerate(seen.kept[2::3]):
        for name in NAMES:
            values = weights[name].astype(np.float64)
            expected = np.linalg.norm(values), values.mean(), values.std(), np.linalg.norm(gradients[name])
            found = [history[f"{name}[{what}]"][epoch] for what in ("norm", "mean", "std", "gradient")]
            np.testing.assert_allclose(found, expected, rtol=1e-6)


class Copies(Callback):
    def __init__(self) -> None:
        self.kept: list[list[dict[str, Array]]] = []

    def on_step(self, step: TrainingStep) -> None:
        self.kept.append(
            [{name: array.copy() for name, array in one.items()} for one in (step.weights, step.gradients)]
        )


def test_a_resumed_training_has_the_same_statistics() -> None:
    store, progress = InMemory(), StopsAfter(4)
    whole = fit(LayerStatistics())
    fit(LayerStatistics(), progress=progress, stop=progress.request, checkpoints=Checkpoints(store))
    resumed = fit(LayerStatistics(), checkpoints=Checkpoints(store, resume=True))
    names = [name for name in whole.history if name != "seconds"]
    assert len(names) == 3 + 4 * len(NAMES)
    assert {name: whole.history[name] for name in names} == {name: resumed.history[name] for name in names}


def test_what_is_added_can_be_monitored() -> None:
    run = fit(LayerStatistics(), EarlyStopping("dense_1.weight[gradient]", patience=1), epochs=30)
    values = run.history["dense_1.weight[gradient]"]
    assert len(values) < 30
    assert values[-1] >= min(values[:-1])


def test_memory_is_measured() -> None:
    history = fit(Memory()).history
    assert len(history["memory[MiB]"]) == 2
    if Path("/proc/self/statm").exists():
        assert all(20 < value < 1e6 for value in history["memory[MiB]"])


def test_logs_are_whole_after_each_epoch_and_when_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkdir("logs")
    logs = CSVLog("log.csv"), JSONLog("logs/log.jsonl")
    store, progress = InMemory(), StopsAfter(4)
    fit(*logs, progress=progress, stop=progress.request, checkpoints=Checkpoints(store))
    assert len(Path("log.csv").read_text().splitlines()) == 2
    history = fit(*logs, checkpoints=Checkpoints(store, resume=True)).history
    with Path("log.csv").open() as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in Path("logs/log.jsonl").read_text().splitlines()]
    assert [int(row["epoch"]) for row in rows] == [line["epoch"] for line in lines] == [1, 2]
    for name, values in history.items():
        assert [float(row[name]) for row in rows] == [line[name] for line in lines] == values


def test_a_log_replaces_nothing_but_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, callback in (("table.csv", CSVLog), ("table.jsonl", JSONLog)):
        Path(name).write_text("mine\n")
        with pytest.raises(ConfigError, match=f"^{name} is not a log of a training, and is not replaced by one"):
            fit(callback(name))
        assert Path(name).read_text() == "mine\n"
        Path(name).write_text("")
        fit(callback(name))
        fit(callback(name), epochs=3)
        assert len(Path(name).read_text().splitlines()) == (4 if name == "table.csv" else 3)
    with pytest.raises(ConfigError, match="expected the name of a file in a folder that exists"):
        fit(CSVLog("nowhere/log.csv"))


def test_a_log_is_where_the_training_runs() -> None:
    for wrong in ("/tmp/log.csv", "../log.csv", "a/../../log.csv", "log.txt", ".csv", "", 3):
        with pytest.raises(
            ConfigError, match=f"^path must be the name of a .csv file in .*got {re.escape(repr(wrong))}$"
        ):
            CSVLog(wrong)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ConfigError, match=r"path must be the name of a \.jsonl file"):
        JSONLog("log.csv")


def test_what_is_not_finite_is_null_in_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for log in (JSONLog("log.jsonl"), CSVLog("log.csv")):
        log.start({})
        log.after_epoch({"loss": [float("nan"), 0.5]})
    assert Path("log.jsonl").read_text() == '{"epoch": 1, "loss": null}\n{"epoch": 2, "loss": 0.5}\n'
    assert Path("log.csv").read_text() == "epoch,loss\n1,nan\n2,0.5\n"
    for log in (JSONLog("log.jsonl"), CSVLog("log.csv")):
        log.start({})


class Adds(Callback):
    def __init__(self, name: str = "mine", given: Any = 1.0) -> None:
        self.name = name
        self.given = given

    def quantities(self, parameters: Mapping[str, Shape]) -> Mapping[str, bool]:
        return {self.name: False}

    def measured(self) -> Mapping[str, float]:
        return {"mine": self.given}


class Writes(Callback):
    def on_step(self, step: TrainingStep) -> None:
        step.weights["dense_1.bias"][...] = 0


def test_what_callbacks_add_is_checked() -> None:
    assert fit(Adds()).history["mine"] == [1.0, 1.0]
    with pytest.raises(ConfigError, match="a callback adds 'loss' to the history, which has it anyway"):
        fit(Adds("loss"))
    with pytest.raises(ConfigError, match=r"Adds\(\) adds 'mine' to the history, and so does another callback"):
        fit(Adds(), Adds())
    with pytest.raises(ComponentError, match=r"must return a number for each of its quantities, other, from measured"):
        fit(Adds("other"))
    with pytest.raises(ComponentError, match=r"it returned \{'mine': 'much'\}"):
        fit(Adds(given="much"))
    with pytest.raises(ConfigError, match="callbacks may add 500,000 numbers to the history in all, 16 in each of"):
        fit(LayerStatistics(), epochs=40_000)
    with pytest.raises(ConfigError, match=r"LayerStatistics\(\) needs layers with parameters"):
        Trainer(callbacks=[LayerStatistics()], loss="MSE()", progress=False).fit(
            Sequential(["ReLU()"], (3,)), (X[:, 0, 0, :3], X[:, 0, 0, :3])
        )


def test_faults_are_found_by_the_suite() -> None:
    check_callback(Adds())
    with pytest.raises(CheckError, match=r"fails the check 'steps': measured must give a number for each of other"):
        check_callback(Adds("other"))
    with pytest.raises(CheckError, match=r"fails the check 'steps': ValueError: assignment destination is read-only"):
        check_callback(Writes())


class Witness(Callback):
    """Keeps what it is told of whole trainings."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def after_training(self, run: Any) -> None:
        self.told.append(run)


def test_a_callback_sees_the_run_with_its_model() -> None:
    witness = Witness()
    run = fit(witness)
    assert witness.told == [run]
    assert run.recipe is not None
    assert list(run.recipe) == ["train"]
    recipe = load_recipe("digits", {"train.epochs": 1, "train.callbacks": []})
    trainer = Trainer(epochs=1, callbacks=[witness], progress=False)
    given = trainer.fit(Sequential(LAYERS, (1, 6, 6)), (X, Y), recipe=recipe.to_dict())
    assert witness.told[-1].recipe == given.recipe == recipe.to_dict()


def test_a_callback_is_told_of_a_training_that_failed() -> None:
    witness = Witness()
    with pytest.raises(TrainingError):
        fit(witness, optimizer="SGD(1e30)")
    with pytest.raises(ConfigError):
        fit(witness, EarlyStopping())  # there are no validation samples
    assert witness.told == [None, None]


def test_a_callback_that_fails_after_the_training_loses_nothing_of_it() -> None:
    class Fails(Callback):
        def after_training(self, run: Any) -> None:
            raise OSError("the server is gone")

    witness = Witness()
    with pytest.warns(RuntimeWarning, match=r"Fails\(\) failed after the training: OSError: the server is gone"):
        run = fit(Fails(), witness)
    assert witness.told == [run]


def test_the_check_finds_a_callback_that_changes_the_run() -> None:
    class Rounds(Callback):
        def after_training(self, run: Any) -> None:
            if run is not None:
                run.metrics["loss"] = 0.0

    class Prunes(Callback):
        def after_training(self, run: Any) -> None:
            if run is not None:
                run.model.parameters.vector[:] = 0

    class Expects(Callback):
        def after_training(self, run: Any) -> None:
            assert run is not None, "a run"

    for callback, message in ((Rounds(), "the run"), (Prunes(), "dense_1.weight"), (Expects(), "a run")):
        with pytest.raises(CheckError, match=message):
            check_callback(callback)
