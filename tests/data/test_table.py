"""Tables as text: what is in them, in every notation, and the line and column of what is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cnnkit.data import load_dataset
from cnnkit.data.datasets.table import Table
from cnnkit.errors import ConfigError, DataError
from cnnkit.types import Array, Data

RNG = np.random.default_rng(0)


def load(tmp_path: Path, text: str | bytes, target: str | int = "label", **options: Any) -> Data:
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_dataset(Table(path, target, **options))


def whole(data: Data) -> tuple[Array, Array]:
    """All samples, sorted by their first column."""
    x, y = np.concatenate([data.train.x, data.test.x]), np.concatenate([data.train.y, data.test.y])
    order = np.argsort(x.reshape(len(x), -1)[:, 0])
    return x[order], y[order]


def lines(separator: str, header: bool, end: str = "\n") -> str:
    rows = [["width", "label", "height"]] if header else []
    rows += [[str(n + 0.5), str(n % 2), str(-n)] for n in range(10)]
    return end.join(separator.join(row) for row in rows) + end


@pytest.mark.parametrize("separator", [",", ";", "\t", " ", "  ", ", "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
@pytest.mark.parametrize(("header", "target"), [(True, "label"), (True, 1), (True, -2), (False, 1)])
def test_every_notation_means_the_same(
    tmp_path: Path, separator: str, end: str, header: bool, target: str | int
) -> None:
    x, y = whole(load(tmp_path, lines(separator, header, end), target))
    assert_array_equal(x, np.stack([np.arange(10) + 0.5, -np.arange(10)], 1))
    assert_array_equal(y, np.arange(10) % 2)
    assert x.dtype == np.float32
    assert y.dtype == np.int64


def test_a_spreadsheet_s_file_is_read(tmp_path: Path) -> None:
    text = '\ufeff"width";"label"\r\n"1";"a; b"\r\n"2";" c "\r\n"3";"a; b"\r\n'
    data = load(tmp_path, text)
    assert data.labels == ("a; b", "c")
    assert whole(data)[1].tolist() == [0, 1, 0]


def test_names_become_classes_in_their_order(tmp_path: Path) -> None:
    data = load(tmp_path, "x,label\n" + "".join(f"{n},{'dog' if n % 3 else 'cat'}\n" for n in range(12)))
    assert data.labels == ("cat", "dog")
    assert whole(data)[1].tolist() == [0, 1, 1] * 4
    assert np.bincount(data.test.y).tolist() == [1, 2]  # each class keeps its share


def test_numbers_that_are_not_whole_are_values(tmp_path: Path) -> None:
    y = whole(load(tmp_path, "x,label\n" + "".join(f"{n},{n / 2}\n" for n in range(10))))[1]
    assert_array_equal(y, np.arange(10, dtype=np.float32)[:, None] / 2)


def test_whole_numbers_with_a_point_are_values(tmp_path: Path) -> None:
    assert whole(load(tmp_path, "x,label\n1,1.0\n2,0.0\n3,1.0\n"))[1].tolist() == [[1], [0], [1]]
    assert whole(load(tmp_path, f"x,label\n1,{10**20}\n2,1\n3,2\n"))[1].shape == (3, 1)  # no index can be so large


def test_columns_are_standardised_by_the_training_samples_alone(tmp_path: Path) -> None:
    data = load(tmp_path, "a,b,c,label\n" + "".join(f"{n * n},{-n},7,{n % 2}\n" for n in range(20)))
    x = np.asarray(data.train.x)
    assert_allclose(data.preprocessing.mean, x.mean(axis=0, dtype=np.float64), rtol=1e-12)
    assert_allclose(data.preprocessing.std, [*x[:, :2].std(axis=0, dtype=np.float64), 1], rtol=1e-12)


def test_pixels_become_images(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (6, 1, 2, 3), dtype=np.uint8)
    pixels[:, 0, 0, 0] = np.arange(6)
    text = "\n".join(",".join(map(str, [n % 2, *image.ravel()])) for n, image in enumerate(pixels))
    data = load(tmp_path, text, 0, image=(1, 2, 3))
    assert_array_equal(whole(data)[0], pixels)
    assert data.train.x.dtype == np.uint8
    assert data.preprocessing.scale == 1 / 255
    halves = load(tmp_path, text.replace(",", ".5,"), 0, image=[1, 2, 3])
    assert halves.train.x.dtype == np.float32
    assert halves.preprocessing.scale == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,label\n1,0\n2\n", "line 3 of those that are not empty: expected 2 columns, as in the first line, got 1"),
        ('a,label\n"1",0\n"2,3",0,1\n', "line 3 of those that are not empty: expected 2 columns"),
        ("a,label\n1,0\n?,1\n", "line 3 of those that are not empty: expected a finite number in column 'a', got '?'"),
        ("a,label\n1,0\n\n,1\n", "line 3 of those that are not empty: expected a finite number in column 'a', got ''"),
        ("a,label\n1,0\nnan,1\n", "expected a finite number in column 'a', got nan"),
        ("a,label\n1,0\n1e99,1\n", "expected a finite number in column 'a', got inf"),
        ("a,label\n1,cat\n2,\n", "line 3 of those that are not empty: expected a target in column 'label', got ''"),
        ("a,label\n1,cat\n2, NaN\n", "expected a target in column 'label', got 'NaN'"),
        ("a,label\n1,0.5\n2,inf\n", "expected a target in column 'label', got 'inf'"),
        ("a,b\n1,0\n", "expected a column 'label' with the targets; its first line is a, b"),
        ("a,label\n", "lines below the header"),
        ("label\n1\n", "with columns beside the target's"),
        ("", "this is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", "this seems to be a PNG image"),
        ("a,label\n1,-1\n2,3\n", "expected class indices from 0 on in the column 'label', got -1"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        load(tmp_path, text)


def test_a_position_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a column 3 with the targets"):
        load(tmp_path, "1,2,3\n", 3)


def test_columns_that_are_no_such_image_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected 4 columns beside the target's for images of \(1, 2, 2\)"):
        load(tmp_path, "1,2,0\n3,4,1\n", -1, image=(1, 2, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": ""}, "path must be the name of a file"),
        ({"target": 1.5}, "target must be the name or position of a column"),
        ({"image": (28, 28)}, r"image must be the shape \(C, H, W\) of an image"),
        ({"image": (0, 28, 28)}, "image must be a whole number, 1 or above"),
        ({"test": 0}, "test must be a number above 0"),
        ({"seed": -1}, "seed must be a whole number"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Table(**({"path": "table.csv", "target": "label"} | options))
