"""Files with arrays: which of them are wanted, and reading them from NumPy's formats."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

from cnnkit.data.rows import Stored, StoredFile, all_rows
from cnnkit.errors import DataError
from cnnkit.types import Array

SPLIT = ("x_train", "y_train", "x_test", "y_test")
VALIDATION = ("x_validation", "y_validation")
WHOLE = ("x", "y")
LABELS = "labels"
SMALL = 1 << 30
"""Bytes of an array that is read into memory where its rows cannot be taken from the file."""


def wanted(path: Path, names: Collection[str]) -> list[str]:
    """Which of a file's arrays are needed. Raises DataError if they are not all there."""
    found = next((needed for needed in (SPLIT, WHOLE) if set(needed) <= set(names)), None)
    there = ", ".join(names) or "none"
    if found is None:
        raise DataError(f"{path}: expected the arrays {', '.join(SPLIT)}, or {' and '.join(WHOLE)}; it has {there}")
    optional = [name for name in VALIDATION if name in names and found is SPLIT]
    if len(optional) == 1:
        raise DataError(f"{path}: expected both of {' and '.join(VALIDATION)}, or none of them; it has {there}")
    return [*found, *optional, *([LABELS] if LABELS in names else [])]


def read_npz(path: Path) -> dict[str, Stored]:
    """The arrays that are needed, by name, all in memory."""
    name = ""
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise DataError(
                    f"{path}: expected an .npz file as np.savez writes it, this is something else or has lost its end"
                )
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            arrays: dict[str, Stored] = {}
            for name in wanted(path, archive.files):
                arrays[name] = archive[name]
            return arrays
    except DataError:
        raise
    except Exception as error:  # a damaged archive makes zipfile, zlib and NumPy fail in a dozen ways
        what = f"the array {name} cannot be read" if name else "the archive cannot be read"
        raise DataError(
            f"{path}: {what}: {error} ({type(error).__name__}); expected undamaged arrays of numbers, no Python objects"
        ) from error


def read_npy(path: Path, targets: Path) -> dict[str, Stored]:
    """The array of the one file as x, which stays there, and that of the other as y."""
    file = StoredFile(path)
    try:
        with open(file.descriptor, "rb", closefd=False) as opened:
            version = np.lib.format.read_magic(opened)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, in_columns, dtype = header(opened)
            offset = opened.tell()
        if dtype.hasobject:
            raise ValueError("it has Python objects")
        nbytes = math.prod(shape) * dtype.itemsize
        if offset + nbytes > file.size:
            raise ValueError(f"it declares {nbytes:,} bytes of values and has {file.size - offset:,}")
        if in_columns or not nbytes or not shape:
            too_large(path, "the array", "in Fortran order", nbytes, "write it in C order, with np.ascontiguousarray")
            return {"x": _whole(path), "y": _whole(targets)}
    except DataError:
        raise
    except Exception as error:  # a wrong header makes NumPy and Python's parser fail in many ways
        raise _not_npy(path, error) from error
    return {"x": all_rows(file, offset, dtype, shape), "y": _whole(targets)}


def too_large(path: Path, name: str, what: str, nbytes: int, advice: str) -> None:
    """Raises DataError for an array that would have to be read into memory and is too large for that."""
    if nbytes > SMALL:
        raise DataError(
            f"{path}: {name} is {what}, so that it is read as a whole: expected at most {SMALL:,} bytes, "
            f"got {nbytes:,}; {advice}, and its rows are read one by one"
        )


def _whole(path: Path) -> Array:
    try:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    except Exception as error:  # as above
        raise _not_npy(path, error) from error


def _not_npy(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path}: expected an undamaged .npy file of numbers, as np.save writes it: {error} ({type(error).__name__})"
    )
