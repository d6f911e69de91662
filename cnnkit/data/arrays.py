"""Arrays of your own, from a NumPy archive."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np

from cnnkit.components.contracts import Dataset
from cnnkit.data.split import legacy_seed, proper_fraction, split_test
from cnnkit.errors import ConfigError, DataError
from cnnkit.types import Array, Data, Preprocessing, Samples

SPLIT = ("x_train", "y_train", "x_test", "y_test")
WHOLE = ("x", "y")


class Arrays(Dataset):
    """The arrays of an .npz file: x_train, y_train, x_test and y_test; or x and y, which are then split.

    x: (N, C, H, W), (N, H, W) which gets a channel axis, or (N, F); uint8 (preprocessing divides by 255), float32, or
    float64, which becomes float32. y: (N,) integer class indices, or (N,) or (N, F) floats to regress.
    labels (optional in the file): the names of the classes, an array of strings.
    path: looked for in `data_dir`, then in the working directory; test, seed: as for `Digits`.
    Raises ConfigError for arguments, DataError for a file or array that is none of this, or has NaN or infinite values.
    """

    def __init__(self, path: str | os.PathLike[str], test: float = 0.2, seed: int = 0) -> None:
        if not isinstance(path, str | os.PathLike) or not os.fspath(path):
            raise ConfigError(f'path must be the name of an .npz file, such as "shapes.npz", got {path!r}')
        self.path = os.fspath(path)
        self.test = proper_fraction("test", test)
        self.seed = legacy_seed("seed", seed)

    def load(self, data_dir: Path) -> Data:
        """Read the archive and check everything in it."""
        path = self._find(data_dir)
        arrays = _read(path)
        if "x_train" in arrays:
            train, test = (_samples(path, arrays, f"_{part}") for part in ("train", "test"))
            _check_alike(path, train, test)
        else:
            train, test = split_test(_samples(path, arrays, ""), self.test, self.seed)
        labels = _labels(path, arrays, max(_classes(train), _classes(test)))
        scale = 1 / 255 if train.x.dtype == np.uint8 else 1.0
        return Data(train, test, labels=labels, preprocessing=Preprocessing(scale=scale))

    def _find(self, data_dir: Path) -> Path:
        given = Path(os.path.expanduser(self.path))
        candidates = dict.fromkeys((data_dir / given, given.absolute()))
        found = next((path for path in candidates if os.path.exists(path)), None)
        if found is None:
            raise DataError(
                f"no file {self.path}: looked for {' and '.join(map(str, candidates))}; "
                "name its folder with --data-dir or CNNKIT_DATA_DIR"
            )
        if not found.is_file():
            raise DataError(f"{found}: expected an .npz file, this is not a regular file")
        return found


def _read(path: Path) -> dict[str, Array]:
    """The arrays that are needed, by name."""
    name = ""
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise DataError(
                    f"{path}: expected an .npz file as np.savez writes it, this is something else or has lost its end"
                )
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            wanted = next((names for names in (SPLIT, WHOLE) if set(names) <= set(archive.files)), None)
            if wanted is None:
                raise DataError(
                    f"{path}: expected the arrays {', '.join(SPLIT)}, or {' and '.join(WHOLE)}; "
                    f"it has {', '.join(archive.files) or 'none'}"
                )
            arrays = {}
            for name in (*wanted, "labels"):
                if name in archive.files:
                    arrays[name] = archive[name]
            return arrays
    except DataError:
        raise
    except Exception as error:  # a damaged archive makes zipfile, zlib and NumPy fail in a dozen ways
        what = f"the array {name} cannot be read" if name else "the archive cannot be read"
        raise DataError(
            f"{path}: {what}: {error} ({type(error).__name__}); expected undamaged arrays of numbers, no Python objects"
        ) from error


def _samples(path: Path, arrays: dict[str, Array], suffix: str) -> Samples:
    x_name, y_name = f"x{suffix}", f"y{suffix}"
    x, y = _inputs(path, x_name, arrays[x_name]), _targets(path, y_name, arrays[y_name])
    if len(x) != len(y):
        raise DataError(f"{path}: expected as many targets as inputs, got {len(x)} {x_name} and {len(y)} {y_name}")
    return Samples(x, y)


def _inputs(path: Path, name: str, x: Array) -> Array:
    if x.ndim not in (2, 3, 4) or x.size == 0:
        raise DataError(f"{path}: expected {name} of shape (N, C, H, W), (N, H, W) or (N, F), got {x.shape}")
    if x.dtype != np.uint8:
        if x.dtype.kind != "f" or x.dtype.itemsize not in (4, 8):
            raise DataError(f"{path}: expected {name} of uint8, float32 or float64, got {x.dtype}")
        x = _finite(path, name, x)
    return x[:, np.newaxis] if x.ndim == 3 else x  # (N, H, W) -> (N, 1, H, W)


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
        return _finite(path, name, y).reshape(len(y), -1)  # (N,) -> (N, 1)
    raise DataError(
        f"{path}: expected {name} of shape (N,) with integers, or (N,) or (N, F) with floats, "
        f"got {y.shape} with {y.dtype}"
    )


def _finite(path: Path, name: str, values: Array) -> Array:
    """The values as float32."""
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is found below
        values = values.astype(np.float32, copy=False)
    finite = np.isfinite(values)
    if not finite.all():
        first = tuple(int(i) for i in np.unravel_index(np.argmin(finite), values.shape))
        raise DataError(
            f"{path}: expected finite float32 values in {name}, got {np.count_nonzero(~finite)} "
            f"that are NaN, infinite or too large, the first at index {first}"
        )
    return values


def _check_alike(path: Path, train: Samples, test: Samples) -> None:
    for name, one, other in (("x", train.x, test.x), ("y", train.y, test.y)):
        if (one.shape[1:], one.dtype) != (other.shape[1:], other.dtype):
            raise DataError(
                f"{path}: expected samples of one shape and dtype, got {one.shape[1:]} {one.dtype} in {name}_train "
                f"and {other.shape[1:]} {other.dtype} in {name}_test"
            )


def _classes(samples: Samples) -> int:
    return int(samples.y.max()) + 1 if samples.y.dtype.kind == "i" else 0


def _labels(path: Path, arrays: dict[str, Array], classes: int) -> tuple[str, ...]:
    labels = arrays.get("labels")
    if labels is None:
        return ()
    if labels.ndim != 1 or labels.dtype.kind != "U" or not 0 < classes <= len(labels):
        raise DataError(
            f"{path}: expected labels of strings, one for each of {classes} classes, "
            f"got {labels.shape} of {labels.dtype}"
        )
    return tuple(str(label) for label in labels)
