from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from cnnkit.data import Arrays
from cnnkit.data.split import split_test
from cnnkit.errors import ConfigError, DataError
from cnnkit.types import Samples

X = np.random.default_rng(0).integers(0, 256, (10, 1, 4, 4)).astype(np.uint8)
Y = np.arange(10) % 3


def refusal(tmp_path: Path, **arrays: Any) -> str:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError) as caught:
        Arrays("a.npz").load(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'a.npz'}: ")
    return str(caught.value).removeprefix(f"{tmp_path / 'a.npz'}: ")


def test_arrays_that_are_split_already(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=X, y_train=Y, x_test=X[:3], y_test=Y[:3], labels=np.array(["a", "b", "c"]))
    data = Arrays("a.npz").load(tmp_path)
    assert_array_equal(data.train.x, X)
    assert_array_equal(data.test.y, Y[:3])
    assert data.train.x.dtype == np.uint8
    assert data.train.y.dtype == np.int64
    assert data.labels == ("a", "b", "c")
    assert data.preprocessing.scale == 1 / 255


def test_arrays_that_are_split_here(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=X, y=Y)
    data = Arrays("a.npz", test=0.3, seed=5).load(tmp_path)
    train, test = split_test(Samples(X, Y), 0.3, 5)
    assert_array_equal(data.train.x, train.x)
    assert_array_equal(data.test.y, test.y)
    assert data.labels == ()


@pytest.mark.parametrize("dtype", ["float32", "float64", ">f4", ">f8"])
def test_floats_become_native_float32_and_stay_as_they_are(tmp_path: Path, dtype: str) -> None:
    np.savez(tmp_path / "a.npz", x=X.astype(dtype), y=Y.astype(dtype))
    data = Arrays("a.npz").load(tmp_path)
    assert data.train.x.dtype == data.train.y.dtype == np.float32
    assert data.train.y.shape == (8, 1)
    assert data.preprocessing.scale == 1


@pytest.mark.parametrize(
    ("shape", "expected"), [((10, 4, 4), (1, 4, 4)), ((10, 16), (16,)), ((10, 2, 2, 4), (2, 2, 4))]
)
def test_shapes_of_inputs(tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    np.savez(tmp_path / "a.npz", x=X.reshape(shape), y=Y)
    assert Arrays("a.npz").load(tmp_path).input_shape == expected


def test_where_the_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_dir, here = tmp_path / "data", tmp_path / "here"
    data_dir.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(DataError) as caught:
        Arrays("a.npz").load(data_dir)
    assert str(caught.value) == (
        f"no file a.npz: looked for {data_dir / 'a.npz'} and {here / 'a.npz'}; "
        "name its folder with --data-dir or CNNKIT_DATA_DIR"
    )
    np.savez(here / "a.npz", x=X, y=Y)
    assert Arrays("a.npz").load(data_dir).input_shape == (1, 4, 4)
    np.savez(data_dir / "a.npz", x=X.reshape(10, 16), y=Y)
    assert Arrays("a.npz").load(data_dir).input_shape == (16,)
    assert Arrays(str(here / "a.npz")).load(data_dir).input_shape == (1, 4, 4)


def test_what_is_not_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=X, y=Y)
    whole = path.read_bytes()
    np.save(tmp_path / "one.npy", X)
    for content in (b"", b"hello", whole[:100], whole[:-30], (tmp_path / "one.npy").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            Arrays("a.npz").load(tmp_path)
        assert str(caught.value) == (
            f"{path}: expected an .npz file as np.savez writes it, this is something else or has lost its end"
        )
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ""):
        with pytest.raises(DataError, match="expected a file, this is not a regular one"):
            Arrays(str(tmp_path / name)).load(tmp_path)


@given(position=st.integers(0), bit=st.integers(0, 7), packed=st.booleans())
@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_flipped_bit_is_refused_or_harmless(tmp_path: Path, position: int, bit: int, packed: bool) -> None:
    path = tmp_path / "a.npz"
    (np.savez_compressed if packed else np.savez)(path, x=X, y=Y)
    damaged = bytearray(path.read_bytes())
    damaged[position % len(damaged)] ^= 1 << bit
    path.write_bytes(damaged)
    try:
        data = Arrays("a.npz").load(tmp_path)
    except DataError:
        return
    train, _ = split_test(Samples(X, Y), 0.2, 0)
    assert_array_equal(data.train.x, train.x)
    assert_array_equal(data.train.y, train.y)


def test_missing_arrays_and_python_objects(tmp_path: Path) -> None:
    assert refusal(tmp_path, x_train=X, y_train=Y, x_test=X) == (
        "expected the arrays x_train, y_train, x_test, y_test, or x and y; it has x_train, y_train, x_test"
    )
    assert refusal(tmp_path).endswith("; it has none")
    assert refusal(tmp_path, x=np.array([{}, {}]), y=Y[:2]) == (
        "the array x cannot be read: it has Python objects (ValueError); "
        "expected undamaged arrays of numbers, no Python objects"
    )


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    x = np.zeros((10, 3, 2))
    x[2, 1, 0], x[4, 0, 0], x[9, 2, 1] = np.nan, np.inf, 1e300
    message = "got 3 that are NaN, infinite or too large, the first at index (2, 1, 0)"
    assert refusal(tmp_path, x=x, y=Y) == f"expected finite float32 values in x, {message}"
    y = np.array([0, np.nan] * 5)
    assert refusal(tmp_path, x=X, y=y) == (
        "expected finite float32 values in y, got 5 that are NaN, infinite or too large, the first at index (1,)"
    )


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X, "y": Y[:9]}, "expected as many targets as inputs, got 10 x and 9 y"),
        ({"x": X, "y": Y - 1}, "expected class indices from 0 on in y, got 4 below, the first -1 at index 0"),
        ({"x": X[:, 0, 0, 0], "y": Y}, "expected x of shape (N, C, H, W), (N, H, W) or (N, F), got (10,)"),
        ({"x": X[:0], "y": Y[:0]}, "expected x of shape (N, C, H, W), (N, H, W) or (N, F), got (0, 1, 4, 4)"),
        ({"x": X.astype(np.int64), "y": Y}, "expected x of uint8, float32 or float64, got int64"),
        ({"x": X.astype(np.float16), "y": Y}, "expected x of uint8, float32 or float64, got float16"),
        (
            {"x": X, "y": Y[:, None]},
            "expected y of shape (N,) with integers, or (N,) or (N, F) with floats, got (10, 1) with int64",
        ),
        (
            {"x": X, "y": Y.astype(str)},
            "expected y of shape (N,) with integers, or (N,) or (N, F) with floats, got (10,) with <U21",
        ),
        (
            {"x": X, "y": Y, "labels": np.array(["a", "b"])},
            "expected labels of strings, one for each of 3 classes, got (2,) of <U1",
        ),
        (
            {"x": X, "y": Y, "labels": np.arange(3)},
            "expected labels of strings, one for each of 3 classes, got (3,) of int64",
        ),
        (
            {"x_train": X, "y_train": Y, "x_test": X[:, :, :2], "y_test": Y},
            "expected samples of one shape and dtype, got (1, 4, 4) uint8 in x_train and (1, 2, 4) uint8 in x_test",
        ),
        (
            {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y.astype(float)},
            "expected samples of one shape and dtype, got () int64 in y_train and (1,) float32 in y_test",
        ),
    ],
)
def test_arrays_that_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    assert refusal(tmp_path, **arrays) == message


def test_arguments() -> None:
    assert repr(Arrays("a.npz")) == 'Arrays("a.npz")'
    assert repr(Arrays("a.npz", seed=3)) == 'Arrays("a.npz", seed=3)'
    assert repr(Arrays(Path("a.npz"))) == 'Arrays("a.npz")'
    bad: list[Any] = ["", 3]
    for path in bad:
        with pytest.raises(ConfigError) as caught:
            Arrays(path)
        assert str(caught.value) == f'path must be the name of a file, such as "shapes.npz", got {path!r}'
    with pytest.raises(ConfigError, match="test must be a number above 0, got 0"):
        Arrays("a.npz", test=0)
