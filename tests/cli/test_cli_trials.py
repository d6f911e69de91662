"""`cnnkit train --find-lr`, `--overfit-one-batch`, `--time` and `--fraction`."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest


def test_find_lr_prints_a_rate_and_writes_a_picture(cli: Any, tmp_path: Path) -> None:
    result = cli("train", "digits", "--find-lr")
    assert result.code == 0, result.err
    found = re.search(r"suggested +([\d.e-]+)\n", result.out)
    assert found
    assert f"add --lr {found[1]}: the optimizer is then Adam(lr={found[1]})" in result.out
    assert (tmp_path / "digits-learning-rates.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "registry").exists()


def test_find_lr_as_json(cli: Any, tmp_path: Path) -> None:
    document = cli("train", "digits", "--find-lr", "--json").document
    assert document["picture"] == "digits-learning-rates.png"
    assert len(document["rates"]) == len(document["losses"]) == len(document["smoothed"]) > 20
    assert 1e-4 < document["suggestion"] < 1.0


def test_one_batch_is_learned(cli: Any, tmp_path: Path) -> None:
    result = cli("train", "digits", "--overfit-one-batch")
    assert result.code == 0, result.err
    assert result.out.startswith("one batch was memorized, 64 samples after ")
    assert not (tmp_path / "registry").exists()


def test_one_batch_that_is_not_learned_ends_with_one(cli: Any) -> None:
    result = cli("train", "tiny.toml", "--overfit-one-batch", "--lr", "1e-9", "--json")
    assert result.code == 1
    assert result.document["learned"] is False
    assert "one batch could not be memorized, 256 samples after 500 steps: loss 2." in result.err


def test_a_training_within_a_time(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks) / 100)  # each look at the clock is 10 ms later
    document = cli("train", "tiny.toml", "--time", "1.5s", "--json").document
    assert document["recipe"]["train"]["epochs"] >= document["epochs"] > 1
    assert document["recipe"]["train"]["callbacks"][0].startswith("TimeLimit(1.")


def test_a_fraction_is_part_of_the_recipe(cli: Any) -> None:
    document = cli("train", "tiny.toml", "--fraction", "0.1", "--json").document
    assert document["recipe"]["data"]["fraction"] == 0.1
    plan = cli("train", "tiny.toml", "--fraction", "0.1", "--dry-run", "--json").document
    assert plan["training_samples"] == 144


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--time", "soon"], "expected a time such as 90s, 5m or 1.5h, got 'soon'"),
        (["--time", "0s"], "expected a time such as 90s, 5m or 1.5h, got '0s'"),
        (["--time", "9s", "--epochs", "3"], "--time determines the number of epochs: remove --epochs"),
        (["--find-lr", "--overfit-one-batch"], "--find-lr and --overfit-one-batch cannot be combined"),
        (["--fraction", "2"], "data.fraction: expected the share of the training samples to use"),
        (["--resume", "latest", "--time", "9s"], "remove --time"),
    ],
)
def test_wrong_arguments(cli: Any, arguments: list[str], message: str) -> None:
    recipe = [] if "--resume" in arguments else ["tiny.toml"]
    result = cli("train", *recipe, *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_a_picture_that_cannot_be_written_costs_no_answer(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "digits-learning-rates.png").mkdir()
    result = cli("train", "digits", "--find-lr")
    assert result.code == 0
    assert "warning: cannot write digits-learning-rates.png: expected the name of a file" in result.err
    assert "add --lr 0.0099" in result.out
