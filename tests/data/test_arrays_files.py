"""Arrays from .npy and HDF5 files: what is loaded stays in the file, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from cnnkit.data import Arrays, load_dataset
from cnnkit.data.formats.rows import StoredRows
from cnnkit.errors import ConfigError, DataError
from cnnkit.types import Array

X = np.random.default_rng(0).integers(0, 256, (40, 1, 4, 4), np.uint8)
Y = np.arange(40) % 3
LABELS = np.array(["a", "é", "c"])
SPLIT = {"x_train": X, "y_train": Y, "x_test": X[:9], "y_test": Y[:9]}


def write(path: Path, arrays: dict[str, Any], **options: Any) -> None:
    with h5py.File(path, "w", **options) as file:
        for name, values in arrays.items():
            file[name] = np.char.encode(values, "utf-8") if name == "labels" and values.dtype.kind == "U" else values


def refusal(dataset: Arrays, folder: Path, file: str = "a.h5") -> str:
    with pytest.raises(DataError) as caught:
        dataset.load(folder)
    assert str(caught.value).startswith(f"{folder / file}: ")
    return str(caught.value).removeprefix(f"{folder / file}: ")


# What is loaded


@pytest.mark.parametrize("dtype", ["u1", "<f4", ">f4", "<f8"])
@pytest.mark.parametrize("shape", [(40, 1, 4, 4), (40, 4, 4), (40, 16)])
def test_three_formats_give_the_same_data(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    x = X.reshape(shape).astype(dtype)
    np.savez(tmp_path / "a.npz", x=x, y=Y)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", Y)
    write(tmp_path / "a.h5", {"x": x, "y": Y}, userblock_size=1024)
    memory, npy, hdf5 = (
        load_dataset(expression, tmp_path, 0.2)
        for expression in ('Arrays("a.npz")', 'Arrays("x.npy", targets="y.npy")', 'Arrays("a.h5")')
    )
    for data in (npy, hdf5):
        assert (data.digest, data.input_shape) == (memory.digest, memory.input_shape)
        assert data.preprocessing == memory.preprocessing
        assert data.validation
        assert memory.validation
        for one, other in ((data.train, memory.train), (data.validation, memory.validation), (data.test, memory.test)):
            assert isinstance(one.x, StoredRows)
            assert one.x.dtype == other.x.dtype
            assert_array_equal(one.x, other.x)
            assert_array_equal(one.y, other.y)


@pytest.mark.parametrize("name", ["a.npz", "a.h5", "a.HDF5"])
def test_arrays_that_are_split_already(tmp_path: Path, name: str) -> None:
    arrays: dict[str, Any] = SPLIT | {"x_validation": X[9:13], "y_validation": Y[9:13], "labels": LABELS}
    if name == "a.npz":
        np.savez(tmp_path / name, **arrays)
    else:
        write(tmp_path / name, arrays)
    data = Arrays(name).load(tmp_path)
    assert data.labels == ("a", "é", "c")
    assert_array_equal(data.train.x, X)
    assert_array_equal(data.test.x, X[:9])
    assert data.validation
    assert_array_equal(data.validation.x, X[9:13])
    assert data.validation.y.tolist() == [0, 1, 2, 0]
    with pytest.raises(ConfigError, match="has its own validation samples"):
        load_dataset(f'Arrays("{name}")', tmp_path, 0.1)


def compact(file: Any) -> None:
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple(X.shape)
    h5py.Dataset(h5py.h5d.create(file.id, b"x", h5py.h5t.STD_U8LE, space, created))[...] = X


WAYS: dict[str, Callable[[Any], Any]] = {
    "chunked": lambda file: file.create_dataset("x", data=X, chunks=(7, 1, 4, 4)),
    "compressed": lambda file: file.create_dataset("x", data=X, compression="gzip"),
    "compact": compact,
}


@pytest.mark.parametrize("way", WAYS)
def test_what_does_not_lie_in_one_piece_is_read_into_memory(tmp_path: Path, way: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        WAYS[way](file)
        file["y"] = Y
    train = Arrays("a.h5").load(tmp_path).train
    assert isinstance(train.x, np.ndarray)
    write(tmp_path / "b.h5", {"x": X, "y": Y})
    assert_array_equal(train.x, Arrays("b.h5").load(tmp_path).train.x)


# What is refused


def test_what_is_too_large_for_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.data.formats.array_files.SMALL", 600)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=X, compression="gzip")
        file["y"] = Y
    assert refusal(Arrays("a.h5"), tmp_path) == (
        "x is chunked or compressed, so it is read as a whole: expected at most 600 bytes, got 640; write it as "
        "a dataset of plain numbers without chunks and compression, and its rows are read one by one"
    )
    np.save(tmp_path / "x.npy", np.asfortranarray(X))
    np.save(tmp_path / "y.npy", Y)
    assert refusal(Arrays("x.npy", targets="y.npy"), tmp_path, "x.npy") == (
        "the array is in Fortran order, so it is read as a whole: expected at most 600 bytes, got 640; write it "
        "in C order, with np.ascontiguousarray, and its rows are read one by one"
    )
    write(tmp_path / "a.h5", {"x": X, "y": Y})
    assert len(Arrays("a.h5").load(tmp_path).train) == 32


def test_what_is_declared_and_not_there(tmp_path: Path) -> None:
    """Nothing is allocated for it."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (40, 1, 2**20, 2**20), "u1")
        file["y"] = Y
    assert refusal(Arrays("a.h5"), tmp_path).startswith(
        "x is not stored as plain numbers in one piece, so it is read as a whole: expected at most 1,073,741,824 "
    )
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (40, 1, 4, 4), "u1", chunks=(2**27, 1, 4, 4), maxshape=(None, 1, 4, 4))
        file["y"] = Y
    assert "x is chunked or compressed" in refusal(Arrays("a.h5"), tmp_path)


def soft(file: Any) -> None:
    file["elsewhere"] = X
    file["x"] = h5py.SoftLink("/elsewhere")


def external_link(file: Any) -> None:
    file["x"] = h5py.ExternalLink("/etc/passwd", "/x")


def external_storage(file: Any) -> None:
    file.create_dataset("x", X.shape, "u1", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout(X.shape, "u1")
    layout[:] = h5py.VirtualSource("other.h5", "x", X.shape)
    file.create_virtual_dataset("x", layout)


def varying(file: Any) -> None:
    file.create_dataset("x", (40,), h5py.vlen_dtype(np.uint8))


def references(file: Any) -> None:
    file.create_dataset("x", (40,), h5py.ref_dtype)


def booleans(file: Any) -> None:
    file["x"] = X > 100


def records(file: Any) -> None:
    file["x"] = np.zeros(40, [("a", "u1")])


def nothing(file: Any) -> None:
    file["x"] = h5py.Empty("u1")


OF_THE_FILE = "expected x to be a dataset of the file itself, it"
REFUSED: dict[Callable[[Any], None], str] = {
    soft: f"{OF_THE_FILE} is a soft or external link; copy the data it leads to into the file",
    external_link: f"{OF_THE_FILE} is a soft or external link; copy the data it leads to into the file",
    external_storage: f"{OF_THE_FILE}s values are in other files; copy them into the file",
    virtual: f"{OF_THE_FILE}s values are in other files; copy them into the file",
    varying: "expected x of numbers, got strings or arrays of varying length, or references",
    references: "expected x of numbers, got strings or arrays of varying length, or references",
    booleans: "expected x of numbers, got bool",
    records: "expected x of numbers, got [('a', 'u1')]",
    nothing: "expected x with values, it is empty",
    lambda file: file.create_group("x"): f"{OF_THE_FILE} is a group",
}


@pytest.mark.parametrize("make", REFUSED)
def test_only_plain_datasets_of_the_file_itself(tmp_path: Path, make: Callable[[Any], None]) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file)
        file["y"] = Y
    assert refusal(Arrays("a.h5"), tmp_path) == REFUSED[make]


@pytest.mark.parametrize("values", [["a", "é", "c"], np.arange(3)])
def test_labels_are_strings_of_a_fixed_length(tmp_path: Path, values: Any) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"], file["labels"] = X, Y, values
    assert refusal(Arrays("a.h5"), tmp_path).startswith(
        'expected labels of strings of a fixed length, such as np.array(["cat", "dog"], "S"), got '
    )


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_train": X}, "expected the arrays x_train, y_train, x_test, y_test, or x and y; it has x_train"),
        (
            SPLIT | {"x_validation": X},
            "expected both of x_validation and y_validation, or none of them; "
            "it has x_test, x_train, x_validation, y_test, y_train",
        ),
        (
            SPLIT | {"x_validation": X[:, :, :2], "y_validation": Y},
            "expected samples of one shape and dtype, got (1, 4, 4) uint8 in x_train and (1, 2, 4) uint8 in "
            "x_validation",
        ),
        ({"x": X, "y": Y[:9]}, "expected as many targets as inputs, got 40 x and 9 y"),
        ({"x": X, "y": Y - 1}, "expected class indices from 0 on in y, got 14 below, the first -1 at index 0"),
        ({"x": X.astype("f2"), "y": Y}, "expected x of uint8, float32 or float64, got float16"),
        ({"x": X.astype("i8"), "y": Y}, "expected x of uint8, float32 or float64, got int64"),
        ({"x": X[:, 0, 0, 0], "y": Y}, "expected x of shape (N, C, H, W), (N, H, W) or (N, F), got (40,)"),
        ({"x": X[:0], "y": Y[:0]}, "expected x of shape (N, C, H, W), (N, H, W) or (N, F), got (0, 1, 4, 4)"),
        (
            {"x": X, "y": Y, "labels": LABELS[:2]},
            "expected labels of strings, one for each of 3 classes, got 2",
        ),
        (
            {"x": X, "y": Y, "labels": np.array([b"a", b"\xff", b"c"])},
            "the dataset labels cannot be read: 'utf-8' codec can't decode byte 0xff in position 0: "
            "invalid start byte (UnicodeDecodeError)",
        ),
    ],
)
def test_arrays_that_are_refused(tmp_path: Path, arrays: dict[str, Array], message: str) -> None:
    write(tmp_path / "a.h5", arrays)
    assert refusal(Arrays("a.h5"), tmp_path) == message


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_values_that_are_not_finite(tmp_path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.types.BLOCK_BYTES", 256)
    x = X[:, 0].astype(dtype)
    x[7, 1, 2], x[31, 0, 0] = np.nan, 1e300 if dtype == "f8" else np.inf
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", Y)
    assert refusal(Arrays("x.npy", targets="y.npy"), tmp_path, "x.npy") == (
        "expected finite float32 values in x, got 2 that are NaN, infinite or too large, the first at index (7, 1, 2)"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected an HDF5 file with arrays, this is empty"),
        (b"x,y\n1,2\n" * 300, r"expected an HDF5 file with arrays, this seems to be a table as text \(CSV\)"),
        (b"\x89HDF\r\n\x1a\n", r"expected an undamaged HDF5 file: .+ \(OSError\)"),
        (bytes(3000), r"expected an undamaged HDF5 file: .+ \(OSError\)"),
    ],
)
def test_what_is_no_hdf5_file(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.h5").write_bytes(content)
    assert re.fullmatch(message, refusal(Arrays("a.h5"), tmp_path))


def test_an_hdf5_file_that_has_lost_its_end(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", {"x": X, "y": Y})
    whole = (tmp_path / "a.h5").read_bytes()
    for size in range(8, len(whole), 97):
        (tmp_path / "a.h5").write_bytes(whole[:size])
        assert "damaged" in refusal(Arrays("a.h5"), tmp_path)


@given(position=st.integers(0), bit=st.integers(0, 7))
@settings(max_examples=150)
def test_no_flipped_bit_gives_anything_but_data_or_its_error(tmp_path: Path, position: int, bit: int) -> None:
    write(tmp_path / "a.h5", {"x": X, "y": Y, "labels": LABELS})
    damaged = bytearray((tmp_path / "a.h5").read_bytes())
    damaged[position % len(damaged)] ^= 1 << bit
    (tmp_path / "a.h5").write_bytes(damaged)
    try:
        data = Arrays("a.h5").load(tmp_path)
    except DataError:
        return
    np.asarray(data.train.x)


def test_arguments() -> None:
    assert repr(Arrays("x.npy", targets="y.npy")) == 'Arrays("x.npy", targets="y.npy")'
    bad: Any = 3
    refused: list[tuple[Callable[[], Arrays], str]] = [
        (lambda: Arrays("x.npy"), "x.npy is one array, the inputs: name the .npy file of their targets with targets"),
        (
            lambda: Arrays("a.h5", targets="y.npy"),
            "targets must be left out unless the path ends in .npy, as a.h5 has them inside; got 'y.npy'",
        ),
        (
            lambda: Arrays("x.npy", targets=bad),
            'targets must be the name of an .npy file, such as "classes.npy", got 3',
        ),
    ]
    for make, message in refused:
        with pytest.raises(ConfigError) as caught:
            make()
        assert str(caught.value) == message


def test_values_that_hdf5_must_convert_are_read_by_it(tmp_path: Path) -> None:
    """Four bits, two bits up in their byte: the bytes of the file are not the values."""
    bits = h5py.h5t.STD_U8LE.copy()
    bits.set_precision(4)
    bits.set_offset(2)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        x = h5py.Dataset(h5py.h5d.create(file.id, b"x", bits, h5py.h5s.create_simple(X.shape)))
        x[...] = X % 16
        assert x.dtype == np.uint8
        file["y"] = Y
    write(tmp_path / "b.h5", {"x": X % 16, "y": Y})
    converted, plain = (Arrays(name).load(tmp_path).train for name in ("a.h5", "b.h5"))
    assert_array_equal(converted.x, plain.x)


def test_a_dataset_that_would_end_beyond_the_file(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", {"y": Y, "x": X})
    with h5py.File(tmp_path / "a.h5") as file:
        offset = file["x"].id.get_offset()
    whole = (tmp_path / "a.h5").read_bytes()
    here, beyond = (number.to_bytes(8, "little") for number in (offset, len(whole) - 100))
    assert whole.count(here) == 1
    (tmp_path / "a.h5").write_bytes(whole.replace(here, beyond))
    assert refusal(Arrays("a.h5"), tmp_path).startswith("the dataset x cannot be read: ")


def test_names_and_booleans_in_hdf5(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", {"x": X, "y": np.array([b"owl", b"cat", b"dog"])[Y]})
    data = Arrays("a.h5").load(tmp_path)
    assert data.labels == ("cat", "dog", "owl")
    write(tmp_path / "a.h5", {"x": X, "y": Y > 0})
    assert set(Arrays("a.h5").load(tmp_path).test.y.tolist()) == {0, 1}
