"""Your own arrays, from a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cnnkit import axes
from cnnkit.components import checks
from cnnkit.components.checks import true_or_false
from cnnkit.components.contracts import Dataset
from cnnkit.components.value_description import shown
from cnnkit.data.formats.array_files import LABELS, check_counts, read_npy, read_npz
from cnnkit.data.formats.checked_files import find_given
from cnnkit.data.formats.hdf5 import read_hdf5
from cnnkit.data.formats.rows import Stored, StoredFile, StoredRows
from cnnkit.data.split import legacy_seed, proper_fraction, split_validation
from cnnkit.data.targets import as_targets
from cnnkit.errors import ConfigError, DataError
from cnnkit.types import Array, Data, Inputs, Preprocessing, Samples, blocks

FLOAT = np.dtype(np.float32)
FEW_LEVELS = 16
"""Bytes up to this are not images of 8 bits: masks and thresholded scans have 2 levels, the digits have 17."""


class Arrays(Dataset):
    """The arrays of a file: x_train, y_train, x_test and y_test; or x and y, which are then split.

    x: (N, C, H, W), (N, H, W) which gets a channel axis, or (N, F); uint8, float32, or float64, which becomes float32.
    signals: whether three axes are (N, C, L), signals of several channels, not images.
    Preprocessing divides uint8 by 255, or by the highest value to train on if that is 1 to 16; floats stay as they are.
    y: (N,) class indices, integers; or names or booleans, or integers as columns (N, 1), which become class indices, or
    (N, H, W), one for each pixel; or zeros and ones (N, K) or (N, K, H, W), of which the loss knows whether they are
    one-hot classes or several labels; or floats to regress, (N,), (N, F) or (N, C, H, W).
    x_validation, y_validation (optional beside x_train): to validate on. labels (optional): the names of the classes,
    an array of strings, and where y has a second axis one for each of its columns; those in y, sorted, if these are
    names.
    path: .npz; .h5 or .hdf5, with datasets of these names; or .npy, which is x, and `targets` is the .npy file of y.
    Looked for in `data_dir`, then in the working directory. The x of .npy files, and of HDF5 datasets without chunks,
    stay in the file, which may be larger than memory: rows are read when they are needed. All others are read into
    memory, up to 1 GiB each; HDF5 datasets may be compressed by gzip and shuffle, and by no other filter.
    test: the share of x and y to test on, in which class targets keep their proportions; seed: chooses which.
    Raises ConfigError for arguments, DataError for any other file or array, and for NaN or infinite values.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        test: float = 0.2,
        seed: int = 0,
        targets: str | os.PathLike[str] = "",
        signals: bool = False,
    ) -> None:
        self.path = checks.path("path", path, 'the name of a file, such as "shapes.npz"')
        self.test = proper_fraction("test", test)
        self.seed = legacy_seed("seed", seed)
        needed = 'the name of an .npy file, such as "classes.npy"'
        self.targets = checks.path("targets", targets, needed) if not isinstance(targets, str) or targets else ""
        self.signals = true_or_false("signals", signals)
        if self._kind == ".npy" and not self.targets:
            raise ConfigError(f"{self.path} is one array, the inputs: name the .npy file of their targets with targets")
        if self._kind != ".npy" and self.targets:
            raise ConfigError(
                f"targets must be left out unless the path ends in .npy, as {self.path} has them inside; got "
                f"{shown(targets)}"
            )

    def load(self, data_dir: Path) -> Data:
        """Read the file, or where its rows are, and check everything in it."""
        path = _find(self.path, data_dir)
        targets = _find(self.targets, data_dir) if self.targets else path
        arrays = self._read(path, targets)
        labels, validation = _labels(path, arrays), None
        if "x_train" in arrays:
            train, labels = _samples(path, arrays, "_train", labels, self.signals)
            test, labels = _samples(path, arrays, "_test", labels, self.signals)
            _check_alike(path, train, test, "test")
            if "x_validation" in arrays:
                validation, labels = _samples(path, arrays, "_validation", labels, self.signals)
                _check_alike(path, train, validation, "validation")
        else:
            samples, labels = _samples(path, arrays, "", labels, self.signals, targets)
            train, test = split_validation(samples, self.test, self.seed)
        _check_labels(path, labels, [part.y for part in (train, test, validation) if part])
        return Data(train, test, validation, labels=labels, preprocessing=Preprocessing(scale=_scale(train.x)))

    @property
    def _kind(self) -> str:
        return os.path.splitext(self.path)[1].lower()

    def _read(self, path: Path, targets: Path) -> dict[str, Stored]:
        if self._kind in (".h5", ".hdf5"):
            return read_hdf5(StoredFile(path))
        return read_npy(path, targets) if self._kind == ".npy" else read_npz(path)


def _find(name: str, data_dir: Path) -> Path:
    found = find_given(name, data_dir)
    if not found.is_file():
        raise DataError(f"{found}: expected a file, this is not a regular file")
    return found


def _samples(
    path: Path,
    arrays: dict[str, Stored],
    suffix: str,
    labels: tuple[str, ...],
    signals: bool,
    targets: Path | None = None,
) -> tuple[Samples, tuple[str, ...]]:
    """The samples, and the labels, which names among the targets may give; targets: the file of y, if it is another."""
    x_name, y_name = f"x{suffix}", f"y{suffix}"
    x = _inputs(path, x_name, arrays[x_name], signals)
    y, labels = _targets(targets or path, y_name, np.asarray(arrays[y_name]), labels)
    check_counts(path, x_name, x.shape, y_name, y.shape)
    return Samples(x, y), labels


def _inputs(path: Path, name: str, x: Stored, signals: bool) -> Stored:
    if x.ndim not in (2, 3, 4) or 0 in x.shape or (signals and x.ndim != 3):
        expected = "(N, C, L), as signals=True says" if signals else "(N, C, H, W), (N, H, W) or (N, F)"
        raise DataError(f"{path}: expected {name} of shape {expected}, got {x.shape}")
    if axes.seems_channels_last(x.shape[1:]):
        raise DataError(f"{path}: expected {name} of shape (N, C, H, W); {axes.about_channels_last(x.shape[1:], name)}")
    if x.dtype != np.uint8:
        if x.dtype.kind != "f" or x.dtype.itemsize not in (4, 8):
            raise DataError(f"{path}: expected {name} of uint8, float32 or float64, got {x.dtype}")
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is found below
            x = replace(x, dtype=FLOAT) if isinstance(x, StoredRows) else x.astype(FLOAT, copy=False)
        _check_finite(path, name, x)
    if x.ndim != 3 or signals:
        return x
    # (N, H, W) -> (N, 1, H, W)
    return replace(x, row=(1, *x.row)) if isinstance(x, StoredRows) else x[:, np.newaxis]


def _targets(path: Path, name: str, given: Array, labels: tuple[str, ...]) -> tuple[Array, tuple[str, ...]]:
    y, labels = as_targets(given, labels, what=f"{path}: {name}")
    if y.dtype.kind in "iu" and y.ndim in (1, 3):
        y = y.astype(np.int64)
        wrong = np.argwhere(y < 0)
        if len(wrong):
            first = tuple(wrong[0].tolist())
            raise DataError(
                f"{path}: expected class indices from 0 on in {name}, got {len(wrong)} below, "
                f"the first {y[first]} at index {first[0] if len(first) == 1 else first}"
            )
        return y, labels
    if y.dtype.kind in "iu" and y.ndim in (2, 4) and ((y == 0) | (y == 1)).all():
        return y.astype(FLOAT), labels
    if y.dtype.kind == "f" and y.ndim in (1, 2, 4):
        with np.errstate(over="ignore"):  # as above
            y = y.astype(FLOAT, copy=False)
        _check_finite(path, name, y)
        return y[:, np.newaxis] if y.ndim == 1 else y, labels
    raise DataError(
        f"{path}: expected {name} of shape (N,) with class indices, names or booleans, or (N, H, W) with one for each "
        "pixel, or (N, K) or (N, K, H, W) with zeros and ones, or (N,), (N, F) or (N, C, H, W) with floats to regress, "
        f"got {y.shape} with {y.dtype}: save values to regress as float32"
    )


def _scale(x: Inputs) -> float:
    """What preprocessing multiplies with, so that what is white becomes 1; a function of the training samples alone.

    Of images of 8 bits, mostly the first block is read.
    """
    if x.dtype != np.uint8:
        return 1.0
    highest = 0
    for block in blocks(x):
        highest = max(highest, int(np.asarray(x[block]).max()))
        if highest > FEW_LEVELS:
            return 1 / 255
    return 1 / max(1, highest)


def _check_finite(path: Path, name: str, values: Inputs) -> None:
    wrong, first = 0, ""
    for block in blocks(values):
        finite = np.isfinite(values[block])
        if not finite.all():
            row, *rest = (int(i) for i in np.unravel_index(np.argmin(finite), finite.shape))
            first = first or str((block.start + row, *rest))
            wrong += int(np.count_nonzero(~finite))
    if wrong:
        raise DataError(
            f"{path}: expected finite float32 values in {name}, got {wrong} that are NaN, infinite or too large, "
            f"the first at index {first}"
        )


def _check_alike(path: Path, train: Samples, others: Samples, part: str) -> None:
    for name, one, other in (("x", train.x, others.x), ("y", train.y, others.y)):
        if (one.shape[1:], one.dtype) != (other.shape[1:], other.dtype):
            raise DataError(
                f"{path}: expected samples of one shape and dtype, got {one.shape[1:]} {one.dtype} in {name}_train "
                f"and {other.shape[1:]} {other.dtype} in {name}_{part}"
            )


def _labels(path: Path, arrays: dict[str, Stored]) -> tuple[str, ...]:
    if LABELS not in arrays:
        return ()
    labels = np.asarray(arrays[LABELS])
    if labels.ndim != 1 or labels.dtype.kind != "U" or not len(labels):
        raise DataError(f"{path}: expected labels of strings, one for each class, got {labels.shape} of {labels.dtype}")
    return tuple(str(label) for label in labels)


def _check_labels(path: Path, labels: tuple[str, ...], targets: Sequence[Array]) -> None:
    """targets: of all parts, in which they are of one kind."""
    if not labels:
        return
    if targets[0].ndim in (2, 4):
        count, things = targets[0].shape[1], "columns" if targets[0].ndim == 2 else "channels"
        if count != len(labels):
            raise DataError(
                f"{path}: expected labels of strings, one for each of the {count} {things} of y, got {len(labels)}"
            )
    elif (classes := 1 + max(int(y.max()) for y in targets)) > len(labels):
        raise DataError(f"{path}: expected labels of strings, one for each of {classes} classes, got {len(labels)}")
