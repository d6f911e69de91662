from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from cnnkit.data import Arrays, describe
from cnnkit.data.split import split_validation
from cnnkit.errors import ConfigError, DataError
from cnnkit.types import Array, Samples

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
    train, test = split_validation(Samples(X, Y), 0.3, 5)
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


@pytest.mark.parametrize("given", [Y[:, None], Y.astype("u1")[:, None]])
def test_targets_that_can_only_be_classes(tmp_path: Path, given: Array) -> None:
    np.savez(tmp_path / "a.npz", x_train=X, y_train=given, x_test=X, y_test=given)
    data = Arrays("a.npz").load(tmp_path)
    assert data.train.y.dtype == np.int64
    assert_array_equal(data.train.y, Y)


@pytest.mark.parametrize("dtype", [int, bool, np.float32])
def test_one_hot_rows_are_left_to_the_loss_and_shown_as_classes(tmp_path: Path, dtype: type) -> None:
    one_hot: Array = np.eye(3)[Y].astype(dtype)
    several: Array = np.array([[1, 1, 0], [0, 0, 0]] * 5).astype(dtype)
    for test, counts in ((one_hot, [4, 3, 3]), (several, [])):
        np.savez(tmp_path / "a.npz", x_train=X, y_train=one_hot, x_test=X, y_test=test)
        data = Arrays("a.npz").load(tmp_path)
        assert data.train.y.dtype == data.test.y.dtype == np.float32
        assert_array_equal(data.train.y, one_hot)
        assert_array_equal(data.test.y, test)
        assert [one["train"]["samples"] for one in describe(data)["classes"]] == counts


def test_one_hot_classes_are_tested_in_their_share(tmp_path: Path) -> None:
    y = np.repeat([0, 1], [95, 5])
    np.savez(tmp_path / "a.npz", x=np.zeros((100, 3), np.uint8), y=np.eye(2, dtype=int)[y])
    for seed in range(5):
        assert Arrays("a.npz", seed=seed).load(tmp_path).test.y.sum(axis=0).tolist() == [19, 1]


@pytest.mark.parametrize(
    ("y", "things"),
    [
        (np.array([[0, 1, 1], [1, 0, 0]] * 5), "columns"),
        (np.eye(3, dtype=np.float32)[Y], "columns"),
        (np.random.default_rng(0).normal(size=(10, 3)), "columns"),
        (np.zeros((10, 3, 4, 4), bool), "channels"),
    ],
    ids=["several labels", "one-hot floats", "values", "labels of pixels"],
)
def test_labels_name_the_columns_of_targets(tmp_path: Path, y: Array, things: str) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=y, labels=["a", "b", "c"])
    assert Arrays("a.npz").load(tmp_path).labels == ("a", "b", "c")
    for labels in (["a", "b"], ["a", "b", "c", "d"]):
        assert refusal(tmp_path, x=X, y=y, labels=labels) == (
            f"expected labels of strings, one for each of the 3 {things} of y, got {len(labels)}"
        )


def test_names_give_the_labels_and_labels_their_order(tmp_path: Path) -> None:
    names = np.array(["owl", "cat", "dog"])[Y]
    np.savez(tmp_path / "a.npz", x_train=X, y_train=names, x_test=X[:3], y_test=names[:3])
    data = Arrays("a.npz").load(tmp_path)
    assert data.labels == ("cat", "dog", "owl")
    assert_array_equal(data.test.y, [2, 0, 1])
    np.savez(tmp_path / "a.npz", x=X, y=names, labels=["owl", "cat", "dog"])
    data = Arrays("a.npz", test=0.5).load(tmp_path)
    assert data.labels == ("owl", "cat", "dog")
    assert np.bincount(data.test.y).tolist() in ([2, 2, 1], [2, 1, 2], [1, 2, 2])


@pytest.mark.parametrize(
    ("highest", "scale"), [(0, 1), (1, 1), (2, 1 / 2), (15, 1 / 15), (16, 1 / 16), (17, 1 / 255), (255, 1 / 255)]
)
def test_bytes_are_scaled_by_what_they_are_in_the_training_samples(
    tmp_path: Path, highest: int, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnnkit.types.BLOCK_BYTES", 32)
    x = np.zeros_like(X)
    x[-1, 0, 3, 3] = highest
    np.savez(tmp_path / "a.npz", x_train=x, y_train=Y, x_test=np.full_like(X, 200), y_test=Y)
    assert Arrays("a.npz").load(tmp_path).preprocessing.scale == scale


def test_each_class_is_tested_in_its_share(tmp_path: Path) -> None:
    y = np.repeat([0, 1], [95, 5])
    np.savez(tmp_path / "a.npz", x=np.zeros((100, 3), np.uint8), y=y)
    for seed in range(10):
        assert np.bincount(Arrays("a.npz", seed=seed).load(tmp_path).test.y).tolist() == [19, 1]


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
    contents = {
        b"": "this is empty",
        b"hello": "this seems to be text",
        whole[:100]: "this seems to be a damaged NumPy archive (.npz)",
        whole[:-30]: "this seems to be a damaged NumPy archive (.npz)",
        (tmp_path / "one.npy").read_bytes(): "this seems to be a NumPy array (.npy)",
        bytes(100): "this seems to be something else",
    }
    for content, what in contents.items():
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            Arrays("a.npz").load(tmp_path)
        assert str(caught.value) == f"{path}: expected an .npz file as np.savez writes it, {what}"
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ""):
        with pytest.raises(DataError, match="expected a file, this is not a regular file"):
            Arrays(str(tmp_path / name)).load(tmp_path)


@given(position=st.integers(0), bit=st.integers(0, 7), packed=st.booleans())
@settings(max_examples=150)
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
    train, _ = split_validation(Samples(X, Y), 0.2, 0)
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
            {"x": X, "y": np.c_[Y, Y]},
            "expected y of shape (N,) with class indices, names or booleans, or (N, H, W) with one for each pixel, or "
            "(N, K) or (N, K, H, W) with zeros and ones, or (N,), (N, F) or (N, C, H, W) with floats to regress, got "
            "(10, 2) with int64: save values to regress as float32",
        ),
        (
            {"x": X, "y": Y.astype(str), "labels": np.array(["0", "1"])},
            "y: expected names among the labels '0', '1'; that of sample 2 is '2'",
        ),
        (
            {"x": X, "y": Y, "labels": np.array(["a", "b"])},
            "expected labels of strings, one for each of 3 classes, got 2",
        ),
        (
            {"x": X, "y": Y, "labels": np.arange(3)},
            "expected labels of strings, one for each class, got (3,) of int64",
        ),
        (
            {"x": X.transpose(0, 2, 3, 1).repeat(2, 1).repeat(3, 2).repeat(3, 3), "y": Y},
            "expected x of shape (N, C, H, W); (8, 12, 3) seems to be (height, width, channels), and channels come "
            "first: write x.transpose(0, 3, 1, 2), which gives (3, 8, 12); if these really are 8 channels of 12 x 3 "
            "pixels, turn the images with x.swapaxes(2, 3), which gives (8, 3, 12)",
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


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]] * 5), "float32"),
        (np.array([[False, True, True], [True, False, False]] * 10), "float32"),
        (np.arange(240).reshape(20, 1, 3, 4) % 2, "float32"),
        (np.arange(480).reshape(20, 2, 3, 4) % 3 == 0, "float32"),
        (np.arange(240).reshape(20, 3, 4) % 5, "int64"),
        (np.ones((20, 2, 3, 4)), "float32"),
    ],
    ids=[
        "several labels",
        "labels as booleans",
        "masks of pixels",
        "labels of pixels as booleans",
        "classes of pixels",
        "values of pixels",
    ],
)
def test_targets_of_other_tasks_are_taken(tmp_path: Path, given: Array, taken: str) -> None:
    np.savez(
        tmp_path / "a.npz", x_train=np.zeros((20, 1, 3, 4)), y_train=given, x_test=np.zeros((20, 1, 3, 4)), y_test=given
    )
    y = Arrays("a.npz").load(tmp_path).train.y
    assert y.dtype == taken
    np.testing.assert_array_equal(y, given)
