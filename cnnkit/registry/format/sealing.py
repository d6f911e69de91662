"""The bytes of a version file: a user block that seals an HDF5 payload. `docs/format.md` is the specification."""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from cnnkit.errors import RegistryError
from cnnkit.file_kinds import foreign
from cnnkit.registry.format import git
from cnnkit.registry.format.safety import DTYPES, MANIFEST, MAX_ARRAYS, MAX_AXES, STATE, STATE_NAME
from cnnkit.types import Array

MAGIC = b"cnnkit model\r\n\x1a\n"
VERSIONS = VERSION, GRAPH_VERSION = 1, 2
"""Those that are read; a version file has that of its manifest."""
BLOCK = 512
MAX_MODEL_FILE_BYTES = 4 * 2**30
"""Most bytes of a model file, which is read into memory as a whole."""
_HEADER = struct.Struct("<16sQQ32s")  # magic, format version, length of the payload, its sha256


class SealError(RegistryError):
    """The user block of a file cannot be used, or seals a file of another size."""


def pack(manifest: bytes, state: Mapping[str, Array], version: int = VERSION) -> memoryview:
    """The bytes of a version file. Raises RegistryError for arrays that the format cannot hold."""
    if len(state) > MAX_ARRAYS:
        raise RegistryError(f"a model may have at most {MAX_ARRAYS:,} arrays, this one has {len(state):,}")
    image = io.BytesIO()
    with _created(image) as file:
        file.create_dataset(MANIFEST, data=np.frombuffer(manifest, np.uint8))
        group = h5py.Group(h5py.h5g.create(file.id, STATE.encode(), gcpl=_without_times(h5py.h5p.GROUP_CREATE)))
        for name, array in state.items():
            group.create_dataset(name, data=_storable(name, array))
    data = image.getbuffer()
    if len(data) > MAX_MODEL_FILE_BYTES:
        raise RegistryError(
            f"a model file may have at most {MAX_MODEL_FILE_BYTES:,} bytes, this one would have {len(data):,}"
        )
    data[:BLOCK] = _block(data[BLOCK:], version)
    return data


def tombstone() -> bytes:
    """The bytes that replace a deleted version: a user block that seals nothing."""
    return _block(b"", VERSION)


def check_start(start: bytes, size: int) -> None:
    """Judge a version file by its user block and its size alone, before the rest is read. Raises SealError."""
    try:
        _check_length(header(start)[0], size)
    except RegistryError as error:
        raise SealError(str(error)) from error


def check(data: bytes) -> str:
    """The digest of a version file, after its content has proved to be what was sealed. HDF5 is not involved.

    Raises RegistryError for a file that is damaged, cut, longer than it was, or no version file.
    """
    length, digest = header(data)
    _check_length(length, len(data))
    if hashlib.sha256(memoryview(data)[BLOCK:]).hexdigest() != digest:
        raise RegistryError(f"its content does not have the sha256 {digest} that it was sealed with")
    return digest


def header(data: bytes) -> tuple[int, str]:
    """Length and sha256 of the payload, as the user block has them; `data` may be the user block alone."""
    git.check(data)
    starts_like_one = data[: len(MAGIC)] == MAGIC
    what = "" if starts_like_one or not data else foreign(data).removeprefix("this ")
    if len(data) < BLOCK and not what:
        raise RegistryError(f"it has {len(data)} bytes, less than the {BLOCK} of a user block")
    if not starts_like_one:
        raise RegistryError(f"it does not begin like a cnnkit model file{what and f': it {what}'}")
    _, version, length, digest = _HEADER.unpack_from(data)
    if version not in VERSIONS:
        raise RegistryError(
            f"it has format {version}, this cnnkit reads the formats {VERSION} and {GRAPH_VERSION}; a newer cnnkit may "
            "read it"
        )
    if any(data[_HEADER.size : BLOCK]):
        raise RegistryError("its user block has bytes other than zero where the format has none")
    return length, digest.hex()


def _check_length(length: int, size: int) -> None:
    if length != size - BLOCK:
        raise RegistryError(f"it should have {length + BLOCK:,} bytes and has {size:,}")


def version_of(data: bytes) -> int:
    """The format of a file whose header is right."""
    version: int = _HEADER.unpack_from(data)[1]
    return version


def _created(image: io.BytesIO) -> h5py.File:
    """An empty HDF5 file in memory; through the low level, for only there the times of groups can be left out."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V18, h5py.h5f.LIBVER_V18)
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, image)
    creation = _without_times(h5py.h5p.FILE_CREATE)
    creation.set_userblock(BLOCK)
    return h5py.File(h5py.h5f.create(b"version", h5py.h5f.ACC_TRUNC, creation, access))


def _without_times(kind: object) -> Any:
    """Properties for creating something whose bytes do not depend on when it is created."""
    properties = h5py.h5p.create(kind)
    properties.set_obj_track_times(False)
    return properties


def _block(payload: bytes | memoryview, version: int) -> bytes:
    return _HEADER.pack(MAGIC, version, len(payload), hashlib.sha256(payload).digest()).ljust(BLOCK, b"\0")


def _storable(name: str, array: Array) -> Array:
    if not STATE_NAME.fullmatch(name):
        raise RegistryError(
            f"an array in a model file is named like 'conv2d_1.weight', with letters, digits and '_'; got {name!r}"
        )
    if array.dtype.name not in DTYPES or array.ndim > MAX_AXES:
        raise RegistryError(
            f"{name} must be of one of the types {', '.join(DTYPES)} with at most {MAX_AXES} axes, "
            f"got {array.dtype} with {array.ndim}"
        )
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")
