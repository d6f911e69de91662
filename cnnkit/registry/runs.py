"""Runs: trainings that have not ended, each with its latest checkpoint, in the folder `.runs` of a registry."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from cnnkit.errors import RegistryError
from cnnkit.registry import commit, references, safety, sealing, text
from cnnkit.registry.environment import deciding
from cnnkit.registry.files import Files
from cnnkit.registry.references import choices
from cnnkit.types import Array

FOLDER = ".runs"
CHECKPOINT = "checkpoint.h5"
HEAD = {"format": "cnnkit checkpoint", "format_version": 1}
LATEST = "latest"
PATIENCE = 2.0
"""Seconds that a run which another process still has is waited for: its workers end a moment after it was killed."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*-[0-9]{8}T[0-9]{6}-[0-9a-f]{4}")


class RunFolder:
    """The checkpoint of one training; fulfils what `Checkpoints` asks of a store.

    Whoever reads or writes it holds its lock, until `release` or the end of a `with`: nobody else trains it on.
    """

    def __init__(self, files: Files, folder: Path) -> None:
        self.folder = folder
        self._files = files
        self._lock: int | None = None

    @property
    def name(self) -> str:
        """Such as `digits-20260301T120000-a1b2`."""
        return self.folder.name

    def save(self, record: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        """Replace the checkpoint; the one before is kept until this one is safe. Raises RegistryError or OSError."""
        content = text.encode({**HEAD, "environment": deciding(), **record}, "checkpoint")
        data = sealing.pack(content, arrays)
        try:
            self._put(data)
        except FileNotFoundError:  # a training that began has taken the folder, still empty, for what a dead one left
            self._put(data)

    def _put(self, data: memoryview) -> None:
        self._files.make_folder(self.folder)
        self._claim()
        commit.put(self._files, self.folder / CHECKPOINT, data)

    def load(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """The latest checkpoint. Raises RegistryError if there is none, if it is damaged, or in use."""
        path = self.folder / CHECKPOINT
        try:
            self._claim()
            data = self._files.read(path, sealing.MAX_BYTES)
        except FileNotFoundError:
            raise RegistryError(f"the run {self.name} has no checkpoint: it ended, or was stopped too early") from None
        except OSError as error:
            raise RegistryError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
        try:
            sealing.check(data)
            content, arrays = safety.read_arrays(data)
            record = text.decode(content)
            if not isinstance(record, dict) or [record.get(key) for key in HEAD] != list(HEAD.values()):
                raise RegistryError(f"expected {HEAD}")
        except RegistryError as error:
            raise RegistryError(
                f"the checkpoint {path} cannot be used: {error}; to forget the run, remove the folder {self.folder}"
            ) from error
        return record, arrays

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def remove(self) -> None:
        """Forget the run: its model is registered. What cannot be removed stays."""
        with contextlib.suppress(OSError):
            for name in self._files.names(self.folder):
                self._files.remove(self.folder / name)
            self._files.remove_folder(self.folder)
        self.release()

    def has_checkpoint(self) -> bool:
        """Whether there is something to go on from."""
        return bool(self._files.size(self.folder / CHECKPOINT))

    def is_free(self) -> bool:
        """Take the run if no process has it; whether that worked."""
        try:
            self._claim(0.0)
        except (OSError, RegistryError):
            return False
        return True

    def release(self) -> None:
        """Let others have it."""
        if self._lock is not None:
            _held.discard(self._lock)
            os.close(self._lock)
            self._lock = None

    def _claim(self, patience: float | None = None) -> None:
        if self._lock is not None:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._lock), os.lstat(self.folder)):
                    return
            self.release()  # somebody has removed the folder; there may be another one by now
        lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        until = time.monotonic() + (PATIENCE if patience is None else patience)
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    os.close(lock)
                    raise RegistryError(f"the run {self.name} is being trained by another process") from None
                time.sleep(0.02)
            except OSError:  # a file system without locks
                break
        self._lock = lock
        _held.add(lock)
        for name in filter(commit.TEMPORARY.fullmatch, self._files.names(self.folder)):
            with contextlib.suppress(OSError):
                self._files.remove_unused(self.folder / name)


_held: set[int] = set()
"""The locks of this process."""


def _leave_to_parent() -> None:
    """A forked worker that outlives its parent must not keep the run from whoever goes on with it."""
    for lock in _held:
        os.close(lock)
    _held.clear()


os.register_at_fork(after_in_child=_leave_to_parent)


class Runs:
    """The runs of a registry."""

    def __init__(self, registry: Path, files: Files | None = None) -> None:
        self.folder = registry / FOLDER
        self._files = files or Files()

    def new(self, model: str) -> RunFolder:
        """A run that nothing is written for yet; what is left of runs that were killed before that is removed."""
        references.check_name(model)
        for run in map(self._run, self._folders()):
            if not run.has_checkpoint() and run.is_free():
                run.remove()
        now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")
        return RunFolder(self._files, self.folder / f"{model}-{now}-{secrets.token_hex(2)}")

    def names(self) -> list[str]:
        """The runs that have a checkpoint, the one written last at the end."""
        written = []
        for name in self._folders():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                written.append(((self.folder / name / CHECKPOINT).lstat().st_mtime_ns, name))
        return [name for _, name in sorted(written)]

    def find(self, name: str) -> RunFolder:
        """A run by its name; `latest`: of those that nobody trains, the one written last. Raises RegistryError."""
        names = self.names()
        if name == LATEST and names:
            free = (run for run in map(self._run, reversed(names)) if run.is_free())
            return next(free, self._run(names[-1]))
        if name not in names:
            hint = choices(name, names, "a training leaves one when it is interrupted, or after its first checkpoint")
            raise RegistryError(f"there is no interrupted run {name!r} in {self.folder.parent}: {hint}")
        return self._run(name)

    def _run(self, name: str) -> RunFolder:
        return RunFolder(self._files, self.folder / name)

    def _folders(self) -> list[str]:
        try:
            return [name for name in self._files.names(self.folder) if _NAME.fullmatch(name)]
        except (FileNotFoundError, NotADirectoryError):
            return []
