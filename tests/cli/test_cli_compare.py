"""`cnnkit compare`: what it prints, registers and refuses."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from cnnkit.comparison import tasks
from cnnkit.errors import PlotError
from cnnkit.registry import Comparisons, Registry

TABLE = """
[compare]
codes = ["c4p", "p"]
grid = ["train.optimizer=SGD(0.1),SGD(0.2)"]
seeds = 1
"""


@pytest.fixture
def compared(cli: Any, tmp_path: Path) -> Any:
    """`compared("c4p", "--seeds", "1")`, with one job and tiny.toml as the base."""
    return lambda *arguments: cli("compare", *arguments, "--base", "tiny.toml", "--jobs", "1")


def test_a_table_with_the_best_first(compared: Any) -> None:
    result = compared("c4p", "p", "--seeds", "2", "--epochs", "3", "--batch-size", "64")
    assert result.code == 0, result.err
    headings, first, second, empty, *said = result.out.splitlines()
    assert headings.split("  ")[0] == "configuration"
    assert re.split("  +", headings) == [
        "configuration",
        "accuracy",
        "loss",
        "parameters",
        "s/epoch",
        "s in all",
        "registered",
    ]
    name = first.split()[0]
    assert {name, second.split()[0]} == {"c4p", "p"}
    accuracies = [float(line.split()[1]) for line in (first, second)]
    assert accuracies == sorted(accuracies, reverse=True)
    assert re.fullmatch(r"\S+ +0\.\d{4} ± 0\.\d{4}  \d\.\d{4} ± \d\.\d{4}  .* tiny-\S+@1", first)
    assert "@" not in second
    assert (empty, *said[:2]) == (
        "",
        f"best: {name}, by the mean accuracy on validation samples",
        "validation samples: 10% of the training samples, set aside by the comparison",
    )
    assert len(said) == 3
    assert re.fullmatch(r"its best run, seed [01], on the test samples: loss \d\.\d{4}, accuracy 0\.\d{4}", said[2])
    lines = result.err.splitlines()
    assert len(lines) == 4
    assert re.fullmatch(r"1/4  \S+  seed \d  accuracy 0\.\d{4}  loss \d\.\d{4}  \d+\.\d s", lines[0])


def test_the_json_document(compared: Any, tmp_path: Path) -> None:
    document = compared("c4p", "p", "--seeds", "0,7", "--register", "all", "--json").document
    assert document["seeds"] == [0, 7]
    assert (document["quantity"], document["greater_is_better"]) == ("accuracy", True)
    assert sorted(document["registered"]) == ["tiny-c4p@1", "tiny-c4p@2", "tiny-p@1", "tiny-p@2"]
    best = document["configurations"][0]
    assert document["best"] == best["name"]
    assert best["model"] == f"tiny-{best['name']}"
    accuracies = [run["metrics"]["accuracy"] for run in best["runs"]]
    assert best["metrics"]["accuracy"]["mean"] == pytest.approx(sum(accuracies) / 2)
    assert best["metrics"]["accuracy"]["std"] == pytest.approx(abs(accuracies[0] - accuracies[1]) / 2**0.5)
    assert [(run["seed"], run["ref"], run["error"]) for run in best["runs"]] == [
        (0, f"{best['model']}@1", None),
        (7, f"{best['model']}@2", None),
    ]
    tags = Registry(tmp_path / "registry").tags(f"{best['model']}@2")
    assert tags == {"comparison": document["name"]}
    assert document["pictures"] == []
    assert (document["ranked_on"], document["validation"]) == ("validation", 0.1)
    manifests = [Registry(tmp_path / "registry").read(ref).manifest for ref in document["registered"]]
    assert [one.metrics for one in manifests if one.metrics] == [document["test"]]
    assert compared("p", "--seeds", "7,", "--json").document["configurations"][0]["metrics"]["accuracy"]["std"] is None


def test_a_recipe_with_its_comparison(cli: Any, tmp_path: Path) -> None:
    with (tmp_path / "tiny.toml").open("a") as file:
        file.write(TABLE)
    document = cli("compare", "tiny.toml", "--set", "train.epochs=2", "--json").document
    assert sorted(row["name"] for row in document["configurations"]) == [
        "c4p optimizer=SGD(0.1)",
        "c4p optimizer=SGD(0.2)",
        "p optimizer=SGD(0.1)",
        "p optimizer=SGD(0.2)",
    ]
    assert document["seeds"] == [0]
    (ref,) = document["registered"]
    recipe = Registry(tmp_path / "registry").read(ref).manifest.recipe
    assert recipe is not None
    assert recipe.keys() == {"model", "data", "train"}
    assert recipe["train"]["epochs"] == 2
    trained = cli("train", "tiny.toml", "--json").document
    assert (trained["ref"], "compare" in trained["recipe"]) == ("tiny@1", False)
    assert cli("reproduce", ref).code == 0


def test_a_grid_is_repeatable(cli: Any) -> None:
    grid = ("--grid", "optimizer=SGD(0.1, momentum=0.9),Adam(0.01)", "--grid", "batch_size=64,128")
    document = cli("compare", "tiny.toml", *grid, "--seeds", "1", "--jobs", "1", "--json").document
    assert len(document["configurations"]) == 4
    assert "tiny optimizer=SGD(0.1, momentum=0.9) batch_size=64" in [row["name"] for row in document["configurations"]]


def test_pictures_are_written(compared: Any, tmp_path: Path) -> None:
    result = compared("c4p", "p", "--seeds", "2", "-o", "new/pictures")
    assert result.code == 0, result.err
    assert "picture: new/pictures/accuracy.png\npicture: new/pictures/loss.png\n" in result.out
    assert (tmp_path / "new" / "pictures" / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_cannot_be_written_does_not_hide_the_table(
    compared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise PlotError("cannot write new/accuracy.png: No space left on device")

    monkeypatch.setattr("cnnkit.comparison.comparison_pictures.save", full)
    result = compared("p", "--seeds", "1", "-o", "new", "--json")
    assert (result.code, result.document["registered"]) == (2, ["tiny-p@1"])
    assert result.err.endswith("error: cannot write new/accuracy.png: No space left on device\n")


def test_a_failed_run_is_told_and_can_be_tried_again(cli: Any, tmp_path: Path) -> None:
    grid = ("--grid", "optimizer=SGD(0.1),SGD(1e38)")
    result = cli("compare", "tiny.toml", *grid, "--seeds", "1", "--jobs", "1", "-o", ".")
    assert result.code == 1
    assert "tiny optimizer=SGD(1e38) (1 failed)" in result.out
    assert "best: tiny optimizer=SGD(0.1), by" in result.out
    assert "error: 1 of 2 runs failed\n  tiny optimizer=SGD(1e38), seed 0: epoch 1, step " in result.err
    (name,) = Comparisons(tmp_path / "registry").names()
    assert f"finished runs are kept; to continue: cnnkit compare --resume {name} -o .\n" in result.err
    again = cli("compare", "--resume", "latest", "--jobs", "1", "--json")
    assert (again.code, again.document["registered"]) == (1, ["tiny@1"])
    assert "1 of 2 runs were finished before" in again.err
    assert again.document["configurations"][1]["runs"][0]["error"].startswith("epoch 1, step ")


def test_all_may_fail(cli: Any) -> None:
    result = cli("compare", "tiny.toml", "--set", "optimizer=SGD(1e38)", "--seeds", "1", "--jobs", "1", "-o", "new")
    assert result.code == 1
    assert "best" not in result.out
    assert "error: 1 of 1 run failed" in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mnist-confgs",), "error: cannot read the code 'mnist-confgs' at position 1: expected c16 for a "),
        (("nope.toml",), "error: cannot read the recipe nope.toml: No such file or directory"),
        (("tiny.toml", "--seeds", "x"), "error: --seeds takes a number of seeds, such as 3, or a comma-separated"),
        (("tiny.toml", "--seeds", "1,,2"), "error: --seeds takes a number of seeds"),
        (("tiny.toml", "--seeds", "0"), "error: seeds: expected a number of seeds, 1 to 1,000, or a list of different"),
        (("tiny.toml", "--epochs", "0"), "train.epochs: expected a whole number, 1 or above, found 0"),
        (("tiny.toml", "--register", "some"), "error: register must be one of"),
        (("tiny.toml", "--base", "digits"), "error: --base applies to codes, but recipes were given"),
        (("tiny.toml", "--grid", "epochs"), "error: a grid has the form key=value,value"),
        (("tiny.toml", "--grid", "epoch=1"), "[train] has no key 'epoch'; did you mean epochs?"),
        (("pppp", "--base", "tiny.toml"), "\n  in the configuration pppp\n"),
        (("tiny.toml", "--backend", "nope"), "error: the backend 'nope' cannot be used: Invalid backend: nope"),
        (("tiny.toml", "-o", "tiny.toml"), "error: cannot write pictures into tiny.toml: File exists"),
        (("tiny.toml", "--registry", "tiny.toml"), "error: the registry at tiny.toml cannot store the model 'tiny': "),
        (("--resume", "latest"), "error: there is no unfinished comparison 'latest' in"),
        (("p", "--resume", "latest", "--seeds", "2", "--epochs", "3"),
         "error: --resume uses the options that the comparison started with: remove RECIPE|CODE, --seeds, --epochs"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_anything_is_trained(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.setattr(tasks, "train", None)
    result = cli("compare", *arguments, "--jobs", "1")
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert not (tmp_path / "registry").exists()


def test_a_comparison_begun_elsewhere_is_warned_of(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    cli("compare", "tiny.toml", "--set", "optimizer=SGD(1e38)", "--seeds", "1", "--jobs", "1")
    monkeypatch.setattr(np, "__version__", "9.9.9")
    result = cli("compare", "--resume", "latest", "--jobs", "1")
    assert "it is 9.9.9: results may differ in their last bits from those of the finished runs" in result.err


def test_an_interruption_names_registry_and_data(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(task: Any, workers: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(tasks, "carry_out", interrupted)
    options = ("--registry", "my models", "--data-dir", "here", "-o", "pictures")
    result = cli("compare", "tiny.toml", "--jobs", "1", *options)
    (name,) = Comparisons(tmp_path / "my models").names()
    assert (result.code, result.out) == (130, "")
    assert result.err == (
        "interrupted\nfinished runs are kept; to continue: "
        f"cnnkit compare --resume {name} -o pictures --registry 'my models' --data-dir here\n"
    )


def test_a_dask_cluster_is_started_where_none_is_named(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    document = cli("compare", "tiny.toml", "--seeds", "2", "--jobs", "2", "--backend", "dask", "--json").document
    alone = cli("compare", "tiny.toml", "--seeds", "2", "--jobs", "1", "--json").document
    first, second = (
        [(run["metrics"], run["history"]["loss"]) for run in one["configurations"][0]["runs"]]
        for one in (document, alone)
    )
    assert first == second


def test_a_terminal_shows_a_table_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from rich.console import Console

    from cnnkit.comparison import Comparison, Row, RunResult
    from cnnkit.comparison.comparison_progress import LiveComparison

    run = RunResult(0, {"accuracy": 0.75, "loss": 0.5}, {"seconds": [1.0]})
    done, waiting = Row(0, "c4p", "net-c4p", 1234, (run,)), Row(1, "p", "net-p", 10)
    screen = io.StringIO()
    live = LiveComparison(Console(file=screen, force_terminal=True, width=100))
    with live:
        comparison = Comparison("net-1", "accuracy", True, (done, waiting), (0, 1))
        live.begun(comparison)
        live.run_done(comparison, done, run, ["the rate was halved"])
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "1 of 4 runs were finished before" in text
    assert "warning: c4p, seed 0: the rate was halved" in text
    assert re.search(r"configuration +runs +accuracy +loss +parameters", text)
    assert re.search(r"c4p +1/2 +0\.7500 +0\.5000 +1,234", text)
    assert re.search(r"p +0/2 +10", text)
    assert "1 of 4 runs are done, after 0 s" in text
