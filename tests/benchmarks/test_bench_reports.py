"""Tables, files and command lines of the benchmarks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks import accuracy, memory, prediction, recipes, scaling, startup, training
from benchmarks.child_job import Job
from benchmarks.machine import cores, cpu_model, description, sgemm_peak
from benchmarks.networks import NETWORKS
from benchmarks.report import compared, of_host, spread, table
from benchmarks.turn_taking import CONFIGURATIONS, Contender, Series


def series(name: str, *seconds: float, status: str = "measured", **values: float) -> Series:
    turns = [{"seconds": each, "peak_one": 50.0, "peak_all": 100.0, **values} for each in seconds]
    job = Job("mnist-12k", "", 1_000, 100, 2)
    return Series(Contender(name, "module", name, job), status, warm_up={"seconds": 9.0, "loss": 2.0}, turns=turns)


def test_a_table_and_a_spread() -> None:
    assert table(("a", "b"), [["x", "1"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |\n"
    assert spread([3.0, 1.0, 2.0]) == "2.00 (1.00-3.00)"


def test_rows_of_training_compare_with_cnnkit() -> None:
    measured = [series("cnnkit", 1.0, 2.0, 3.0), series("torch", 5.0), series("jax", status="not installed")]
    ours, torch, jax = training.rows(measured, 10**9)
    assert ours == ["cnnkit", "2.00 (1.00-3.00)", "2000.0", "1.00", "500.0", "500%", "50, 100", "", "2.0000"]
    assert torch[3] == "2.50"
    assert jax == ["jax", "not installed", *[""] * 7]
    assert training.rows(measured[1:], 10**9)[0][3] == ""


def test_rows_of_training_have_the_host_of_each_turn() -> None:
    one = series("cnnkit", 1.0, 2.0)
    for turn, factor in zip(one.turns, (1.912, 1.7), strict=True):
        turn["host"] = factor
    assert training.rows([one], 10**9)[0][7] == "1.91, 1.70"


def test_the_host_is_told_over_all() -> None:
    a, b = series("a", 1.0, 1.0, host=1.9), series("b", 1.0, 1.0, 1.0, host=1.8)
    for turn, factor in zip(b.turns[1:], (1.42, 1.66), strict=True):
        turn["host"] = factor
    a.repeated = [{"seconds": 2.0, "host": 1.1}]
    assert of_host([a, b, series("c", status="not installed")]) == (
        "Beside the turns, two processes did 1.80 (1.42-1.90) times the work of one. Below 1.7 and repeated: 1 of 6 "
        "turns; below 1.7 after all: b, turn 2 (1.42), 3 (1.66).\n"
    )
    assert of_host([a]).endswith("below 1.7 after all: none.\n")
    assert of_host([series("a", 1.0)]).startswith("What two processes do against one was not measured")


def test_compared_with_the_first() -> None:
    rows = compared([series("a", 1.0), series("b", 3.0), series("c", status="failed: x")], 10)
    assert rows == [["a", "10.0 (10.0-10.0)", "1.00"], ["b", "30.0 (30.0-30.0)", "3.00"], ["c", "failed: x", ""]]


def test_time_to_accuracy_ends_at_the_first_epoch_that_has_it() -> None:
    one = series("cnnkit", 1.0, 1.0, 1.0)
    one.warm_up["validation_accuracy"] = 0.5
    for turn, value in zip(one.turns, (0.8, 0.99, 0.98), strict=True):
        turn["validation_accuracy"] = value
    assert accuracy.reached(one, 0.99) == (11.0, 3)
    assert accuracy.reached(one, 0.995) is None
    assert accuracy.row("cnnkit", [one], 0.99) == ["cnnkit", "11.0", "1 of 1", "3", "99.00%"]
    assert accuracy.row("cnnkit", [one], 0.995) == ["cnnkit", "never", "0 of 1", "", "99.00%"]


def test_a_training_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONFIGURATIONS, "cnnkit", ("cnnkit",))
    files = ["--json", str(tmp_path / "a.json"), "--markdown", str(tmp_path / "a.md")]
    work = ["--network", "mnist-12k", "--samples", "64", "--batch", "64", "--data", "random", "--epochs", "1"]
    training.main([*work, *files, "--peers", "", "--workers", "1"])
    text = (tmp_path / "a.md").read_text("utf-8")
    assert text in capsys.readouterr().out
    assert "### mnist-12k, batch 64, 64 images, 1 workers" in text
    raw: dict[str, Any] = json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert set(raw) == {"machine", "results"}
    (ours,) = raw["results"][0]["series"]
    assert ours["status"] == "measured"
    assert len(ours["turns"]) == 1


@pytest.mark.parametrize("module", [accuracy, memory, prediction, scaling, startup, training])
def test_help_and_bad_arguments(module: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        module.main(["--help"])
    assert "--workers" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        module.main(["--workers", "0"])
    assert "expected a whole number above 0, got 0" in capsys.readouterr().err


def test_repeats_may_be_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        training.main(["--repeats", "0", "--epochs", "0"])
    assert "argument --epochs: expected a whole number above 0, got 0" in capsys.readouterr().err


def test_unknown_networks_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        training.main(["--network", "mnist-compact,lenet"])
    assert f"expected some of {', '.join(NETWORKS)}, got lenet" in capsys.readouterr().err


def test_the_machine() -> None:
    assert cpu_model()
    assert description()["cores"] >= 1
    assert sgemm_peak(1) > 0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux keeps processes on cores")
def test_cores_are_given_back() -> None:
    before = os.sched_getaffinity(0)
    with cores(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="only Linux tells proportional set sizes")
def test_memory_is_seen() -> None:
    before = memory.proportional_bytes(os.getpid())
    block = b"x" * (64 << 20)
    assert memory.proportional_bytes(os.getpid()) - before > 0.9 * len(block)
    with memory.Watch(os.getpid()) as watch:
        pass
    assert watch.peak >= 0


def test_recipes_are_trained_and_their_medians_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipes.main(["--recipes", "digits-notebook", "--seeds", "2", "--workers", "1", "--json", str(tmp_path / "r.json")])
    runs = json.loads((tmp_path / "r.json").read_text())["results"]["digits-notebook"]
    assert [run["seed"] for run in runs] == [0, 1]
    assert all(run["accuracy"] > 0.9 for run in runs)
    assert "| digits-notebook | 1,610 | " in capsys.readouterr().out


def test_a_row_has_medians_over_the_seeds() -> None:
    runs = [
        {"accuracy": accuracy, "epochs": epochs, "seconds": 1.0, "parameters": 1234}
        for accuracy, epochs in ((0.9, 3), (0.95, 5), (1.0, 3))
    ]
    assert recipes.row("r", runs) == ["r", "1,234", "3-5", "95.00 (90.00-100.00)", "1.0 (1.0-1.0)"]
