"""Files with arrays: which of them are wanted, and reading them from NumPy's formats."""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO

from cnnkit.data.formats.npy import read_header, read_values
from cnnkit.data.formats.rows import Stored, StoredFile, all_rows
from cnnkit.errors import DataError
from cnnkit.file_kinds import ARRAY, ARRAYS, SAMPLE, ZIP, foreign, seems
from cnnkit.types import Array, Shape

SPLIT = ("x_train", "y_train", "x_test", "y_test")
VALIDATION = ("x_validation", "y_validation")
WHOLE = ("x", "y")
LABELS = "labels"
_ONE_BY_ONE = "write it as .npy, with its targets in another such file"
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
            start = file.read(SAMPLE)
            if (what := foreign(start, ARRAYS, ZIP)) or not zipfile.is_zipfile(file):
                what = what or seems(start, ARRAYS, ZIP)
                raise DataError(f"{path}: expected an .npz file as np.savez writes it, {what}")
            arrays: dict[str, Stored] = {}
            with zipfile.ZipFile(file) as archive:
                for name in wanted(path, [member.removesuffix(".npy") for member in archive.namelist()]):
                    with archive.open(f"{name}.npy") as member:
                        arrays[name] = _small(member, path, f"the array {name}", "in an archive", _ONE_BY_ONE)
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
            header = read_header(opened)
            offset = opened.tell()
            if offset + header.nbytes > file.size:
                raise ValueError(f"it declares {header.nbytes:,} bytes of values and has {file.size - offset:,}")
            y = _whole(targets)
            if header.in_columns or not header.nbytes or not header.shape:
                advice = "write it in C order, with np.ascontiguousarray"
                opened.seek(0)
                return {"x": _small(opened, path, "the array", "in Fortran order", advice), "y": y}
    except DataError:
        raise
    except Exception as error:  # a wrong header makes NumPy and Python's parser fail in many ways
        raise _not_npy(path, error) from error
    check_counts(path, "x", header.shape, "y", y.shape)
    return {"x": all_rows(file, offset, header.dtype, header.shape), "y": y}


def too_large(path: Path, name: str, what: str, nbytes: int, advice: str) -> None:
    """Raises DataError for an array that would have to be read into memory and is too large for that."""
    if nbytes > SMALL:
        raise DataError(
            f"{path}: {name} is {what}, so it is read as a whole: expected at most {SMALL:,} bytes, "
            f"got {nbytes:,}; {advice}, and its rows are read one by one"
        )


def check_counts(path: Path, x_name: str, x: Shape, y_name: str, y: Shape) -> None:
    """Raises DataError unless there are as many targets as inputs: asked before anything is made for each of them."""
    if x[:1] != y[:1]:
        counts = (f"{shape[0]} {name}" if shape else f"a single {name}" for name, shape in ((x_name, x), (y_name, y)))
        raise DataError(f"{path}: expected as many targets as inputs, got {' and '.join(counts)}")


def _small(stream: IO[bytes], path: Path, name: str, what: str, advice: str) -> Array:
    """An array that is read into memory; the arguments are those of `too_large`."""
    header = read_header(stream)
    too_large(path, name, what, header.nbytes, advice)
    return read_values(stream, header)


def _whole(path: Path) -> Array:
    try:
        with path.open("rb") as file:
            return read_values(file, read_header(file))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    except Exception as error:  # as above
        raise _not_npy(path, error) from error


def _not_npy(path: Path, error: Exception) -> DataError:
    with path.open("rb") as file:
        if what := foreign(file.read(SAMPLE), ARRAY):
            return DataError(f"{path}: expected an .npy file of numbers, as np.save writes it, {what}")
    return DataError(
        f"{path}: expected an undamaged .npy file of numbers, as np.save writes it: {error} ({type(error).__name__})"
    )
