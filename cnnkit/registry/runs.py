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
from cnnkit.registry.environment import environment
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
        content = text.encode({**HEAD, "environment": environment(), **record}, "checkpoint")
        data = sealing.pack(content, arrays)
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
            raise RegistryError(f"the checkpoint {path} cannot be used: {error}") from error
        return record, arrays

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def remove(self) -> None:
        """Forget the run: its model is registered."""
        with contextlib.suppress(FileNotFoundError):
            for name in self._files.names(self.folder):
                self._files.remove(self.folder / name)
            self._files.remove_folder(self.folder)
        self.release()

    def release(self) -> None:
        """Let others have it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _claim(self) -> None:
        if self._lock is not None:
            return
        lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        until = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    os.close(lock)
                    raise RegistryError(f"the run {self.name} is being trained by another process") from None
                time.sleep(0.02)
            except OSError:  # a file system without locks
                break
        self._lock = lock
        for name in filter(commit.TEMPORARY.fullmatch, self._files.names(self.folder)):
            with contextlib.suppress(OSError):
                self._files.remove_unused(self.folder / name)


class Runs:
    """The runs of a registry."""

    def __init__(self, registry: Path, files: Files | None = None) -> None:
        self.folder = registry / FOLDER
        self._files = files or Files()

    def new(self, model: str) -> RunFolder:
        """A run that nothing is written for yet."""
        references.check_name(model)
        now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")
        return RunFolder(self._files, self.folder / f"{model}-{now}-{secrets.token_hex(2)}")

    def names(self) -> list[str]:
        """The runs that have a checkpoint, the one written last at the end."""
        try:
            names = [name for name in self._files.names(self.folder) if _NAME.fullmatch(name)]
        except FileNotFoundError:
            return []
        paths = [path for name in names if (path := self.folder / name / CHECKPOINT).is_file()]
        return [path.parent.name for path in sorted(paths, key=lambda path: path.lstat().st_mtime_ns)]

    def find(self, name: str) -> RunFolder:
        """A run by its name; `latest` is the one whose checkpoint was written last. Raises RegistryError."""
        names = self.names()
        wanted = names[-1] if name == LATEST and names else name
        if wanted not in names:
            raise RegistryError(
                f"there is no interrupted run {name!r} in {self.folder.parent}: {choices(name, names, 'there is none')}"
            )
        return RunFolder(self._files, self.folder / wanted)
