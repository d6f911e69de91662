"""Compressed HDF5 datasets, chunk by chunk.

They are uncompressed here, and not by HDF5, whose filter gives all that is in a chunk: some megabytes may hold
gigabytes, whatever size the dataset declares.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np

from cnnkit.types import Array

Filters = list[int]
"""Their numbers, in the order in which they were applied."""


def filters_of(dataset: Any) -> Filters:
    """The filters of a dataset."""
    created = dataset.id.get_create_plist()
    return [created.get_filter(position)[0] for position in range(created.get_nfilters())]


def can_read(filters: Filters) -> bool:
    """Whether these are gzip and shuffle alone, at most once each."""
    import h5py

    return len(set(filters)) == len(filters) and set(filters) <= {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE}


def read_chunks(dataset: Any, filters: Filters, file_size: int) -> Array:
    """All values of a dataset with filters that `can_read` takes.

    file_size: bytes of its file, more than which no chunk can have. Raises ValueError for a damaged chunk.
    """
    values = np.full(dataset.shape, dataset.fillvalue, dataset.dtype)
    stored: list[Any] = []
    dataset.id.chunk_iter(stored.append)  # those that were never written have the fill value
    for info in stored:
        offset = info.chunk_offset
        if info.size > file_size:
            raise ValueError(f"the chunk at {offset} declares {info.size:,} bytes, the file has {file_size:,}")
        mask, content = dataset.id.read_direct_chunk(offset)
        applied = [number for position, number in enumerate(filters) if not mask >> position & 1]
        raw = _undo(applied, content, math.prod(dataset.chunks) * dataset.dtype.itemsize, dataset.dtype.itemsize)
        chunk = np.frombuffer(raw, dataset.dtype).reshape(dataset.chunks)
        part = values[tuple(slice(start, start + length) for start, length in zip(offset, chunk.shape, strict=True))]
        part[...] = chunk[tuple(slice(length) for length in part.shape)]  # the last ones go beyond the dataset
    return values


def _undo(filters: Filters, content: bytes, size: int, item: int) -> bytes:
    """A chunk of that many bytes as it was before its filters; item: bytes of a value."""
    import h5py

    for number in reversed(filters):
        if number == h5py.h5z.FILTER_DEFLATE:
            stream = zlib.decompressobj()
            content = stream.decompress(content, size + 1)
            if len(content) == size and not stream.eof:
                raise ValueError("a chunk is truncated")
        else:  # byte 0 of all values, then byte 1, and so on
            content = np.frombuffer(content, np.uint8).reshape(item, -1).T.tobytes()
        if len(content) != size:
            found = "more" if len(content) > size else f"{len(content):,}"
            raise ValueError(f"expected {size:,} bytes in a chunk, it has {found}")
    return content
