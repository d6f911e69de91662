"""The runs of a comparison, each carried out in whatever process it is given to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cnnkit.comparison.tasks import Task, carry_out


def test_paths_are_those_of_the_folder_in_which_the_comparison_was_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    np.savez(tmp_path / "work" / "own.npz", x=x, y=np.arange(40) % 2)
    recipe = {
        "model": {"name": "own", "layers": ["Dense(2)"]},
        "data": {"dataset": 'Arrays("own.npz")'},
        "train": {"optimizer": "Adam(0.001)", "epochs": 1, "batch_size": 20},
    }
    monkeypatch.chdir(tmp_path / "work")
    task = Task("first", recipe)
    monkeypatch.chdir(tmp_path)  # as in a process that joblib keeps from an earlier comparison
    assert carry_out(task, workers=1).error == ""
    assert Path.cwd() == tmp_path / "work"
