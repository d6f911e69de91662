"""`predict`: which files it reads, and what it says about those it cannot."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnkit import Registry, Sequential, api
from cnnkit.data import load_dataset
from cnnkit.types import Task

IMAGES = np.asarray(load_dataset("Digits()").test.x)


def _png(path: Path, image: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.round(image * (255 / 16)).astype(np.uint8)).save(path)


@pytest.mark.parametrize(
    "shape", [(3, 1, 8, 8), (3, 8, 8), (1, 8, 8), (8, 8)], ids=["batch", "batch-2d", "image", "image-2d"]
)
def test_predictions_are_those_of_the_library(trained: Any, tmp_path: Path, shape: tuple[int, ...]) -> None:
    count = 3 if shape[0] == 3 else 1
    np.save(tmp_path / "some.npy", IMAGES[:count].reshape(shape))
    rows = trained("predict", "tiny@1", "some.npy", "--json").document["predictions"]
    probabilities = api.load_model("tiny@1").predict_proba(IMAGES[:count])
    assert [row["index"] for row in rows] == list(range(count))
    assert [row["label"] for row in rows] == [str(index) for index in probabilities.argmax(axis=1)]
    assert [row["probability"] for row in rows] == probabilities.max(axis=1).tolist()


def test_top_gives_the_most_probable_labels_in_order(trained: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", IMAGES[0])
    document = trained("predict", "tiny", "one.npy", "--top", "99", "--json").document
    assert document["ref"] == "tiny@1"  # the version that answered
    rows = document["predictions"]
    assert len(rows) == 1
    values = [entry["probability"] for entry in rows[0]["top"]]
    assert len(values) == 10
    assert rows[0]["top"][0] == {"label": rows[0]["label"], "probability": rows[0]["probability"]}
    assert values == sorted(values, reverse=True)
    assert sum(values) == pytest.approx(1)


def test_labels_that_are_not_predicted_are_told_apart(cli: Any, tmp_path: Path) -> None:
    net = Sequential(["Flatten()"], (1, 1, 3), labels=["a", "b", "c"], task=Task("labels", from_logits=True))
    Registry().save(net, "net")
    np.save(tmp_path / "one.npy", np.array([[[0.0, 3, -1]]]))
    (row,) = cli("predict", "net", "one.npy", "--json").document["predictions"]
    assert ([one["label"] for one in row["labels"]], "top" in row) == (["b", "a"], False)
    (row,) = cli("predict", "net", "one.npy", "--top", "3", "--json").document["predictions"]
    assert [(one["label"], one["predicted"]) for one in row["top"]] == [("b", True), ("a", True), ("c", False)]
    assert "labels" not in row
    table = [line.split() for line in cli("predict", "net", "one.npy", "--top", "3").out.splitlines()]
    assert table[0] == ["file", "index", "label", "probability", "predicted"]
    assert [line[4:] for line in table[1:]] == [["yes"], ["yes"], []]


def test_a_table_names_every_file_in_full(trained: Any, tmp_path: Path) -> None:
    names = ["a" * 90 + ".npy", "[red]b.npy"]
    for name in names:
        np.save(tmp_path / name, IMAGES[0])
    result = trained("predict", "tiny@1", *names)
    assert result.code == 0
    assert all(name in result.out for name in names)


def _text(path: Path) -> None:
    path.write_text("not an array")


def _zip(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, x=IMAGES[:2])


def _header(path: Path, shape: str) -> None:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("missing.npy", lambda path: None, "cannot read missing.npy: No such file or directory"),
        (
            "image.png",
            _text,
            "image.png: expected an image (PNG, JPEG, GIF, BMP, WebP or TIFF), this seems to be text",
        ),
        ("text.npy", _text, "text.npy: expected an array of numbers in NumPy's format, this seems to be text"),
        ("empty.npy", Path.touch, "empty.npy: expected an array of numbers in NumPy's format, this is empty"),
        (
            "objects.npy",
            lambda path: np.save(path, np.array([{}]), allow_pickle=True),
            "it has Python objects",
        ),
        (
            "shape.npy",
            lambda path: np.save(path, np.zeros((3, 4))),
            "expected an array of shape (1, 8, 8) or (N, 1, 8, 8) or (8, 8) or (N, 8, 8), got (3, 4)",
        ),
        ("zip.npy", _zip, "NumPy's format, this seems to be a NumPy archive (.npz)"),
        ("huge.npy", lambda path: _header(path, "(1000000000000, 8, 8)"), "huge.npy is not an array of numbers"),
        ("open.npy", lambda path: _header(path, "(" + "(" * 3000), "open.npy is not an array of numbers"),
        ("nan.npy", lambda path: np.save(path, np.full((8, 8), np.nan)), "expected finite values, some are NaN or inf"),
        ("inf.npy", lambda path: np.save(path, np.full((8, 8), np.inf)), "expected finite values, some are NaN or inf"),
        ("texts.npy", lambda path: np.save(path, np.full((8, 8), "x")), "expected numbers, uint8 or float"),
    ],
)
def test_a_file_that_cannot_be_used(trained: Any, tmp_path: Path, name: str, write: Any, message: str) -> None:
    write(tmp_path / name)
    result = trained("predict", "tiny@1", name)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_image_files_and_folders(trained: Any, tmp_path: Path) -> None:
    for index in range(3):
        _png(tmp_path / "images" / f"{index}.png", IMAGES[index, 0])
    np.save(tmp_path / "same.npy", IMAGES[:3])
    result = trained("predict", "tiny@1", "images", "images/1.png", "--json")
    rows = result.document["predictions"]
    same = trained("predict", "tiny@1", "same.npy", "--json").document["predictions"]
    assert result.err == ""
    assert [row["file"] for row in rows] == ["images/0.png", "images/1.png", "images/2.png", "images/1.png"]
    assert [row["label"] for row in rows[:3]] == [row["label"] for row in same]
    assert all(row["hints"] == [] for row in rows + same)


def test_arrays_are_predicted_without_the_samples_that_were_trained_on(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("cnnkit.cli.predict.recorded_level", lambda *given: asked.append(given))
    np.save(tmp_path / "one.npy", IMAGES[0])
    assert trained("predict", "tiny@1", "one.npy").code == 0
    assert not asked
    _png(tmp_path / "one.png", IMAGES[0, 0])
    assert trained("predict", "tiny@1", "one.npy", "one.png").code == 0
    assert len(asked) == 1


def test_inverted_digits_get_one_warning_and_a_hint_each(trained: Any, tmp_path: Path) -> None:
    _png(tmp_path / "all" / "right.png", IMAGES[0, 0])
    _png(tmp_path / "all" / "a.png", 16 - IMAGES[0, 0])
    one = trained("predict", "tiny@1", "all", "--invert", "off")
    assert one.code == 0
    assert one.err == (
        "warning: all/a.png looks inverted: dark on light, but the model was trained on light on dark; "
        "try --fit or --invert on\n"
    )
    for name in "bcde":
        _png(tmp_path / "all" / f"{name}.png", 16 - IMAGES[0, 0])
    many = trained("predict", "tiny@1", "all", "--invert", "off", "--json")
    assert many.err.startswith(
        "warning: each of all/a.png, all/b.png, all/c.png and 2 other files looks inverted: dark on light"
    )
    assert [len(row["hints"]) for row in many.document["predictions"]] == [1, 1, 1, 1, 1, 0]
    (tmp_path / "all" / "right.png").unlink()
    turned = trained("predict", "tiny@1", "all", "--invert", "on")
    assert (turned.code, turned.err) == (0, "")


def test_which_images_were_inverted_is_told(trained: Any, tmp_path: Path) -> None:
    _png(tmp_path / "all" / "a.png", IMAGES[0, 0])
    _png(tmp_path / "all" / "b.png", 16 - IMAGES[0, 0])
    both = trained("predict", "tiny@1", "all", "--json")
    assert both.err == ""
    assert [row["inverted"] for row in both.document["predictions"]] == [False, True]
    assert both.document["predictions"][0]["label"] == both.document["predictions"][1]["label"]
    lines = trained("predict", "tiny@1", "all").out.splitlines()
    assert lines[0].split()[-1] == "inverted"
    assert [line.split()[-1] == "yes" for line in lines if ".png" in line] == [False, True]
    assert "inverted" not in trained("predict", "tiny@1", "all/a.png").out


def test_fit_and_show(trained: Any, tmp_path: Path) -> None:
    sheet = np.full((60, 90), 16.0)
    sheet[10:34, 50:74] -= np.kron(IMAGES[0, 0], np.ones((3, 3))) / 2
    _png(tmp_path / "sheet.png", sheet)
    _png(tmp_path / "digit.png", IMAGES[0, 0])
    result = trained("predict", "tiny@1", "sheet.png", "digit.png", "--fit", "--show", "seen.png", "--json")
    assert (result.code, result.err) == (0, "")
    assert result.document["picture"] == "seen.png"
    told = trained("predict", "tiny@1", "sheet.png", "--fit", "--show", "seen.png").err
    assert told == "picture of the images as the network sees them: seen.png\n"
    assert result.document["predictions"][0]["label"] == result.document["predictions"][1]["label"]
    assert (tmp_path / "seen.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_is_said_of_images_whose_dataset_is_not_known(trained: Any, tmp_path: Path) -> None:
    """Samples of one's own may be dark on light: their preprocessing says nothing, and they are not opened."""
    np.savez(tmp_path / "own.npz", x=255 - np.asarray(IMAGES), y=np.arange(len(IMAGES)) % 10)
    recipe = (tmp_path / "tiny.toml").read_text().replace("Digits()", "Arrays('own.npz')").replace("tiny", "own")
    (tmp_path / "own.toml").write_text(recipe)
    assert trained("train", "own.toml").code == 0
    _png(tmp_path / "a.png", 16 - IMAGES[0, 0])
    assert trained("predict", "own@1", "a.png").err == ""


def test_good_files_are_predicted_and_bad_ones_are_named(trained: Any, tmp_path: Path) -> None:
    _png(tmp_path / "all" / "good.png", IMAGES[0, 0])
    (tmp_path / "all" / "cut.png").write_bytes((tmp_path / "all" / "good.png").read_bytes()[:70])
    (tmp_path / "table.png").write_text("a,b\n1,2\n")
    result = trained("predict", "tiny@1", "all", "table.png")
    assert result.code == 1
    assert [line.split()[:2] for line in result.out.splitlines()[1:]] == [["all/good.png", "0"]]
    first, cut, table = result.err.splitlines()
    assert first == "warning: 2 files cannot be used:"
    assert cut.startswith("  all/cut.png: the image is damaged or truncated: ")
    assert table == (
        "  table.png: expected an image (PNG, JPEG, GIF, BMP, WebP or TIFF), this seems to be a table as text (CSV)"
    )
    result = trained("predict", "tiny@1", "all", "table.png", "--json")
    assert result.code == 1
    assert (len(result.document["predictions"]), len(result.document["refused"])) == (1, 2)
    result = trained("predict", "tiny@1", "all/cut.png", "table.png")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(
        "error: 2 files cannot be used, so nothing was predicted:\n  all/cut.png: the image is"
    )


@pytest.mark.parametrize("kind", ["png", "npy"])
def test_standard_input(trained: Any, tmp_path: Path, kind: str) -> None:
    _png(tmp_path / "one.png", IMAGES[0, 0])
    np.save(tmp_path / "one.npy", IMAGES[0])
    file = tmp_path / f"one.{kind}"
    expected = trained("predict", "tiny@1", file, "--json").document["predictions"][0]
    command = [sys.executable, "-m", "cnnkit.cli", "predict", "tiny@1", "-", "--json"]
    piped = subprocess.run(command, input=file.read_bytes(), capture_output=True, cwd=tmp_path, env=os.environ)
    assert (piped.returncode, piped.stderr) == (0, b"")
    assert json.load(io.BytesIO(piped.stdout))["predictions"] == [expected | {"file": "-"}]
    empty = subprocess.run(command, input=b"", capture_output=True, cwd=tmp_path, env=os.environ)
    assert (empty.returncode, empty.stdout) == (2, b"")
    assert empty.stderr.startswith(b"error: <stdin>: expected an image")


def test_a_file_that_is_called_like_standard_input(trained: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGES[0])
    (tmp_path / "x.npy").rename(tmp_path / "-")
    assert trained("predict", "tiny@1", "./-", "--json").document["predictions"][0]["file"] == "./-"


def test_arrays_in_other_units_get_a_hint_and_images_come_in_the_right_ones(trained: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "shares.npy", IMAGES[:3] / 16)
    units = (
        "has values from 0 to 1, and the model was trained on values from 0 to 16: these seem to be in other units; "
        "convert them to those of the training samples"
    )
    result = trained("predict", "tiny@1", "shares.npy")
    assert (result.code, result.err) == (0, f"warning: shares.npy {units}\n")
    _png(tmp_path / "one.png", IMAGES[0, 0])
    assert trained("predict", "tiny@1", "one.png").err == ""


def test_evaluate_and_explain_say_so_once(trained: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "shares.npz", x=(IMAGES / 16).astype(np.float32), y=np.arange(len(IMAGES)) % 10)
    hint = "values from 0 to 1, and the model was trained on values from 0 to 16: these seem to be in other units"
    result = trained("evaluate", "tiny@1", "--dataset", "Arrays('shares.npz')")
    assert (result.code, result.err.count("warning: "), result.err.count(hint)) == (0, 1, 1)
    np.save(tmp_path / "one.npy", IMAGES[0] / IMAGES[0].max())
    result = trained("explain", "tiny@1", "--image", "one.npy", "-o", "one.html")
    assert (result.code, result.err.count(hint)) == (0, 1)
