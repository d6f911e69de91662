"""Comparing for real: any number of jobs and any backend give the same bits; failures stay in their rows."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from joblib import parallel_config

from cnnkit.comparison import (
    Comparison,
    ComparisonProgress,
    Row,
    RunResult,
    compare,
    draw_comparison,
    resume_comparison,
    tasks,
)
from cnnkit.errors import ConfigError, PlotError, RegistryError, ShapeError, TrainingError
from cnnkit.registry import Comparisons, Registry
from cnnkit.training.recipe import Recipe
from tests.comparison.test_comparison_plan import TINY

PICTURES = "cnnkit.comparison.comparison_pictures"
UNTRACED = "seconds"


def base(**changes: Any) -> Recipe:
    return Recipe.from_toml(TINY, "tiny.toml").override(changes)


def numbers(comparison: Comparison) -> dict[tuple[str, int], Any]:
    """Metrics and history of every run, without the times."""
    return {
        (row.name, run.seed): (run.metrics, {k: v for k, v in run.history.items() if k != UNTRACED})
        for row in comparison.rows
        for run in row.runs
    }


def weights(comparison: Comparison, registry: Path) -> dict[tuple[str, int], dict[str, bytes]]:
    """The arrays of every registered run."""
    store = Registry(registry)
    return {
        (row.name, run.seed): {name: array.tobytes() for name, array in store.read(run.ref).state.items()}
        for row in comparison.rows
        for run in row.runs
        if run.ref
    }


def all_of(registry: Path, **options: Any) -> tuple[Comparison, Any, Any]:
    made = compare(["c4p", "pc2"], base=base(), seeds=2, registry=registry, register="all", **options)
    assert not made.failures
    assert len(weights(made, registry)) == 4
    return made, numbers(made), weights(made, registry)


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, Any, Any]:
    return all_of(tmp_path_factory.mktemp("one"), jobs=1)


def test_two_jobs_give_the_same_bits(tmp_path: Path, one_by_one: Any) -> None:
    made, *found = all_of(tmp_path, jobs=2)
    assert found == list(one_by_one[1:])
    assert [row.name for row in made.rows] == [row.name for row in one_by_one[0].rows]
    assert {Registry(tmp_path).read(ref).manifest.settings["workers"] for ref in refs(made)} == {1}


@pytest.mark.parametrize("backend", ["threading", "multiprocessing"])
def test_other_backends_give_the_same_bits(tmp_path: Path, one_by_one: Any, backend: str) -> None:
    with parallel_config(backend, n_jobs=2):
        assert all_of(tmp_path)[1:] == one_by_one[1:]


def test_a_dask_cluster_gives_the_same_bits(tmp_path: Path, one_by_one: Any) -> None:
    from distributed import Client, LocalCluster

    cluster: Any = LocalCluster
    client: Any = Client  # which have no types
    with (
        cluster(processes=True, n_workers=2, threads_per_worker=1, dashboard_address=None) as two,
        client(two),
        parallel_config("dask"),
    ):
        assert all_of(tmp_path)[1:] == one_by_one[1:]


def refs(comparison: Comparison) -> list[str]:
    return [run.ref for row in comparison.rows for run in row.runs if run.ref]


def test_it_trains_what_train_trains(tmp_path: Path, one_by_one: Any) -> None:
    from cnnkit import train

    layers = ["MaxPool2D(2)", "Conv2D(2, 3)", "ReLU()", "Flatten()", "Dense(10)"]
    run = train(base(**{"model.layers": layers, "data.validation": 0.1}), seed=1)
    state = {name: array.tobytes() for name, array in run.model.state().items()}
    assert one_by_one[2]["pc2", 1] == state
    assert one_by_one[1]["pc2", 1][1] == {name: v for name, v in run.history.items() if name != UNTRACED}
    made = one_by_one[0]
    layers = ["Conv2D(4, 3)", "ReLU()", "MaxPool2D(2)", "Flatten()", "Dense(10)"]
    best = train(base(**{"model.layers": layers, "data.validation": 0.1}), seed=made.best_run.seed)
    assert (made.best.name, made.test) == ("c4p", best.metrics)


def test_the_best_run_is_registered_with_the_name_of_its_comparison(tmp_path: Path) -> None:
    made = compare(["c4p", "pc2"], base=base(epochs=2), seeds=2, registry=tmp_path)
    assert made.best is not None
    assert made.best_run is not None
    assert refs(made) == [made.best_run.ref] == [f"tiny-{made.best.name}@1"]
    assert Registry(tmp_path).tags(refs(made)[0]) == {"comparison": made.name}
    reached = {(row.name, run.seed): run.metrics["accuracy"] for row in made.rows for run in row.runs}
    means = {row.name: row.mean("accuracy") for row in made.rows}
    assert made.best.name == max(means, key=lambda name: means[name] or 0.0)
    assert made.best_run.metrics["accuracy"] == max(reached[made.best.name, seed] for seed in (0, 1))
    assert Registry(tmp_path).read(refs(made)[0]).manifest.metrics == made.test
    assert Comparisons(tmp_path).names() == []


def test_nothing_is_registered_if_nothing_shall_be(tmp_path: Path) -> None:
    made = compare(["p"], base=base(), seeds=1, registry=tmp_path, register="none")
    assert refs(made) == []
    assert Registry(tmp_path).models() == []


def test_parameters_and_times_are_told(one_by_one: Any) -> None:
    made = one_by_one[0]
    assert {row.name: row.parameters for row in made.rows} == {"c4p": 40 + 370, "pc2": 20 + 90}
    assert {row.model for row in made.rows} == {"tiny-c4p", "tiny-pc2"}
    assert all(row.seconds > 0 and row.seconds_per_epoch == pytest.approx(row.seconds / 2) for row in made.rows)


class Told(ComparisonProgress):
    def __init__(self) -> None:
        self.begun_with: list[int] = []
        self.runs: list[tuple[str, int, str]] = []
        self.warnings: list[str] = []

    def begun(self, comparison: Comparison) -> None:
        self.begun_with.append(sum(len(row.runs) for row in comparison.rows))

    def run_done(self, comparison: Comparison, row: Row, run: RunResult, warnings: Sequence[str]) -> None:
        assert row in comparison.rows
        self.runs.append((row.name, run.seed, run.error))
        self.warnings += warnings


GRID = {"optimizer": ["SGD(0.1)", "SGD(1e30)"]}
"""One that trains, and one that goes beyond all numbers."""


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_fails_is_in_its_row_and_the_others_go_on(tmp_path: Path, jobs: int) -> None:
    told = Told()
    made = compare(["c4p"], base=base(), grid=GRID, seeds=2, registry=tmp_path, jobs=jobs, progress=told)
    good, bad = made.rows
    assert (good.name, bad.name) == ("c4p optimizer=SGD(0.1)", "c4p optimizer=SGD(1e30)")
    assert (len(good.done), len(bad.failed)) == (2, 2)
    assert all("lower the learning rate" in run.error for run in bad.failed)
    assert refs(made) == ["tiny-c4p@1"]
    assert len(told.runs) == 4
    assert Comparisons(tmp_path).names() == [made.name]


def test_failed_runs_alone_are_tried_again(tmp_path: Path) -> None:
    first = compare(["c4p"], base=base(), grid=GRID, seeds=2, registry=tmp_path)
    told = Told()
    again = resume_comparison(registry=tmp_path, progress=told)
    assert told.begun_with == [2]
    assert [name for name, _, _ in told.runs] == 2 * ["c4p optimizer=SGD(1e30)"]
    assert numbers(again) == numbers(first)
    assert refs(again) == refs(first)  # registered once
    assert len(Registry(tmp_path).versions("tiny-c4p")) == 1


def test_memory_that_runs_out_and_mistakes_of_plugins_are_failures_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = iter([MemoryError(), MemoryError("Unable to allocate 9 TiB"), ZeroDivisionError("division by zero")])

    def fail(*arguments: Any, **options: Any) -> None:
        raise next(errors)

    monkeypatch.setattr(tasks, "train", fail)
    made = compare(["c4p"], base=base(), seeds=3, registry=tmp_path)
    assert [run.error for run in made.rows[0].failed] == [
        "out of memory",
        "out of memory: Unable to allocate 9 TiB",
        "ZeroDivisionError: division by zero",
    ]
    assert (made.best, refs(made)) == (None, [])


def test_a_warning_of_a_run_is_told(tmp_path: Path) -> None:
    told = Told()
    recipe = base(rollback=0.5, optimizer="SGD(1e30)")
    compare(["c4p"], base=recipe, seeds=1, registry=tmp_path, progress=told)
    assert told.warnings
    assert "the epoch restarts with 0.5 times the rate" in told.warnings[0]


def test_what_can_be_seen_before_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="larger than its input") as error:
        compare(["p", "pppp"], base=base(), registry=tmp_path / "new")
    assert error.value.__notes__ == ["in the configuration pppp"]
    with pytest.raises(ConfigError, match="jobs must be a whole number, 1 or above, got 0"):
        compare(["p"], base=base(), registry=tmp_path / "other", jobs=0)
    assert list(tmp_path.iterdir()) == []


def test_the_loss_ranks_what_has_no_metric_in_common(tmp_path: Path) -> None:
    made = compare(["p", "c2"], base=base(metrics=[]), seeds=1, registry=tmp_path)
    assert (made.quantity, made.greater_is_better) == ("loss", False)
    assert [row.mean("loss") for row in made.rows] == sorted(row.mean("loss") or math.nan for row in made.rows)


def test_a_comparison_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        RegistryError, match=r"there is no unfinished comparison 'latest' in .*: one is left when it is"
    ):
        resume_comparison(registry=tmp_path)


class Interrupting(Told):
    def run_done(self, comparison: Comparison, row: Row, run: RunResult, warnings: Sequence[str]) -> None:
        super().run_done(comparison, row, run, warnings)
        if len(self.runs) == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_comparison_goes_on_to_the_same_bits(tmp_path: Path, one_by_one: Any, jobs: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        all_of(tmp_path, jobs=jobs, progress=Interrupting())
    assert Registry(tmp_path).models() == []
    told = Told()
    made = resume_comparison(registry=tmp_path, jobs=2, progress=told)
    assert (told.begun_with, len(told.runs)) == ([2], 2)
    assert (numbers(made), weights(made, tmp_path)) == one_by_one[1:]


def test_a_run_that_was_damaged_on_the_disk_is_trained_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        all_of(tmp_path, progress=Interrupting())
    (first, _) = sorted((tmp_path / ".comparisons").glob("*/*.h5"))
    first.write_bytes(first.read_bytes()[:-1])
    told = Told()
    resume_comparison(registry=tmp_path, progress=told)
    assert told.begun_with == [1]


def test_two_comparisons_in_one_registry_do_not_meet(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        all_of(tmp_path, progress=Interrupting())
    other = compare(["c4p", "pc2"], base=base(), seeds=[7], registry=tmp_path)
    assert refs(other) == [f"{other.rows[0].model}@1"]
    made = resume_comparison(registry=tmp_path)
    assert made.name != other.name
    assert {run.seed for row in made.rows for run in row.runs} == {0, 1}
    assert len(refs(made)) == 4
    assert Registry(tmp_path).verify() == []


def test_a_run_whose_process_is_lost_does_not_end_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_by_one: Any
) -> None:
    original = tasks.carry_out

    def deadly(task: tasks.Task, workers: int | None) -> tasks.Outcome:
        if task.recipe["model"]["name"] == "tiny-c2":
            os.kill(os.getpid(), signal.SIGKILL)  # as a system does whose memory has run out
        return original(task, workers)

    monkeypatch.setattr(tasks, "carry_out", deadly)
    told = Told()
    made = compare(["c4p", "c2", "pc2"], base=base(), seeds=2, registry=tmp_path, jobs=2, progress=told)
    assert {row.name: len(row.failed) for row in made.rows} == {"c4p": 0, "pc2": 0, "c2": 2}
    assert {run.error for _, run in made.failures} == {"its process was killed, perhaps because memory ran out"}
    assert len(told.runs) == 6
    assert all(numbers(made)[key] == value for key, value in one_by_one[1].items())


def test_a_backend_that_cannot_be_used_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> None:
        raise OSError("no route to host\nand a long story")

    monkeypatch.setattr(tasks, "_parallel", broken)
    with pytest.raises(TrainingError) as error:
        compare(["c4p"], base=base(), registry=tmp_path)
    assert str(error.value) == "the runs cannot be executed: OSError: no route to host"
    assert len(Comparisons(tmp_path).names()) == 1


def test_pictures_show_every_configuration(tmp_path: Path) -> None:
    made = compare(["c4p"], base=base(epochs=2), grid=GRID, seeds=2, registry=tmp_path)
    written = draw_comparison(made, tmp_path / "new" / "pictures")
    assert [path.name for path in written] == ["accuracy.png", "loss.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_what_is_not_finite_has_no_picture(tmp_path: Path) -> None:
    run = RunResult(0, {"accuracy": 0.5, "loss": math.inf}, {"accuracy": [0.5], "loss": [math.inf]})
    made = Comparison("net-1", "accuracy", True, (Row(0, "p", "net-p", 1, (run,)),), (0,))
    assert [path.name for path in draw_comparison(made, tmp_path)] == ["accuracy.png"]


def test_what_the_pictures_show(tmp_path: Path, one_by_one: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(
        "cnnkit.comparison.comparison_pictures.draw_quantity_by_configuration", lambda *given: drawn.append(given)
    )
    monkeypatch.setattr(f"{PICTURES}.save", lambda figure, path: path)
    draw_comparison(one_by_one[0], tmp_path)
    names = [row.name for row in one_by_one[0].rows]
    (first, second) = drawn
    assert first[0] == second[0] == names
    assert first[1] == [[run.history["validation_accuracy"] for run in row.runs] for row in one_by_one[0].rows]
    assert first[2] == [{run.seed: run.metrics["accuracy"] for run in row.runs} for row in one_by_one[0].rows]
    assert (first[3:], second[3:]) == (
        ("accuracy", "accuracy on validation samples"),
        ("loss", "loss on validation samples"),
    )


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path, one_by_one: Any) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PlotError, match=r"cannot write pictures into .*file/pictures: Not a directory"):
        draw_comparison(one_by_one[0], tmp_path / "file" / "pictures")
    with pytest.raises(PlotError, match=r"cannot write pictures into .*file: File exists"):
        draw_comparison(one_by_one[0], tmp_path / "file")
