"""`predict`: which files it reads, and what it says about those it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit import api
from cnnkit.data import load_dataset

IMAGES = load_dataset("Digits()").test.x


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
    rows = trained("predict", "tiny", "one.npy", "--top", "99", "--json").document["predictions"]
    values = [row["probability"] for row in rows]
    assert len(rows) == 10
    assert values == sorted(values, reverse=True)
    assert sum(values) == pytest.approx(1)


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
        ("image.png", _text, "image.png: expected a .npy file, as numpy.save writes it"),
        ("text.npy", _text, "text.npy is not an array of numbers in NumPy's format"),
        ("empty.npy", Path.touch, "empty.npy is not an array of numbers in NumPy's format"),
        (
            "objects.npy",
            lambda path: np.save(path, np.array([{}]), allow_pickle=True),
            "Object arrays cannot be loaded",
        ),
        (
            "shape.npy",
            lambda path: np.save(path, np.zeros((3, 4))),
            "expected an array of shape (1, 8, 8) or (N, 1, 8, 8) or (8, 8) or (N, 8, 8), got (3, 4)",
        ),
        ("zip.npy", _zip, "zip.npy is not an array of numbers in NumPy's format"),
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
