"""Arrays of your own, from a file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from cnnkit.components.contracts import Dataset
from cnnkit.data.array_files import LABELS, check_counts, read_npy, read_npz
from cnnkit.data.hdf5 import read_hdf5
from cnnkit.data.rows import Stored, StoredFile, StoredRows
from cnnkit.data.split import legacy_seed, proper_fraction, split_test
from cnnkit.errors import ConfigError, DataError
from cnnkit.types import Array, Data, Inputs, Preprocessing, Samples, blocks

FLOAT = np.dtype(np.float32)


class Arrays(Dataset):
    """The arrays of a file: x_train, y_train, x_test and y_test; or x and y, which are then split.

    x: (N, C, H, W), (N, H, W) which gets a channel axis, or (N, F); uint8 (preprocessing divides by 255), float32, or
    float64, which becomes float32. y: (N,) integer class indices, or (N,) or (N, F) floats to regress.
    x_validation, y_validation (optional beside x_train): to validate on. labels (optional): the names of the classes,
    an array of strings.
    path: .npz; .h5 or .hdf5, with datasets of these names; or .npy, which is x, and `targets` is the .npy file of y.
    Looked for in `data_dir`, then in the working directory. The x of .npy files, and of HDF5 datasets without chunks,
    stay in the file, which may be larger than memory: rows are read when they are needed. All others are read into
    memory, up to 1 GiB each; HDF5 datasets may be compressed by gzip and shuffle, and by no other filter.
    test, seed: as for `Digits`.
    Raises ConfigError for arguments, DataError for a file or array that is none of this, or has NaN or infinite values.
    """

    def __init__(
        self, path: str | os.PathLike[str], test: float = 0.2, seed: int = 0, targets: str | os.PathLike[str] = ""
    ) -> None:
        if not isinstance(path, str | os.PathLike) or not os.fspath(path):
            raise ConfigError(f'path must be the name of a file, such as "shapes.npz", got {path!r}')
        if not isinstance(targets, str | os.PathLike):
            raise ConfigError(f'targets must be the name of an .npy file, such as "classes.npy", got {targets!r}')
        self.path = os.fspath(path)
        self.test = proper_fraction("test", test)
        self.seed = legacy_seed("seed", seed)
        self.targets = os.fspath(targets)
        if self._kind == ".npy" and not self.targets:
            raise ConfigError(f"{self.path} is one array, the inputs: name the .npy file of their targets with targets")
        if self._kind != ".npy" and self.targets:
            raise ConfigError(f"targets goes with a path that ends in .npy; {self.path} has its targets inside")

    def load(self, data_dir: Path) -> Data:
        """Read the file, or where its rows are, and check everything in it."""
        path = self._find(self.path, data_dir)
        targets = self._find(self.targets, data_dir) if self.targets else path
        arrays = self._read(path, targets)
        if "x_train" in arrays:
            train, test = (_samples(path, arrays, f"_{part}") for part in ("train", "test"))
            _check_alike(path, train, test, "test")
            validation = _samples(path, arrays, "_validation") if "x_validation" in arrays else None
            if validation:
                _check_alike(path, train, validation, "validation")
        else:
            train, test = split_test(_samples(path, arrays, "", targets), self.test, self.seed)
            validation = None
        labels = _labels(path, arrays, max(_classes(part) for part in (train, test, validation) if part))
        scale = 1 / 255 if train.x.dtype == np.uint8 else 1.0
        return Data(train, test, validation, labels=labels, preprocessing=Preprocessing(scale=scale))

    @property
    def _kind(self) -> str:
        return os.path.splitext(self.path)[1].lower()

    def _read(self, path: Path, targets: Path) -> dict[str, Stored]:
        if self._kind in (".h5", ".hdf5"):
            return read_hdf5(StoredFile(path))
        return read_npy(path, targets) if self._kind == ".npy" else read_npz(path)

    def _find(self, name: str, data_dir: Path) -> Path:
        given = Path(os.path.expanduser(name))
        candidates = dict.fromkeys((data_dir / given, given.absolute()))
        found = next((path for path in candidates if os.path.exists(path)), None)
        if found is None:
            raise DataError(
                f"no file {name}: looked for {' and '.join(map(str, candidates))}; "
                "name its folder with --data-dir or CNNKIT_DATA_DIR"
            )
        if not found.is_file():
            raise DataError(f"{found}: expected a file, this is not a regular one")
        return found


def _samples(path: Path, arrays: dict[str, Stored], suffix: str, targets: Path | None = None) -> Samples:
    """targets: the file of y, if it is another one."""
    x_name, y_name = f"x{suffix}", f"y{suffix}"
    x, y = _inputs(path, x_name, arrays[x_name]), _targets(targets or path, y_name, np.asarray(arrays[y_name]))
    check_counts(path, x_name, x.shape, y_name, y.shape)
    return Samples(x, y)


def _inputs(path: Path, name: str, x: Stored) -> Stored:
    if x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise DataError(f"{path}: expected {name} of shape (N, C, H, W), (N, H, W) or (N, F), got {x.shape}")
    if x.ndim == 4 and x.shape[1] == x.shape[2] and x.shape[3] in (1, 3, 4) and x.shape[1] > 4:
        raise DataError(
            f"{path}: expected {name} of shape (N, C, H, W), with the channels before height and width; {x.shape} seem "
            "to be images with their channels last: save x.transpose(0, 3, 1, 2)"
        )
    if x.dtype != np.uint8:
        if x.dtype.kind != "f" or x.dtype.itemsize not in (4, 8):
            raise DataError(f"{path}: expected {name} of uint8, float32 or float64, got {x.dtype}")
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is found below
            x = replace(x, dtype=FLOAT) if isinstance(x, StoredRows) else x.astype(FLOAT, copy=False)
        _check_finite(path, name, x)
    if x.ndim != 3:
        return x
    # (N, H, W) -> (N, 1, H, W)
    return replace(x, row=(1, *x.row)) if isinstance(x, StoredRows) else x[:, np.newaxis]


def _targets(path: Path, name: str, y: Array) -> Array:
    if y.dtype.kind in "iu" and y.ndim == 1:
        y = y.astype(np.int64)
        wrong = np.flatnonzero(y < 0)
        if len(wrong):
            raise DataError(
                f"{path}: expected class indices from 0 on in {name}, got {len(wrong)} below, "
                f"the first {y[wrong[0]]} at index {wrong[0]}"
            )
        return y
    if y.dtype.kind == "f" and y.ndim in (1, 2):
        with np.errstate(over="ignore"):  # as above
            y = y.astype(FLOAT, copy=False)
        _check_finite(path, name, y)
        return y.reshape(len(y), -1)  # (N,) -> (N, 1)
    raise DataError(
        f"{path}: expected {name} of shape (N,) with integers, or (N,) or (N, F) with floats, "
        f"got {y.shape} with {y.dtype}"
    )


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


def _classes(samples: Samples) -> int:
    return int(samples.y.max()) + 1 if samples.y.dtype.kind == "i" else 0


def _labels(path: Path, arrays: dict[str, Stored], classes: int) -> tuple[str, ...]:
    if LABELS not in arrays:
        return ()
    labels = np.asarray(arrays[LABELS])
    if labels.ndim != 1 or labels.dtype.kind != "U" or not 0 < classes <= len(labels):
        raise DataError(
            f"{path}: expected labels of strings, one for each of {classes} classes, "
            f"got {labels.shape} of {labels.dtype}"
        )
    return tuple(str(label) for label in labels)
