"""`plot`: which files it writes, what it prints, and what it says when it cannot."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from cnnkit.evaluation.plot import KINDS
from cnnkit.network import Sequential
from cnnkit.registry import Registry

pytest.importorskip("matplotlib")
FITTING = ["calibration", "confusion", "curves", "misclassified", "predictions"]
"""What fits a network without a convolution."""


def test_without_a_kind_all_that_fit_are_drawn_and_named(trained: Any, tmp_path: Path) -> None:
    result = trained("plot", "tiny@1")
    assert result.code == 0
    files = sorted(path.name for path in tmp_path.glob("*.png"))
    assert sorted(result.out.split()) == files == [f"tiny-1-{kind}.png" for kind in FITTING]
    assert result.err == (
        "skipped filters: tiny@1 has no layer with kernels (out, in, kh, kw)\n"
        "skipped feature-maps: tiny@1 has no layer with outputs of shape (channels, h, w)\n"
    )


def test_json_is_one_document(trained: Any) -> None:
    document = trained("plot", "tiny@1", "--json", "-o", "pictures").document
    assert document["refs"] == ["tiny@1"]
    assert document["files"].keys() | document["left_out"].keys() == KINDS.keys()
    assert all(Path(file).is_file() for file in document["files"].values())
    assert document["files"]["curves"] == str(Path("pictures/tiny-1-curves.png"))


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (["--kind", "curves"], "tiny-1-curves.png"),
        (["--kind", "curves", "-o", "folder"], "folder/tiny-1-curves.png"),
        (["--kind", "confusion", "-o", "a.svg"], "a.svg"),
        (["--kind", "calibration", "-o", "a.PDF"], "a.PDF"),
        (["--kind", "feature-maps", "--layer", "flatten_1", "-o", "a.png"], None),
    ],
)
def test_one_kind(trained: Any, arguments: list[str], file: str | None) -> None:
    result = trained("plot", "tiny", *arguments)
    if file is None:
        assert result.code == 2
        assert "tiny@1 has no layer" in result.err
    else:
        assert (result.code, result.out, result.err) == (0, f"{file}\n", "")
        assert Path(file).stat().st_size > 1000


def test_several_models_are_compared(trained: Any) -> None:
    assert trained("train", "tiny.toml", "--seed", "1").code == 0
    result = trained("plot", "tiny@1", "tiny@2")
    assert (result.code, result.out) == (0, "compare.png\n")
    result = trained("plot", "tiny@1", "tiny@2", "--kind", "compare", "-o", "c.svg")
    assert result.out == "c.svg\n"
    text = Path("c.svg").read_text()
    for words in ("tiny@1, tiny@2", "test accuracy", "parameters", "training time (s)", "epoch"):
        assert words in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny@1", "--kind", "poster"], "expected a kind of picture, curves, filters"),
        (["tiny@1", "-o", "a.png"], "a.png is one file, and there are several pictures: choose one with --kind, or"),
        (["tiny@1", "-o", "a.jpg"], "cannot write a.jpg: expected a file that ends in .png, .svg, .pdf, or a folder"),
        (["tiny@1", "-o", "missing/folder"], "or a folder in one that exists"),
        (["tiny@1", "-o", "tiny.toml"], "cannot write tiny.toml"),
        (["tiny@1", "-o", "x" * 300], "xxx: File name too long"),
        (["tiny@1", "--kind", "curves", "-o", "x" * 300 + ".png"], "xxx.png: File name too long"),
        (["tiny@1", "--kind", "curves", "-o", "/proc/foo"], "cannot write /proc/foo: "),
        (["tiny@1", "--kind", "confusion", "--layer", "x"], "confusion shows no layer: remove 'x', or choose"),
        (["tiny@1", "--kind", "filters", "--sample", "3"], "filters shows no single sample: remove 3, or choose"),
        (["tiny@1", "tiny@1", "--layer", "x"], "compare shows no layer: remove 'x'"),
        (["tiny@1", "--kind", "curves", "-o", "missing/a.png"], "expected the name of a file in a folder that exists"),
        (["tiny@9", "--kind", "curves"], "tiny@9"),
        (["tiny@1", "tiny@1", "--kind", "curves"], "curves shows one model, got 2"),
        (["tiny@1", "--kind", "compare"], "2 to 7 models can be compared in one picture, got 1"),
        (["tiny@1", "--kind", "confusion", "--dataset", "MNIST("], "MNIST("),
    ],
)
def test_one_message_says_what_is_wrong_and_nothing_is_written(
    trained: Any, tmp_path: Path, arguments: list[str], message: str
) -> None:
    before = set(tmp_path.iterdir())
    result = trained("plot", *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert set(tmp_path.iterdir()) == before


def test_samples_that_must_be_asked_for_are_left_out_with_the_reason_once(trained: Any, tmp_path: Path) -> None:
    import numpy as np

    np.savez("mine.npz", x=np.zeros((20, 8, 8), np.uint8), y=np.arange(20) % 10)
    recipe = (tmp_path / "tiny.toml").read_text().replace("Digits()", "Arrays('mine.npz')").replace("tiny", "mine")
    (tmp_path / "mine.toml").write_text(recipe)
    assert trained("train", "mine.toml").code == 0
    result = trained("plot", "mine@1")
    assert (result.code, result.out) == (0, "mine-1-curves.png\n")
    assert result.err.count("a model file may not load itself") == 1
    assert "skipped predictions, misclassified, confusion, calibration: " in result.err
    result = trained("plot", "mine@1", "--kind", "confusion")
    assert (result.code, result.out) == (2, "")
    result = trained("plot", "mine@1", "--kind", "confusion", "--dataset", "Arrays('mine.npz')")
    assert result.code == 0, result.err


@pytest.mark.parametrize("command", [["plot"], ["explain", "--sample", "0"], ["evaluate"]])
def test_other_samples_than_those_trained_on_get_one_warning(trained: Any, command: list[str]) -> None:
    Registry().save(
        Sequential(["Flatten()", "Dense(10)"], (1, 8, 8)), "old", dataset={"name": "Digits()", "digest": "0" * 64}
    )
    name, *options = command
    result = trained(name, "old", *options)
    assert result.code == 0
    words = "warning: Digits() has changed since old@1 was trained on it: its content hash differs"
    assert result.err.count(words) == 1
    assert words not in trained(name, "tiny@1", *options).err


def test_without_matplotlib_it_says_what_to_install(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for arguments in (["--kind", "curves"], []):
        result = trained("plot", "tiny@1", *arguments)
        assert (result.code, result.out) == (2, "")
        assert 'pip install "cnnkit[plots]"' in result.err


def test_nothing_but_the_document_is_on_stdout(trained: Any) -> None:
    result = trained("plot", "tiny@1", "--kind", "curves", "--json")
    assert json.loads(result.out) == {"refs": ["tiny@1"], "files": {"curves": "tiny-1-curves.png"}, "left_out": {}}


def test_what_takes_seconds_is_drawn_only_where_it_is_chosen_and_says_so_first(trained: Any, tmp_path: Path) -> None:
    landscape = trained("plot", "tiny@1", "--kind", "landscape")
    assert (landscape.code, landscape.out) == (0, "tiny-1-landscape.png\n")
    assert landscape.err == "landscape: the loss at 21 x 21 points: 441 evaluations of 256 test samples\n"
    images = trained("plot", "tiny@1", "--kind", "maximisation", "--layer", "dense_1", "-o", "a.svg")
    assert images.err == "maximisation: 128 steps of gradient ascent for each of 10 channels\n"
    assert "what each channel of dense_1 answers to most" in (tmp_path / "a.svg").read_text("utf-8")
    Registry(tmp_path / "registry").save(Sequential(["Flatten()", "Dense(2)"], (1, 16)), "wave")
    for arguments, error in (
        (("tiny@1", "--kind", "landscape", "-o", "x.gif"), "cannot write x.gif: expected a file that ends in "),
        (("wave@1", "--kind", "maximisation"), "images of 1 or 3 channels can be shown, inputs of shape (1, 16) "),
    ):
        refused = trained("plot", *arguments)
        assert (refused.code, refused.err.startswith(f"error: {error}")) == (2, True), refused.err
    everything = trained("plot", "tiny@1", "--json").document
    assert not {"landscape", "maximisation"} & {*everything["files"], *everything["left_out"]}
