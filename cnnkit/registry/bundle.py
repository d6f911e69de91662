"""Bundles: one zip file with a version's own file, its ONNX file and its model card. Nothing is compressed.

A bundle that is read may come from anybody: it is judged by its directory before any member is read, only the version
file is read, and nothing is ever extracted.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cnnkit import file_writing
from cnnkit.errors import RegistryError
from cnnkit.file_kinds import MODEL, POINTER, ZIP, foreign
from cnnkit.registry import commit
from cnnkit.registry.files import Files
from cnnkit.registry.format import git, sealing
from cnnkit.user_folders import expanded

if TYPE_CHECKING:
    from cnnkit.registry.records import Record

VERSION_FILE, ONNX_FILE, CARD, NETWORK, CURVES = MEMBERS = (
    "model.h5",
    "model.onnx",
    "card.md",
    "network.png",
    "curves.png",
)
"""What a bundle may hold, in this order; a reader needs the first alone."""
MAX_BUNDLE_BYTES = 2**31 - 1
"""A larger zip file needs extensions of the format, which a reader would have to understand, too."""
MAGIC = b"PK\x03\x04"
_TIME = (1980, 1, 1, 0, 0, 0)
_END = struct.Struct("<4s4H2LH")
"""Signature, this disk, the directory's disk, entries here and in all, the directory's bytes and offset, comment."""
_END_SIGNATURE, _END64_SIGNATURE = b"PK\x05\x06", b"PK\x06\x07"
_END64_BYTES = 20
_MAX_DIRECTORY = 64 * 1024
_ENCRYPTED = 0x1


def write_bundle(path: str | Path, record: Record, others: Mapping[str, bytes | Path]) -> Path:
    """Write a bundle, whole or not at all; a zip file of that name is replaced. Equal content gives equal bytes.

    others: the members beside the version's own file, in memory or in files. Raises RegistryError if it cannot be
    written, or is too large.
    """
    path = expanded(path)
    check_target(path)
    members = {VERSION_FILE: _version_file(record), **others}
    if (size := sum(map(_size, members.values()))) > MAX_BUNDLE_BYTES - _MAX_DIRECTORY:
        raise RegistryError(f"a bundle may have at most {MAX_BUNDLE_BYTES:,} bytes, this one would have {size:,}")
    image = io.BytesIO()
    try:
        with zipfile.ZipFile(image, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
            for name in MEMBERS:
                if name in members:
                    _add(archive, name, members.pop(name))  # which may be as large as the image
        commit.put(Files(), Path(os.path.realpath(path)), image.getbuffer())  # a link stays one
    except OSError as error:
        raise RegistryError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _size(member: bytes | Path) -> int:
    return member.stat().st_size if isinstance(member, Path) else len(member)


def _add(archive: zipfile.ZipFile, name: str, member: bytes | Path) -> None:
    entry = zipfile.ZipInfo(name, _TIME)
    entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
    entry.file_size = _size(member)
    with archive.open(entry, "w") as target, member.open("rb") if isinstance(member, Path) else io.BytesIO(member) as x:
        shutil.copyfileobj(x, target)


def check_target(path: str | Path) -> None:
    """Find out, before the work is done, that a bundle could not be written there. Raises RegistryError."""
    file_writing.check_target(Path(path), RegistryError, ZIP)


def provenance(record: Record) -> dict[str, str]:
    """Where an ONNX file comes from, for its metadata: reference, digest, recipe, dataset and its digest, metrics."""
    manifest = record.manifest
    entries = {"reference": record.version.ref, "digest": record.version.digest}
    if manifest.recipe:
        entries["recipe"] = json.dumps(manifest.recipe, ensure_ascii=False)
    if manifest.dataset:
        entries |= {"dataset": manifest.dataset["name"], "dataset_digest": manifest.dataset["digest"]}
    if manifest.metrics:
        entries["metrics"] = json.dumps(manifest.metrics)
    return entries


def read_version_file(path: str | Path) -> bytes:
    """The bytes of the version file at `path`, or of the one in the bundle at `path`; they are yet to be checked.

    Raises RegistryError for any other file, and for a bundle that does not look exactly as `write_bundle` makes it.
    """
    path = expanded(path)
    try:
        real = path.resolve()  # the user may name a link; nothing inside the file can
        end = Files().read_end(real, _END.size + _END64_BYTES)
        data = Files().read(
            real, sealing.MAX_MODEL_FILE_BYTES, check=lambda start, size: _check_start(path, start, end, size)
        )
    except (OSError, RuntimeError) as error:
        raise RegistryError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if data.startswith(sealing.MAGIC):
        return data
    try:
        return _member(data)
    except RegistryError as error:
        raise _unusable(path, error) from error


def _check_start(path: Path, start: bytes, end: bytes, size: int) -> None:
    """Judge a file by its start, its end and its size alone, before the rest is read."""
    what = foreign(start, ZIP, MODEL, POINTER) if start else ""
    if start.startswith(MAGIC) and not what:
        try:
            _check_end(end, size)
        except RegistryError as error:
            raise _unusable(path, error) from error
        return
    try:
        git.check(start)
    except RegistryError as error:
        raise RegistryError(f"{path} cannot be imported: {error}") from error
    if start.startswith(sealing.MAGIC):
        try:
            sealing.check_start(start, size)
        except RegistryError as error:
            raise RegistryError(f"{path} cannot be imported, it is damaged: {error}") from error
        return
    what = what or f"this begins with {start[:16]!r}"
    raise RegistryError(f"{path}: expected a version file (.h5) or a bundle (.zip) of cnnkit, {what}")


def _unusable(path: Path, why: object) -> RegistryError:
    return RegistryError(f"{path} is not a usable cnnkit bundle: {why}")


def _version_file(record: Record) -> bytes:
    """The bytes of a version, unless they are no longer those of the record."""
    version = record.version
    try:
        data = Files().read(version.path, sealing.MAX_MODEL_FILE_BYTES, check=sealing.check_start)
    except OSError as error:
        raise RegistryError(f"cannot read {version.ref}: {error.strerror or error} ({version.path})") from error
    if sealing.check(data) != version.digest:
        raise RegistryError(f"{version.ref} was deleted or replaced a moment ago: {version.path} has other content")
    return data


def _member(data: bytes) -> bytes:
    """The version file in a bundle."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            for entry in entries:
                _check_entry(entry, len(data))
            names = [entry.filename for entry in entries]
            if doubled := next((name for name in names if names.count(name) > 1), None):
                raise RegistryError(f"it has {doubled!r} more than once")
            if VERSION_FILE not in names:
                raise RegistryError(f"it has no {VERSION_FILE!r}, only {', '.join(map(repr, names)) or 'nothing'}")
            return archive.read(VERSION_FILE)
    except RegistryError:
        raise
    except Exception as error:  # the module's failures come as many types; each of them means that it is damaged
        raise RegistryError(f"it is damaged: {type(error).__name__}: {error}") from error


def _check_end(end: bytes, size: int) -> None:
    """Judge the size of the directory before the module reads it: a small file may declare millions of members."""
    if size > MAX_BUNDLE_BYTES:
        raise RegistryError(f"it has {size:,} bytes; a bundle has at most {MAX_BUNDLE_BYTES:,}")
    at = len(end) - _END.size
    if at < 0 or not end.startswith(_END_SIGNATURE, at):
        raise RegistryError("it is truncated, or has a comment or other bytes at its end")
    _, *disks, here, entries, directory, offset, _ = _END.unpack_from(end, at)
    if any(disks) or here != entries or not 0 < entries <= len(MEMBERS) or directory > _MAX_DIRECTORY:
        raise RegistryError(f"it must be one part with 1 to {len(MEMBERS)} members, it declares {entries:,}")
    if end.startswith(_END64_SIGNATURE) or offset + directory != size - _END.size:
        raise RegistryError("its directory is not where it should be, or needs the Zip64 extension")


def _check_entry(entry: zipfile.ZipInfo, most: int) -> None:
    name, kind = entry.orig_filename[:100], stat.S_IFMT(entry.external_attr >> 16)
    if entry.orig_filename not in MEMBERS:
        raise RegistryError(f"it has a member {name!r}; expected only {', '.join(MEMBERS)}")
    if kind not in (0, stat.S_IFREG):
        raise RegistryError(f"its member {name!r} must be a regular file; it is a link, a folder or a device")
    if entry.flag_bits & _ENCRYPTED:
        raise RegistryError(f"its member {name!r} is encrypted")
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        raise RegistryError(f"its member {name!r} is compressed; a bundle's members are stored as they are")
    if entry.file_size > most:
        raise RegistryError(f"its member {name!r} declares {entry.file_size:,} bytes, more than the bundle has")
