"""Arrays from .npy files."""

from __future__ import annotations

import io
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cnnkit.data import Arrays, load_dataset
from cnnkit.errors import DataError
from cnnkit.training.data_checks import checked_range
from cnnkit.types import Array

X = np.random.default_rng(0).integers(0, 256, (40, 1, 4, 4), np.uint8)
Y = np.arange(40) % 3


def refusal(dataset: Arrays, folder: Path, file: str) -> str:
    with pytest.raises(DataError) as caught:
        dataset.load(folder)
    assert str(caught.value).startswith(f"{folder / file}: ")
    return str(caught.value).removeprefix(f"{folder / file}: ")


def npy(values: Array, *, allow_pickle: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=allow_pickle)
    return stream.getvalue()


def test_fortran_order_is_read_into_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.asfortranarray(X))
    np.save(tmp_path / "y.npy", Y)
    data = Arrays("x.npy", test=0.5, targets="y.npy").load(tmp_path)
    assert isinstance(data.train.x, np.ndarray)
    np.save(tmp_path / "x.npy", X)
    assert_array_equal(data.train.x, Arrays("x.npy", test=0.5, targets="y.npy").load(tmp_path).train.x)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(9), f"the magic string is not correct; expected b'\\x93NUMPY', got {bytes(6)!r} (ValueError)"),
        (npy(X)[:-1], "it declares 640 bytes of values and has 639 (ValueError)"),
        (npy(X)[:40], "EOF: reading array header, expected 118 bytes got 30 (ValueError)"),
        (npy(np.array([{}]), allow_pickle=True), "it has Python objects (ValueError)"),
    ],
)
def test_what_is_no_npy_file(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    np.save(tmp_path / "y.npy", Y)
    start = "expected an undamaged .npy file of numbers, as np.save writes it: "
    assert refusal(Arrays("x.npy", targets="y.npy"), tmp_path, "x.npy") == start + message


@pytest.mark.parametrize(
    ("content", "what"), [(b"", "this is empty"), (b"x,y\n1,2\n3,4\n", "this seems to be a table as text (CSV)")]
)
def test_what_is_another_file(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "x.npy").write_bytes(npy(X))
    for name in ("y.npy", "x.npy"):
        np.save(tmp_path / "y.npy", Y)
        (tmp_path / name).write_bytes(content)
        text = refusal(Arrays("x.npy", targets="y.npy"), tmp_path, name)
        assert text == f"expected an .npy file of numbers, as np.save writes it, {what}"


def test_many_rows_of_nothing(tmp_path: Path) -> None:
    """Nothing is allocated for them."""
    none = npy(np.empty((0, 0), np.uint8))
    (tmp_path / "x.npy").write_bytes(none.replace(b"(0, 0), }" + b" " * 12, b"(1000000000000, 0), }"))
    np.save(tmp_path / "y.npy", Y)
    assert refusal(Arrays("x.npy", targets="y.npy"), tmp_path, "x.npy") == (
        "expected x of shape (N, C, H, W), (N, H, W) or (N, F), got (1000000000000, 0)"
    )


def test_targets_of_their_own(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "y.npy").write_bytes(npy(Y)[:-1])
    text = refusal(Arrays("x.npy", targets="y.npy"), tmp_path, "y.npy")
    assert text.startswith("expected an undamaged .npy file of numbers, as np.save writes it: ")
    with pytest.raises(DataError, match=r"no file gone\.npy: looked for"):
        Arrays("x.npy", targets="gone.npy").load(tmp_path)
    np.save(tmp_path / "y.npy", Y - 1)
    assert refusal(Arrays("x.npy", targets="y.npy"), tmp_path, "y.npy").startswith("expected class indices from 0 on")
    (tmp_path / "y.npy").write_bytes(npy(np.array([{}] * 40), allow_pickle=True))
    assert "it has Python objects" in refusal(Arrays("x.npy", targets="y.npy"), tmp_path, "y.npy")


def test_a_file_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    """Loading, splitting, looking for NaN, and the digest."""
    header = npy(np.empty((0, 1, 180, 180), np.float32)).replace(b"(0, 1, 180, 180), }   ", b"(1000, 1, 180, 180), }")
    (tmp_path / "x.npy").write_bytes(header)
    os.truncate(tmp_path / "x.npy", len(header) + 1000 * 180 * 180 * 4)  # 130 MB of holes
    np.save(tmp_path / "y.npy", np.arange(1000) % 2)
    tracemalloc.start()
    data = load_dataset('Arrays("x.npy", targets="y.npy")', tmp_path, 0.1)
    assert checked_range(data.train, "training") == (0, 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6
