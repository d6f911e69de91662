"""Rows that stay in a file: what is read, by whom, and what happens when the file does not stay as it is."""

from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cnnkit import Sequential, Trainer
from cnnkit.data import digest
from cnnkit.data.formats import rows
from cnnkit.data.formats.rows import StoredFile, StoredRows, all_rows
from cnnkit.data.split import split_test, split_validation
from cnnkit.errors import DataError, TrainingError
from cnnkit.training.data_checks import checked_range
from cnnkit.training.progress import Progress
from cnnkit.types import Array, Data, Samples, blocks

X = np.random.default_rng(0).integers(0, 256, (300, 1, 8, 8), np.uint8)
Y = np.arange(300) % 3
HEAD = b"some other bytes"


def stored(tmp_path: Path, x: Array = X, dtype: str | None = None) -> StoredRows:
    path = tmp_path / "rows"
    path.write_bytes(HEAD + np.ascontiguousarray(x).tobytes())
    made = all_rows(StoredFile(path), len(HEAD), x.dtype, x.shape)
    return made if dtype is None else StoredRows(made.file, made.offset, x.dtype, np.dtype(dtype), made.row, made.rows)


# What is read


def test_rows_are_those_of_the_array(tmp_path: Path) -> None:
    x = stored(tmp_path)
    assert (x.shape, x.ndim, x.dtype, len(x), x.nbytes) == (X.shape, 4, X.dtype, 300, 8 * 300)
    mask = Y == 1
    indices: list[Any] = [3, -1, slice(5, 9), slice(None, None, -7), np.array([4, 4, 299, 0]), mask, slice(7, 7)]
    indices += [(slice(2, 5), 0, 1), (8, 0), (slice(3), slice(None), None), ...]
    for index in indices:
        assert_array_equal(x[index], X[index])
    assert_array_equal(np.asarray(x), X)
    indices += [(..., 0), (..., slice(2), 1), (3, ...), (slice(2), ..., None), (), [], [1, 2], ([1, 2], ..., 0)]
    indices += [(np.array([[1, 2], [3, 4]]), 0, slice(3)), (np.int64(3), 0)]
    for index in indices:
        assert_array_equal(x[index], X[index])
    for index in (300, (0, 0, 0, 0, 0), (..., 0, 0, 0, 0, 0), mask[:7]):
        with pytest.raises(IndexError):
            x[index]
    with pytest.raises(ValueError, match="only by a copy"):
        np.asarray(x, copy=False)


@pytest.mark.parametrize(
    "index",
    [([0, 1], [0, 0]), (0, slice(None), [1, 2]), (..., [0, 1]), (..., ..., 0), X > 9, None, (None, 0), True, 1.5, "x"],
)
def test_indices_that_would_need_more_are_refused(tmp_path: Path, index: Any) -> None:
    with pytest.raises(DataError, match="are chosen by a number, a slice, or one array of numbers or a mask, and cut"):
        stored(tmp_path)[index]


@pytest.mark.parametrize(("dtype", "given"), [("<f4", "f4"), (">f4", "f4"), ("<f8", "f4"), ("u1", "u1")])
def test_rows_are_read_into_memory_of_their_dtype(tmp_path: Path, dtype: str, given: str) -> None:
    values = (X / 7).astype(dtype)
    x = stored(tmp_path, values, given)
    out = np.zeros((4, 1, 8, 8), given)
    positions = np.array([9, 10, 2, 299])
    assert x.read(positions, out) is out
    assert_array_equal(out, values.astype(given)[positions])


def test_a_choice_of_rows_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = Samples(stored(tmp_path), Y)
    with monkeypatch.context() as patch:
        patch.setattr(StoredFile, "read", None)  # calling it is an error
        train, test = split_test(samples, 0.2, 0)
        train, validation = split_validation(train, 0.2, 0)
        few = train.take(slice(10))
    in_memory = split_validation(split_test(Samples(X, Y), 0.2, 0)[0], 0.2, 0)
    for one, expected in zip((train, validation), in_memory, strict=True):
        assert_array_equal(one.x, expected.x)
        assert_array_equal(one.y, expected.y)
    assert_array_equal(few.x, in_memory[0].x[:10])
    assert len(test) == 60


def test_the_digest_is_that_of_the_same_samples_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.types.BLOCK_BYTES", 1000)
    for x in (X, (X / 7).astype(">f4")):
        native = x.astype(x.dtype.newbyteorder("="))
        in_file = Samples(stored(tmp_path, x, native.dtype.str), Y)
        parts = [split_test(one, 0.3, 1) for one in (in_file, Samples(native, Y))]
        assert digest(Data(*parts[0])) == digest(Data(*parts[1]))


def test_blocks_are_small_and_leave_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.types.BLOCK_BYTES", 1000)
    found = list(blocks(X))
    assert_array_equal(np.concatenate([np.arange(300)[block] for block in found]), np.arange(300))
    assert max(X[block].nbytes for block in found) == 960
    monkeypatch.setattr("cnnkit.types.BLOCK_BYTES", 1)
    assert list(blocks(X[:2])) == [slice(0, 1), slice(1, 2)]


def test_the_finite_check_reads_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.types.BLOCK_BYTES", 1000)
    values = X.astype(np.float32)
    assert checked_range(Samples(stored(tmp_path, values), Y), "test") == (values.min(), values.max())
    values[217, 0, 3, 3] = np.nan
    with pytest.raises(TrainingError, match=r"^the input of the test sample 217 is not finite"):
        checked_range(Samples(stored(tmp_path, values), Y), "test")


def refused_at_once(monkeypatch: pytest.MonkeyPatch, number: int) -> list[int]:
    """As if nothing were in the system's cache; how often that was asked."""
    plain, asked = os.preadv, []

    def preadv(descriptor: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        if flags:
            asked.append(offset)
            if len(asked) % 3:
                raise OSError(number, os.strerror(number))
        return plain(descriptor, [buffers[0][:50]], offset)  # and never all at once

    monkeypatch.setattr(os, "preadv", preadv)
    return asked


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EOPNOTSUPP])
def test_what_is_not_in_the_cache_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    x = stored(tmp_path)
    asked = refused_at_once(monkeypatch, number)
    positions = np.array([7, 3, 4, 5, 250])
    assert_array_equal(x[positions], X[positions])
    assert len(asked) == 3  # 3, 4 and 5 are read as one


def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = stored(tmp_path)
    refused_at_once(monkeypatch, errno.EIO)
    with pytest.raises(DataError) as caught:
        x[:5]
    assert str(caught.value) == f"cannot read {tmp_path / 'rows'}: Input/output error"


def test_rows_that_the_file_never_had(tmp_path: Path) -> None:
    made = stored(tmp_path)
    beyond = all_rows(made.file, made.offset, X.dtype, (301, *X.shape[1:]))
    assert_array_equal(beyond[:300], X)
    with pytest.raises(DataError) as caught:
        beyond[298:]
    size = len(HEAD) + X.nbytes
    assert str(caught.value) == f"{tmp_path / 'rows'}: expected 64 bytes at byte {size:,}, the file ends before"


# Training from it


def network() -> Sequential:
    return Sequential(["Conv2D(4, 3)", "BatchNorm2D()", "ReLU()", "Flatten()", "Dropout(0.2)", "Dense(3)"], (1, 8, 8))


def trained(samples: Samples, workers: int) -> tuple[bytes, Any]:
    train, test = split_test(samples, 0.2, 0)
    model = network()
    trainer = Trainer(epochs=2, batch_size=100, workers=workers, keep="best")
    run = trainer.fit(model, Data(*split_validation(train, 0.2, 0)[::-1], validation=test))
    assert run.settings["workers"] == workers
    predictions = (model.predict_proba(test.x), model.predict(test.x), *model.trace(test.x))
    again = trainer.evaluate(model, test)
    history = {name: values for name, values in run.history.items() if name != "seconds"}
    return b"".join(array.tobytes() for array in (*model.state().values(), *predictions)), (again, history, run.metrics)


@pytest.mark.parametrize("dtype", ["u1", "<f4", "<f8"])
def test_training_gives_the_bits_of_samples_in_memory(tmp_path: Path, dtype: str) -> None:
    values = X if dtype == "u1" else (X / 7).astype(dtype)
    given = values if dtype == "u1" else values.astype(np.float32)
    expected = trained(Samples(given, Y), 2)
    for workers in (1, 2):
        assert trained(Samples(stored(tmp_path, values, given.dtype.str), Y), workers) == expected


def test_a_pair_of_rows_and_targets(tmp_path: Path) -> None:
    fitted = []
    for x in (X, stored(tmp_path)):
        fitted.append(Trainer(epochs=1).fit(network(), (x, Y)).history["loss"])
    assert fitted[0] == fitted[1]


def test_the_forecast_counts_what_is_in_memory(tmp_path: Path) -> None:
    found = Trainer().forecast(network(), Samples(stored(tmp_path), Y)).footprint()
    assert found.samples == 300 * (8 + 8)  # numbers of rows, and targets


# A file that does not stay as it is


def cut(path: Path) -> None:
    os.truncate(path, 100)


def written(path: Path) -> None:
    about = path.stat()
    with path.open("r+b") as file:
        file.seek(50)
        file.write(b"!")
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns + 1))  # clocks may be coarser than this test is quick


def grown(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"!")


@pytest.mark.parametrize("change", [cut, written, grown])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_changes_ends_the_training(
    tmp_path: Path, change: Callable[[Path], None], workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = Samples(stored(tmp_path), Y)
    path, size = tmp_path / "rows", len(HEAD) + X.nbytes

    def change_it(*_: object) -> None:
        change(path)

    progress = Progress()
    monkeypatch.setattr(progress, "epoch_done", change_it)
    trainer = Trainer(epochs=5, workers=workers, progress=progress)
    with pytest.raises(DataError) as caught:
        trainer.fit(network(), samples)
    now = path.stat().st_size
    assert str(caught.value) == (
        f"{path} has changed since it was opened: it had {size:,} bytes then and has {now:,} now; "
        "expected a file that stays as it is while it is used: start again when nothing writes to it any more"
    )


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_deleted_or_replaced_keeps_its_content(tmp_path: Path, replaced: bool) -> None:
    expected = Trainer(epochs=2).fit(network(), Samples(X, Y)).model.state()
    samples = Samples(stored(tmp_path), Y)
    if replaced:
        (tmp_path / "new").write_bytes(b"another file")
        os.replace(tmp_path / "new", tmp_path / "rows")
    else:
        (tmp_path / "rows").unlink()
    found = Trainer(epochs=2, workers=2).fit(network(), samples).model.state()
    for name, array in expected.items():
        assert_array_equal(found[name], array)


def test_another_process_opens_the_file_anew(tmp_path: Path) -> None:
    x = stored(tmp_path).select(np.array([5, 2]))
    sent = pickle.dumps(x)
    assert_array_equal(pickle.loads(sent), X[[5, 2]])
    grown(tmp_path / "rows")
    with pytest.raises(DataError, match="has changed since it was opened"):
        pickle.loads(sent)
    (tmp_path / "rows").unlink()
    with pytest.raises(DataError) as caught:
        pickle.loads(sent)
    assert str(caught.value) == f"cannot read {tmp_path / 'rows'}: No such file or directory"


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    x = stored(tmp_path)
    descriptor = x.file.descriptor
    os.fstat(descriptor)
    del x
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_where_the_system_cannot_be_asked_for_what_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "AT_ONCE", 0)
    monkeypatch.delattr(os, "posix_fadvise")
    assert_array_equal(stored(tmp_path)[::3], X[::3])
