"""check_dataset must find each planted fault by name, and refuse no dataset that is right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from cnnkit.components import Dataset
from cnnkit.errors import CheckError, ComponentError, DataError
from cnnkit.testing import check_dataset
from cnnkit.types import Array, Data, Preprocessing, Samples


def made(count: int, seed: int, **changes: Any) -> Samples:
    rng = np.random.default_rng(seed)
    arrays = {"x": rng.integers(0, 256, (count, 1, 4, 5), np.uint8), "y": rng.integers(3, size=count)}
    return Samples(**(arrays | changes))


class Right(Dataset):
    """The right dataset that the faulty ones are made from."""

    def load(self, data_dir: Path) -> Data:
        return Data(made(20, 0), made(8, 1), labels=("a", "b", "c"))


class Changed(Right):
    """What the faulty ones change of it."""

    changes: ClassVar[dict[str, Any]] = {}

    def load(self, data_dir: Path) -> Data:
        return replace(super().load(data_dir), **self.changes)


class Empty(Changed):
    changes: ClassVar[dict[str, Any]] = {"test": made(0, 0)}


class ImagesOf5Axes(Changed):
    changes: ClassVar[dict[str, Any]] = {"train": made(20, 0, x=np.zeros((20, 1, 1, 4, 5), np.float32))}


class Float64Inputs(Changed):
    changes: ClassVar[dict[str, Any]] = {"train": made(20, 0, x=np.zeros((20, 1, 4, 5)))}


class SmallClasses(Changed):
    changes: ClassVar[dict[str, Any]] = {"train": made(20, 0, y=np.zeros(20, np.uint8))}


class OneHot(Changed):
    changes: ClassVar[dict[str, Any]] = {"train": made(20, 0, y=np.eye(20, 3, dtype=np.int64))}


class NotANumber(Changed):
    changes: ClassVar[dict[str, Any]] = {"train": made(20, 0, x=np.full((20, 1, 4, 5), np.nan, np.float32))}


class OtherShape(Changed):
    changes: ClassVar[dict[str, Any]] = {"test": made(8, 1, x=np.zeros((8, 1, 5, 4), np.uint8))}


class OtherDtype(Changed):
    changes: ClassVar[dict[str, Any]] = {"test": made(8, 1, x=np.zeros((8, 1, 4, 5), np.float32))}


class TooFewLabels(Changed):
    changes: ClassVar[dict[str, Any]] = {"labels": ("a", "b")}


class LabelTwice(Changed):
    changes: ClassVar[dict[str, Any]] = {"labels": ("a", "b", "b")}


class OtherChannels(Changed):
    changes: ClassVar[dict[str, Any]] = {"preprocessing": Preprocessing(1.0, (0.0, 0.0), (1.0, 1.0))}


class Leak(Right):
    def load(self, data_dir: Path) -> Data:
        train = made(20, 0)
        return Data(train, train.take(slice(5, 12)))


class AlmostAllLeak(Right):
    """All test samples but one are of the training."""

    def load(self, data_dir: Path) -> Data:
        train, fresh = made(60, 0), made(1, 1)
        x, y = np.concatenate([train.x[:29], fresh.x]), np.concatenate([train.y[:29], fresh.y])
        return Data(train, Samples(x, y), labels=("a", "b", "c"))


class RelabelledLeak(Right):
    """The inputs of the training, with other targets."""

    def load(self, data_dir: Path) -> Data:
        train = made(20, 0)
        return Data(train, Samples(np.array(train.x), (train.y + 1) % 3))


class ValidationLeak(Right):
    def load(self, data_dir: Path) -> Data:
        data = super().load(data_dir)
        return replace(data, validation=data.train.take(slice(4)))


class PixelsBeyondTheLabels(Right):
    def load(self, data_dir: Path) -> Data:
        return replace(Segmentation().load(data_dir), labels=("sky",))


class IntegerMaps(Right):
    """Values for each pixel that are no floats."""

    def load(self, data_dir: Path) -> Data:
        train, test = (made(count, count, y=np.zeros((count, 2, 4, 5), np.int64)) for count in (20, 8))
        return Data(train, test)


class Shuffled(Right):
    def load(self, data_dir: Path) -> Data:
        data = super().load(data_dir)
        return replace(data, train=data.train.take(np.random.default_rng().permutation(20)))


class GlobalShuffle(Right):
    def load(self, data_dir: Path) -> Data:
        data = super().load(data_dir)
        return replace(data, train=data.train.take(np.random.permutation(20)))


class HandsOutItsOwn(Right):
    kept: ClassVar[Data] = Data(made(20, 0), made(8, 1))

    def load(self, data_dir: Path) -> Data:
        return self.kept


class Counts(Right):
    def __init__(self) -> None:
        self.loads = 0

    def load(self, data_dir: Path) -> Data:
        self.loads += 1
        return super().load(data_dir)


class NeverComplete(Right):
    def is_complete(self, data_dir: Path) -> bool | None:
        return False


class Writes(Right):
    def is_complete(self, data_dir: Path) -> bool | None:
        (data_dir / "looked").touch()
        return True


class ATuple(Right):
    def load(self, data_dir: Path) -> Data:
        return made(3, 0), made(3, 1)  # type: ignore[return-value]  # wrong on purpose


class Segmentation(Dataset):
    """A class for each pixel."""

    def load(self, data_dir: Path) -> Data:
        train, test = (
            made(count, count, y=np.random.default_rng(count).integers(3, size=(count, 4, 5))) for count in (20, 8)
        )
        return Data(train, test, labels=("sky", "sea", "land"))


FAULTS: list[tuple[Dataset, str, str]] = [
    (ATuple(), "samples", "load must return Data, it returned tuple"),
    (Empty(), "samples", "test has no samples"),
    (
        ImagesOf5Axes(),
        "samples",
        r"train.x must be \(N, C, H, W\), \(N, C, L\) or \(N, F\).*, it is ndarray of shape \(20, 1, 1, 4, 5\)",
    ),
    (Float64Inputs(), "samples", "uint8 or float32, it is ndarray of shape .*, float64"),
    (SmallClasses(), "samples", r"train.y must be class indices, int64 of shape \(N,\), or \(N, H, W\).*, uint8"),
    (OneHot(), "samples", r"it is ndarray of shape \(20, 3\), int64"),
    (NotANumber(), "samples", "train has NaN or infinite values: leave such samples out, or raise DataError"),
    (OtherShape(), "parts alike", r"shape of one input in test: expected \(1, 4, 5\), got \(1, 5, 4\)"),
    (OtherDtype(), "parts alike", "dtype of the inputs in test: expected uint8, got float32"),
    (TooFewLabels(), "parts alike", "classes in train must be from 0 to 1, they are from 0 to 2; there are 2 labels"),
    (LabelTwice(), "parts alike", r"labels must be different texts, got \('a', 'b', 'b'\)"),
    (OtherChannels(), "parts alike", "preprocessing is for 2 channels, inputs have 1"),
    (PixelsBeyondTheLabels(), "parts alike", "classes in train must be from 0 to 0, they are from 0 to 2"),
    (IntegerMaps(), "samples", r"floats of shape \(N, F\) or \(N, C, H, W\); .* of shape \(20, 2, 4, 5\), int64"),
    (
        Leak(),
        "parts apart",
        "7 of the 7 inputs of test are also among the training inputs, at most 10% may be: results",
    ),
    (AlmostAllLeak(), "parts apart", "29 of the 30 inputs of test are also among the training inputs"),
    (RelabelledLeak(), "parts apart", "20 of the 20 inputs of test are also among the training inputs"),
    (ValidationLeak(), "parts apart", "4 of the 4 inputs of validation are also among .*; split without overlap"),
    (Shuffled(), "repeatable", "train.y after loading again: expected the same values bit for bit"),
    (GlobalShuffle(), "repeatable", "global random numbers were drawn"),
    (HandsOutItsOwn(), "own memory", "train.x, loaded after what was loaded before was written into; give a copy"),
    (Counts(), "repeatable", "a call changed self.loads"),
    (
        NeverComplete(),
        "is complete",
        "is_complete must be True after load, or None where only load can tell, got False",
    ),
    (Writes(), "is complete", r"files that is_complete wrote into an empty folder: expected \[\], got \['looked'\]"),
]


@pytest.mark.parametrize(("one", "check", "reason"), FAULTS, ids=[type(one).__name__ for one, *_ in FAULTS])
def test_each_fault_is_found_and_named(one: Dataset, check: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(CheckError, match=reason) as caught:
        check_dataset(one, tmp_path)
    assert f"fails the check {check!r}: " in str(caught.value)


class Regression(Dataset):
    """Vectors and values, with validation samples, kept and handed out for reading."""

    def __init__(self) -> None:
        self.x: Array = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)
        self.x.flags.writeable = False

    def load(self, data_dir: Path) -> Data:
        y = np.array(self.x[:, :2])
        train, test, validation = (Samples(self.x[part], y[part]) for part in (slice(20), slice(20, 25), slice(25, 30)))
        return Data(train, test, validation)

    def is_complete(self, data_dir: Path) -> bool | None:
        return True


class Maps(Dataset):
    """Values for each pixel, and a test sample in ten that the training has, too."""

    def load(self, data_dir: Path) -> Data:
        train, test = (made(count, count, y=np.ones((count, 2, 4, 5), np.float32)) for count in (20, 10))
        return Data(train, replace(test, x=np.concatenate([test.x[1:], train.x[5:6]])))


class FromAFile(Dataset):
    """Rows in a file, read when they are needed; without labels."""

    def load(self, data_dir: Path) -> Data:
        path = data_dir / "x.npy"
        if not path.exists():
            np.save(path, made(12, 3).x)
        x, y = np.load(path, mmap_mode="r"), made(12, 3).y
        return Data(Samples(x[:8], y[:8]), Samples(x[8:], y[8:]))

    def is_complete(self, data_dir: Path) -> bool | None:
        return (data_dir / "x.npy").exists()


@pytest.mark.parametrize("one", [Right(), Segmentation(), Regression(), Maps(), FromAFile()], ids=repr)
def test_none_that_is_right_is_refused(one: Dataset, tmp_path: Path) -> None:
    check_dataset(one, tmp_path)


def test_arrays_and_refusals(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", x=np.random.default_rng(0).random((20, 4)), y=np.arange(20) % 3)
    check_dataset('Arrays("own.npz")', tmp_path)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((20, 4)))
    np.save(tmp_path / "y.npy", np.arange(20) % 3)
    check_dataset('Arrays("x.npy", targets="y.npy")', str(tmp_path))
    with pytest.raises(DataError, match=r"no file other\.npz"):
        check_dataset('Arrays("other.npz")', tmp_path)
    with pytest.raises(ComponentError, match="there is no dataset named 'Digit'"):
        check_dataset("Digit()", tmp_path)
