"""Arrays of an HDF5 file: plain datasets of the file itself, whose rows are taken from it where that is possible."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cnnkit.data.formats.array_files import LABELS, check_counts, too_large, wanted
from cnnkit.data.formats.chunks import can_read, filters_of, read_chunks
from cnnkit.data.formats.rows import Stored, StoredFile, all_rows
from cnnkit.errors import DataError
from cnnkit.file_kinds import HDF5, SAMPLE, foreign


def read_hdf5(file: StoredFile) -> dict[str, Stored]:
    """The arrays that are needed, by name; those named x... stay in the file if they lie there in one piece.

    Raises DataError for links, for storage outside the file, and for types other than numbers and strings of a fixed
    length; for filters other than gzip and shuffle; and for chunked or compressed datasets that are too large for
    memory.
    """
    import h5py

    name = ""
    try:
        # Of the file that is open already, so that what is found here is where its rows are read later.
        with open(file.descriptor, "rb", closefd=False) as opened:
            if what := foreign(opened.read(SAMPLE), HDF5):  # a model file of cnnkit is one, and has no such arrays
                raise DataError(f"{file.path}: expected an HDF5 file with arrays, {what}")
            opened.seek(0)
        with open(file.descriptor, "rb", closefd=False) as opened, h5py.File(opened, "r") as source:
            arrays: dict[str, Stored] = {}
            for name in sorted(wanted(file.path, list(source)), reverse=True):  # each y before its x
                dataset = _dataset(file, name, source)
                if name.startswith("x"):
                    targets = f"y{name[1:]}"
                    check_counts(file.path, name, dataset.shape, targets, arrays[targets].shape)
                arrays[name] = _array(file, name, dataset)
        file.check()
        return arrays
    except DataError:
        raise
    except Exception as error:  # HDF5's failures come as many types; each of them means that the file is damaged
        what = f"the dataset {name} cannot be read" if name else "expected an undamaged HDF5 file"
        raise DataError(f"{file.path}: {what}: {error} ({type(error).__name__})") from error


def _dataset(file: StoredFile, name: str, source: Any) -> Any:
    """The dataset of this name, once it is known to be a plain one of this file."""
    import h5py

    refused = f"{file.path}: expected {name} to be a dataset of the file itself"
    if not isinstance(source.get(name, getlink=True), h5py.HardLink):  # looked at, and not followed
        raise DataError(f"{refused}, it is a soft or external link; copy the data it leads to into the file")
    dataset = source[name]
    if not isinstance(dataset, h5py.Dataset):
        raise DataError(f"{refused}, it is a {type(dataset).__name__.lower()}")
    if dataset.external or dataset.is_virtual:
        raise DataError(f"{refused}, its values are in other files; copy them into the file")
    if dataset.shape is None:
        raise DataError(f"{file.path}: expected {name} with values, it is empty")
    kinds = "S" if name == LABELS else "iufbS" if name.startswith("y") else "iuf"
    if dataset.dtype.kind not in kinds:
        strings = 'strings of a fixed length, such as np.array(["cat", "dog"], "S")'
        expected = {"S": strings, "iuf": "numbers"}.get(kinds, f"numbers, booleans or {strings}")
        found = "strings or arrays of varying length, or references" if dataset.dtype.hasobject else dataset.dtype
        raise DataError(f"{file.path}: expected {name} of {expected}, got {found}")
    return dataset


def _array(file: StoredFile, name: str, dataset: Any) -> Stored:
    import h5py

    created, offset = dataset.id.get_create_plist(), dataset.id.get_offset()
    in_one_piece = created.get_layout() == h5py.h5d.CONTIGUOUS and offset is not None
    plain = dataset.id.get_type().equal(h5py.h5t.py_create(dataset.dtype))  # else HDF5 must convert the values
    if in_one_piece and plain and name.startswith("x") and dataset.ndim:
        return all_rows(file, offset, dataset.dtype, dataset.shape)
    if not in_one_piece or not plain:
        chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
        what = "chunked or compressed" if dataset.chunks else "not stored as plain numbers in one piece"
        advice = "write it as a dataset of plain numbers without chunks and compression"
        too_large(file.path, name, what, max(dataset.nbytes, chunk), advice)
    filters = filters_of(dataset)
    if filters and not (plain and can_read(filters)):
        raise DataError(
            f"{file.path}: expected {name} of plain numbers, with the filters gzip and shuffle or without any, it has "
            f"others; to rewrite it, with h5py: values = file[{name!r}][()]; del file[{name!r}]; "
            f"file[{name!r}] = values"
        )
    values = read_chunks(dataset, filters, file.size) if filters else dataset[()]
    return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
