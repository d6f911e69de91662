"""Comparisons whose data, kept runs or best run are others than before."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.comparison import Comparison, ComparisonProgress, Row, RunResult, compare, resume_comparison, tasks
from cnnkit.errors import DataError
from cnnkit.registry import Comparisons, Registry
from tests.comparison.test_compare import Interrupting, Told, base, numbers, refs


def write_data(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    np.savez(folder / "mine.npz", x=rng.integers(0, 256, (60, 8, 8), np.uint8), y=np.arange(60) % 2)


def compare_files(folder: Path, progress: ComparisonProgress) -> Comparison:
    recipe = base(**{"data.dataset": 'Arrays("mine.npz")'})
    options: dict[str, Any] = {"seeds": 2, "registry": folder / "registry", "data_dir": folder, "jobs": 1}
    return compare(["p", "c2p"], base=recipe, register="all", progress=progress, **options)


def test_a_comparison_goes_on_with_the_data_that_it_began_with(tmp_path: Path) -> None:
    write_data(tmp_path, 0)
    with pytest.raises(KeyboardInterrupt):
        compare_files(tmp_path, Interrupting())
    write_data(tmp_path, 1)
    with pytest.raises(DataError, match=r'Arrays\("mine.npz"\) has changed since the comparison began: expected data'):
        resume_comparison(registry=tmp_path / "registry", data_dir=tmp_path)
    assert Registry(tmp_path / "registry").models() == []
    write_data(tmp_path, 0)
    made = resume_comparison(registry=tmp_path / "registry", data_dir=tmp_path)
    assert len(refs(made)) == 4


class Rewriting(Told):
    """The file is written anew after the first run."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run_done(self, comparison: Comparison, row: Row, run: RunResult, warnings: Sequence[str]) -> None:
        super().run_done(comparison, row, run, warnings)
        write_data(self.folder, 1)


def test_a_run_on_other_data_fails_and_is_not_kept(tmp_path: Path) -> None:
    write_data(tmp_path, 0)
    told = Rewriting(tmp_path)
    made = compare_files(tmp_path, told)
    assert [bool(error) for _, _, error in told.runs] == [False, True, True, True]
    assert "has changed since the comparison began" in told.runs[1][2]
    assert len(refs(made)) == 1
    assert len(list((tmp_path / "registry").glob(".comparisons/*/*.h5"))) == 1
    write_data(tmp_path, 0)
    again = resume_comparison(registry=tmp_path / "registry", data_dir=tmp_path)
    assert len(refs(again)) == 4


def test_a_kept_run_on_other_data_is_trained_again(tmp_path: Path) -> None:
    for seed, name in ((1, "other"), (0, "this")):
        folder = tmp_path / name
        folder.mkdir()
        write_data(folder, seed)
        with pytest.raises(KeyboardInterrupt):
            compare_files(folder, Interrupting())
    (theirs, ours) = ([*(tmp_path / name).glob("registry/.comparisons/*/0-0.h5")] for name in ("other", "this"))
    shutil.copy(theirs[0], ours[0])
    told = Told()
    resume_comparison(registry=tmp_path / "this" / "registry", data_dir=tmp_path / "this", progress=told)
    assert told.begun_with == [1]
    assert len(told.runs) == 3


def test_a_kept_run_of_another_recipe_is_trained_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        compare(["p", "c2p"], base=base(), seeds=2, registry=tmp_path, jobs=1, progress=Interrupting())
    (folder,) = (tmp_path / ".comparisons").iterdir()
    shutil.copy(folder / "0-0.h5", folder / "1-0.h5")
    told = Told()
    made = resume_comparison(registry=tmp_path, jobs=1, progress=told)
    assert told.begun_with == [1]
    assert [name for name, seed, _ in told.runs] == ["c2p", "p", "c2p"]
    assert numbers(made) == numbers(compare(["p", "c2p"], base=base(), seeds=2, registry=tmp_path / "other", jobs=1))


def test_the_tag_moves_to_the_best_of_all_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    best = compare(["p", "c4p"], base=base(epochs=3), seeds=1, registry=tmp_path / "whole").best
    assert best
    original = tasks.carry_out

    def without_the_best(task: tasks.Task, workers: int | None) -> tasks.Outcome:
        if task.recipe["model"]["name"] == best.model:
            return tasks.Outcome(task.key, error="out of memory")
        return original(task, workers)

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "carry_out", without_the_best)
        first = compare(["p", "c4p"], base=base(epochs=3), seeds=1, registry=tmp_path, jobs=1)
    again = resume_comparison(registry=tmp_path, jobs=1)
    store = Registry(tmp_path)
    assert refs(first) != refs(again) == [f"{best.model}@1"]
    assert store.tags(refs(first)[0]) == {}
    assert store.tags(refs(again)[0]) == {"comparison": again.name}
    assert Comparisons(tmp_path).names() == []
