"""Files that declare or hold far more than they have bytes: refused before memory is taken for it."""

from __future__ import annotations

import io
import os
import resource
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cnnkit.data import Arrays
from cnnkit.data.formats.chunks import filters_of, read_chunks
from cnnkit.data.formats.npy import MAX_HEADER, read_header, read_values
from cnnkit.errors import DataError

X = np.random.default_rng(0).integers(0, 256, (40, 1, 4, 4), np.uint8)
Y = np.arange(40) % 3
MEBIBYTE = 2**20
ZEROS = bytes(MEBIBYTE)


def npy_header(shape: object, dtype: str = "|u1") -> bytes:
    text = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def refusal(dataset: Arrays, folder: Path) -> str:
    """What is said, once it is known that no memory was taken."""
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as caught:
            dataset.load(folder)
        assert tracemalloc.get_traced_memory()[1] < 8 * MEBIBYTE
    finally:
        tracemalloc.stop()
    return str(caught.value)


# .npz


def write_npz(path: Path, head: bytes, mebibytes: int) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x.npy", "w") as member:
            member.write(head)
            for _ in range(mebibytes):
                member.write(ZEROS)
        targets = io.BytesIO()
        np.save(targets, Y)
        archive.writestr("y.npy", targets.getvalue())


def test_an_archive_with_a_large_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.data.formats.array_files.SMALL", 32 * MEBIBYTE)
    write_npz(tmp_path / "a.npz", npy_header((40, MEBIBYTE)), 40)
    assert (tmp_path / "a.npz").stat().st_size < 100_000
    assert refusal(Arrays("a.npz"), tmp_path).endswith(
        "the array x is in an archive, so it is read as a whole: expected at most 33,554,432 bytes, got "
        "41,943,040; write it as .npy, with its targets in another such file, and its rows are read one by one"
    )


def test_an_archive_with_a_large_header(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", b"\x93NUMPY\x02\x00" + struct.pack("<I", 40 * MEBIBYTE), 40)
    assert f"expected a header of at most {MAX_HEADER:,} bytes, it declares" in refusal(Arrays("a.npz"), tmp_path)


def test_an_archive_with_less_than_it_declares(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", npy_header((40, MEBIBYTE // 16)), 1)
    assert "it declares 2,621,440 bytes of values and has 1,048,576" in refusal(Arrays("a.npz"), tmp_path)


# .npy


@pytest.mark.parametrize("shape", [(2, -3), (40, -2, -2), (40, True, 2), (-1,)])
def test_lengths_that_are_none(tmp_path: Path, shape: tuple[int, ...]) -> None:
    (tmp_path / "x.npy").write_bytes(npy_header(shape) + bytes(640))
    np.save(tmp_path / "y.npy", Y)
    text = refusal(Arrays("x.npy", targets="y.npy"), tmp_path)
    assert text.endswith(f"expected a shape of whole numbers from 0 on, got {shape} (ValueError)")


def test_a_version_that_is_none() -> None:
    with pytest.raises(ValueError, match=r"expected version 1\.0, 2\.0 or 3\.0 of the format, got \(9, 0\)"):
        read_header(io.BytesIO(b"\x93NUMPY\x09\x00" + bytes(100)))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">i2", "<U3"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_arrays_of_archives_come_back(tmp_path: Path, order: Any, dtype: str, version: Any) -> None:
    values = np.arange(24).reshape(2, 3, 4).astype(dtype, order=order)
    for one in (values, values[0, 0, 0], values[:0]):
        stream = io.BytesIO()
        np.lib.format.write_array(stream, np.asanyarray(one), version)
        stream.seek(0)
        found = read_values(stream, read_header(stream))
        assert (found.dtype, found.shape, found.flags.writeable) == (one.dtype, one.shape, True)
        assert_array_equal(found, one)


def write_sparse_npy(folder: Path) -> Arrays:
    (folder / "x.npy").write_bytes(npy_header((10**12, 1)))
    os.truncate(folder / "x.npy", 10**12 + 200)
    np.save(folder / "y.npy", Y)
    return Arrays("x.npy", targets="y.npy")


def write_sparse_hdf5(folder: Path) -> Arrays:
    with h5py.File(folder / "a.h5", "w") as file:
        file["y"] = Y
        created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        created.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        created.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        h5py.h5d.create(file.id, b"x", h5py.h5t.STD_U8LE, h5py.h5s.create_simple((10**12, 1)), created)
    return Arrays("a.h5")


@pytest.mark.parametrize("write", [write_sparse_npy, write_sparse_hdf5])
def test_a_sparse_file_of_many_rows(tmp_path: Path, write: Callable[[Path], Arrays]) -> None:
    try:
        dataset = write(tmp_path)
    except OSError:
        pytest.skip("the file system has no files of a terabyte")
    text = refusal(dataset, tmp_path)
    assert text.endswith("expected as many targets as inputs, got 1000000000000 x and 40 y")


def test_targets_without_an_axis(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", np.array(3))
    text = refusal(Arrays("x.npy", targets="y.npy"), tmp_path)
    assert text.endswith("expected as many targets as inputs, got 40 x and a single y")


# HDF5


@pytest.mark.parametrize("dtype", ["u1", "<f4", ">f8"])
@pytest.mark.parametrize(
    "options",
    [
        {"compression": "gzip"},
        {"shuffle": True},
        {"compression": "gzip", "shuffle": True},
        {"compression": "gzip", "shuffle": True, "maxshape": (None, 1, 4, 4)},
    ],
)
def test_compressed_values_are_those_that_hdf5_gives(tmp_path: Path, dtype: str, options: dict[str, Any]) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        x = file.create_dataset("x", X.shape, dtype, chunks=(7, 1, 3, 4), fillvalue=9, **options)
        x[:35] = X[:35].astype(dtype)  # whole chunks are never written
        file.create_dataset("y", data=Y, chunks=(16,), compression="gzip")
    with h5py.File(tmp_path / "a.h5", "r+") as file:  # again: the chunks of before are no longer in its cache
        x = file["x"]
        x.id.write_direct_chunk((7, 0, 0, 0), np.full(x.chunks, 5, dtype).tobytes(), 2 ** len(filters_of(x)) - 1)
        expected = x[()].astype(dtype if dtype == "u1" else "f4")
    assert rows_of(Arrays("a.h5"), tmp_path) == sorted(row.tobytes() for row in expected)
    assert (expected == 9).any()
    assert (expected[7:14, :, :3] == 5).all() or "compression" not in options


def rows_of(dataset: Arrays, folder: Path) -> list[bytes]:
    data = dataset.load(folder)
    return sorted(row.tobytes() for part in (data.train, data.test) for row in np.asarray(part.x))


def with_chunk(folder: Path, content: bytes, options: dict[str, Any]) -> Arrays:
    with h5py.File(folder / "a.h5", "w") as file:
        x = file.create_dataset("x", data=X, chunks=(1, 1, 4, 4), **options)
        x.id.write_direct_chunk((3, 0, 0, 0), content)
        file["y"] = Y
    return Arrays("a.h5")


def test_a_chunk_that_holds_more_than_it_declares(tmp_path: Path) -> None:
    stream = zlib.compressobj(9)
    bomb = b"".join(stream.compress(ZEROS) for _ in range(64)) + stream.flush()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    text = refusal(with_chunk(tmp_path, bomb, {"compression": "gzip"}), tmp_path)
    assert "the dataset x cannot be read: expected 16 bytes in a chunk, it has more (ValueError)" in text
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024  # KiB; HDF5 is not traced


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (zlib.compress(bytes(15)), {"compression": "gzip"}, "expected 16 bytes in a chunk, it has 15"),
        (zlib.compress(bytes(16))[:-1], {"compression": "gzip"}, "a chunk is truncated"),
        (b"x" * 16, {"compression": "gzip"}, "incorrect header check"),
        (bytes(17), {"shuffle": True}, "expected 16 bytes in a chunk, it has more"),
    ],
)
def test_chunks_that_are_damaged(tmp_path: Path, content: bytes, options: dict[str, Any], message: str) -> None:
    text = refusal(with_chunk(tmp_path, content, options), tmp_path)
    assert text.startswith(f"{tmp_path / 'a.h5'}: the dataset x cannot be read: ")
    assert message in text


def test_a_chunk_longer_than_its_file() -> None:
    with h5py.File(io.BytesIO(), "w") as file:
        x = file.create_dataset("x", data=X, chunks=(1, 1, 4, 4), compression="gzip")
        with pytest.raises(ValueError, match=r"the chunk at \(0, 0, 0, 0\) declares .* bytes, the file has 3"):
            read_chunks(x, [h5py.h5z.FILTER_DEFLATE], 3)


@pytest.mark.parametrize(
    "options", [{"compression": "lzf"}, {"scaleoffset": 0}, {"fletcher32": True}, {"compression": "gzip", "bits": 4}]
)
def test_other_filters_are_refused_with_the_lines_that_help(tmp_path: Path, options: dict[str, Any]) -> None:
    dtype = h5py.h5t.STD_U8LE.copy()
    dtype.set_precision(options.pop("bits", 8))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=X % 16, dtype=h5py.Datatype(dtype), chunks=(7, 1, 4, 4), **options)
        file["y"] = Y
    text = refusal(Arrays("a.h5"), tmp_path)
    message, _, lines = text.partition("; to rewrite it, with h5py: ")
    assert message.endswith(
        "expected x of plain numbers, with the filters gzip and shuffle or without any, it has others"
    )
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        exec(lines, {"file": file})
    assert rows_of(Arrays("a.h5"), tmp_path) == sorted(row.tobytes() for row in X % 16)


def test_a_file_that_is_written_to_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All values are in memory then, so that no later read would notice it."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=X, compression="gzip")
        file["y"] = Y

    def writing(*arguments: Any) -> Any:
        os.utime(tmp_path / "a.h5", ns=(1, 1))
        return X

    monkeypatch.setattr("cnnkit.data.formats.hdf5.read_chunks", writing)
    with pytest.raises(DataError, match="has changed since it was opened"):
        Arrays("a.h5").load(tmp_path)


def test_no_plugin_of_hdf5_is_loaded() -> None:
    code = "import os, cnnkit.data.formats.hdf5; print(os.environ['HDF5_PLUGIN_PRELOAD'])"
    plain = {key: value for key, value in os.environ.items() if key != "HDF5_PLUGIN_PRELOAD"}
    done = subprocess.run([sys.executable, "-c", code], env=plain, capture_output=True, text=True, check=True)
    assert done.stdout == "::\n"


@pytest.mark.parametrize(("said", "folders"), [(None, 0), ("/nowhere", 1)])
def test_hdf5_looks_for_plugins_only_where_the_user_lets_it_load_some(
    tmp_path: Path, said: str | None, folders: int
) -> None:
    """Of a file that it cannot open, it would load every library in these folders, whatever may be loaded else."""
    code = "import cnnkit, h5py; print(h5py.h5pl.size())"
    given = {key: value for key, value in os.environ.items() if key != "HDF5_PLUGIN_PRELOAD"}
    given |= {"HDF5_PLUGIN_PATH": str(tmp_path)} | ({"HDF5_PLUGIN_PRELOAD": said} if said else {})
    done = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, check=True)
    assert done.stdout == f"{folders}\n"
