"""The closed-world reading of HDF5: what is not expected is refused before it is opened, decoded or allocated.

The expected world is the dataset `manifest` and the group `state` with one dataset for each array, and nothing else:
no attributes, no links but hard ones, no filters, no storage outside the file, no types but four.
"""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass

import h5py
import numpy as np

from cnnkit.errors import RegistryError
from cnnkit.types import Array

MANIFEST = "manifest"
STATE = "state"
MAX_ARRAYS = 10_000
MAX_AXES = 8
STATE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}\.[A-Za-z_][A-Za-z0-9_]{0,99}")
"""`conv2d_1.weight`: a node's name and a parameter's."""
DTYPES = {
    "uint8": h5py.h5t.STD_U8LE,
    "int64": h5py.h5t.STD_I64LE,
    "float32": h5py.h5t.IEEE_F32LE,
    "float64": h5py.h5t.IEEE_F64LE,
}
_START = 512
"""Where the superblock begins: after the user block."""
_SIZE_OF_ADDRESSES, _END_OF_FILE = {0: 13, 2: 9, 3: 9}, {0: 40, 2: 28, 3: 28}
"""Where a superblock of each version has these fields; HDF5 File Format Specification 3.0, section II.A."""
_LAYOUTS = (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS)


@dataclass
class _Budget:
    """Bytes that the arrays may still have together; no more than the file, whatever it declares."""

    left: int

    def take(self, name: str, nbytes: int) -> None:
        if nbytes > self.left:
            raise RegistryError(f"{name!r} declares {nbytes:,} bytes, more than the file has left for it")
        self.left -= nbytes


def read_arrays(data: bytes) -> tuple[bytes, dict[str, Array]]:
    """The manifest's text, and the arrays by name, of an HDF5 file in memory.

    Raises RegistryError for whatever the format does not allow, and for everything that HDF5 cannot read.
    """
    try:
        with h5py.File(io.BytesIO(data), "r", locking=False) as file:
            _check_end(data, file.userblock_size)
            return _walk(h5py.h5g.open(file.id, b"/"), data, _Budget(len(data)))
    except RegistryError:
        raise
    except Exception as error:  # HDF5's failures come as many types; each of them means that the file is damaged
        raise RegistryError(f"HDF5 cannot read it: {type(error).__name__}: {error}") from error


def _check_end(data: bytes, start: int) -> None:
    """Refuse bytes outside what the superblock declares: HDF5 ignores them, whatever they are."""
    version = data[start + 8]
    if start != _START or version not in _END_OF_FILE or data[start + _SIZE_OF_ADDRESSES[version]] != 8:
        raise RegistryError(f"its superblock must have version 0, 2 or 3, 8-byte addresses, and begin at byte {_START}")
    at = start + _END_OF_FILE[version]
    end = int.from_bytes(data[at : at + 8], "little")
    if end != len(data):
        raise RegistryError(f"its HDF5 ends after {end:,} bytes, the file has {len(data):,}")


def _walk(root: h5py.h5g.GroupID, data: bytes, budget: _Budget) -> tuple[bytes, dict[str, Array]]:
    members = _names(root, 2)
    if sorted(members) != [MANIFEST, STATE]:
        raise RegistryError(f"its root must hold {MANIFEST!r} and {STATE!r}, it holds {members}")
    _check_object(root, ".", h5py.h5o.TYPE_GROUP)
    _check_object(root, STATE, h5py.h5o.TYPE_GROUP)
    manifest = _read(root, MANIFEST, data, budget)
    if manifest.dtype != np.uint8 or manifest.ndim != 1:
        raise RegistryError(f"{MANIFEST!r} must be a vector of bytes, got {manifest.dtype} {manifest.shape}")
    group = h5py.h5g.open(root, STATE.encode())
    arrays = {}
    for name in _names(group, MAX_ARRAYS):
        if not STATE_NAME.fullmatch(name):
            raise RegistryError(f"{name[:100]!r} is not a valid array name; expected one such as 'conv2d_1.weight'")
        arrays[name] = _read(group, name, data, budget)
    return manifest.tobytes(), arrays


def _names(group: h5py.h5g.GroupID, most: int) -> list[str]:
    """The names of all links; refuses a link that is not hard without following it."""
    found: list[tuple[bytes, int]] = []

    def collect(name: bytes, info: h5py.h5l.LinkInfo) -> bool | None:
        found.append((name, info.type))
        return True if len(found) > most else None

    group.links.iterate(collect, info=True)
    if len(found) > most:
        raise RegistryError(f"it has more than {most:,} members in one group")
    for name, kind in found:
        if kind != h5py.h5l.TYPE_HARD:
            raise RegistryError(f"{name[:100]!r} is a soft or external link; only hard links are allowed")
        if not name.isascii():
            raise RegistryError(f"{name[:100]!r} is not a valid array name; expected one such as 'conv2d_1.weight'")
    return [name.decode() for name, _ in found]


def _check_object(group: h5py.h5g.GroupID, name: str, kind: int) -> None:
    info = h5py.h5o.get_info(group, name.encode())
    if info.type != kind:
        raise RegistryError(f"{name!r} is not the kind of object that is expected there")
    if info.rc != 1:
        raise RegistryError(f"{name!r} has {info.rc} names; an object may have one")
    if info.num_attrs:
        raise RegistryError(f"{name!r} has {info.num_attrs} attributes; none are allowed")


def _read(group: h5py.h5g.GroupID, name: str, data: bytes, budget: _Budget) -> Array:
    """The values of a dataset, read-only, once everything about it is known to be allowed."""
    _check_object(group, name, h5py.h5o.TYPE_DATASET)
    dataset = h5py.h5d.open(group, name.encode())
    created = dataset.get_create_plist()
    if created.get_layout() not in _LAYOUTS:
        raise RegistryError(f"{name!r} is chunked or virtual; only contiguous or compact data is allowed")
    if created.get_nfilters() or created.get_external_count():
        raise RegistryError(f"{name!r} has filters or storage outside the file; neither is allowed")
    datatype = dataset.get_type()
    dtype = next((known for known, expected in DTYPES.items() if datatype.equal(expected)), None)
    if dtype is None or datatype.committed():
        raise RegistryError(f"{name!r} must be of one of the types {', '.join(DTYPES)}, little-endian")
    space = dataset.get_space()
    if space.get_simple_extent_type() not in (h5py.h5s.SIMPLE, h5py.h5s.SCALAR):
        raise RegistryError(f"{name!r} has no extent")
    shape = space.get_simple_extent_dims()
    if len(shape) > MAX_AXES or space.get_simple_extent_dims(True) != shape:
        raise RegistryError(f"{name!r} must have a fixed shape of at most {MAX_AXES} axes, got {shape}")
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    if dataset.get_storage_size() != nbytes:
        raise RegistryError(f"{name!r} declares {nbytes:,} bytes and stores {dataset.get_storage_size():,}")
    budget.take(name, nbytes)
    stored = np.dtype(dtype).newbyteorder("<")
    if nbytes and created.get_layout() == h5py.h5d.CONTIGUOUS:
        return _view(name, data, dataset.get_offset(), nbytes).view(stored).reshape(shape)
    array = np.empty(shape, stored)
    if nbytes:
        dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, array)
    array.flags.writeable = False
    return array


def _view(name: str, data: bytes, offset: int | None, nbytes: int) -> Array:
    """The bytes of an array where they lie in the file: a copy would take its memory a second time."""
    if offset is None or not _START <= offset <= len(data) - nbytes:
        raise RegistryError(f"{name!r} has {nbytes:,} bytes at {offset}, outside the file's {len(data):,}")
    return np.frombuffer(data, np.uint8, nbytes, offset)
