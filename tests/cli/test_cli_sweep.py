"""`sweep`: one recipe with several values of a key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cnnkit import compare
from cnnkit.registry import Registry

OPTIONS = ("--seeds", "2", "--jobs", "1", "--quiet")


def test_a_learning_rate(cli: Any, tmp_path: Path) -> None:
    result = cli("sweep", "tiny.toml", "--vary", "lr=0.1,0.001", *OPTIONS, "-o", "a.svg", "--json")
    assert (result.code, result.err) == (0, "")
    document = result.document
    assert (document["key"], document["quantity"], document["best"]) == ("train.lr", "accuracy", 0.1)
    expected = compare(
        ["tiny.toml"],
        grid={"optimizer": ["SGD(0.1, momentum=0.9)", "SGD(0.001, momentum=0.9)"]},
        seeds=2,
        register="none",
        jobs=1,
    )
    for entry, row in zip(document["values"], expected.rows, strict=True):
        assert (entry["mean"], entry["std"]) == (row.mean("accuracy"), row.deviation("accuracy"))
        assert entry["seeds"] == {str(run.seed): run.metrics["accuracy"] for run in row.runs}
    assert [entry["value"] for entry in document["values"]] == [0.1, 0.001]
    assert "tiny: accuracy on validation samples" in (tmp_path / "a.svg").read_text("utf-8")
    assert Registry().models() == []


def test_any_key_in_its_order_and_the_seeds_of_the_recipe(cli: Any, tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(recipe.read_text("utf-8") + '[compare]\nseeds = 1\ncodes = ["c4"]\n')
    result = cli("sweep", "tiny.toml", "--vary", "batch_size=256,64", "--jobs", "1", "--quiet")
    assert result.code == 0, result.err
    lines = [line.split() for line in result.out.splitlines()]
    assert [line[0] for line in lines[:3]] == ["train.batch_size", "256", "64"]
    assert "±" not in result.out
    assert lines[4][:2] == ["best:", "64,"]


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ("lr=0.1", "expected two different values or more of train.lr, such as train.lr=0.001,0.01; got 'lr=0.1'"),
        ("lr=0.1,0.1", "expected two different values or more of train.lr"),
        ("lr=0.1,fast", "a learning rate is a number above 0, got 'fast' in 'lr=0.1,fast'"),
        ("lr=0.1,0", "a learning rate is a number above 0, got 0 in 'lr=0.1,0'"),
        ("lr", "a grid has the form key=value,value"),
        ("train.seed=1,2", "a grid cannot vary train.seed"),
        ("train.bach_size=1,2", "train.bach_size"),
    ],
)
def test_what_cannot_be_varied(vary: str, message: str, cli: Any) -> None:
    result = cli("sweep", "tiny.toml", "--vary", vary, *OPTIONS)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_a_run_that_fails_is_named(cli: Any) -> None:
    result = cli("sweep", "tiny.toml", "--vary", "lr=0.1,1e38", *OPTIONS)
    assert result.code == 1
    assert "best: 0.1" in result.out
    assert "2 runs failed" in result.err
