"""Whether a model could be registered, found out before it is trained; nothing is written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from cnnkit.errors import RegistryError
from cnnkit.registry import commit, digest_log, references
from cnnkit.registry.files import Files

MARGIN = 1 << 20
"""Bytes beside the arrays: manifest, log, and the file system's own."""
RUNS = ".runs"
"""The folder of checkpoints."""


def check(files: Files, registry: Path, name: str, nbytes: int) -> None:
    """Try whatever a save will need. Raises RegistryError saying what is in the way.

    nbytes: of the arrays of the version.
    """
    references.check_name(name)
    with _told(registry, name):
        folder = registry.absolute() / name
        existing = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
        if existing == folder and not files.is_folder(folder):
            raise RegistryError(f"{folder} must be a folder; it is a link or a file")
        _check_access(existing, os.R_OK if existing == folder else 0)
        if os.path.lexists(registry / RUNS):
            _check_access(registry / RUNS, os.R_OK)
        if existing == folder:
            with files.hold(folder):
                _check_log(files, folder)
        _check_space(existing, nbytes + MARGIN)


@contextlib.contextmanager
def _told(registry: Path, name: str) -> Iterator[None]:
    try:
        yield
    except (RegistryError, OSError) as error:
        why = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        raise RegistryError(
            f"the registry at {registry} cannot store the model {name!r}: {why}; choose another registry with "
            "--registry or CNNKIT_REGISTRY"
        ) from error


def _check_access(folder: Path, also: int) -> None:
    if not (os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK | also)):
        raise RegistryError(f"{folder} is not a folder that can be written to")


def _check_log(files: Files, folder: Path) -> None:
    """The log must be there if there are versions, be readable and writable, and leave a number."""
    if not commit.has_log(files, folder):
        return
    files.close(files.open_end(folder / digest_log.LOG))
    digest_log.read(files, folder)
    commit.next_number(files, folder)


def _check_space(folder: Path, nbytes: int) -> None:
    room = os.statvfs(folder)
    if (free := room.f_bavail * room.f_frsize) < nbytes:
        raise RegistryError(f"{folder} has {free:,} bytes left, a version of this model takes up to {nbytes:,}")
    if room.f_files and not room.f_favail:  # file systems without a fixed number of files tell of none
        raise RegistryError(f"the file system of {folder} has no room for more files")
