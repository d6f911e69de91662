"""Places: folders of work that has not ended, below a hidden folder of a registry; one process at a time has one."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import re
import secrets
import stat
import time
from pathlib import Path
from typing import Generic, Self, TypeVar

from cnnkit.errors import RegistryError
from cnnkit.registry import commit, references
from cnnkit.registry.files import Files
from cnnkit.registry.references import choices
from cnnkit.user_folders import expanded

LATEST = "latest"
PATIENCE = 2.0
"""Seconds that a place which another process still has is waited for: its workers end a moment after it was killed."""
SWEEPS = 20
"""How often others may take a new folder away, before it is somebody else's fault: many may begin at once."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*-[0-9]{8}T[0-9]{6}-[0-9a-f]{4}")


class Place:
    """The folder of one piece of work.

    Whoever reads or writes it holds its lock, until `release` or the end of a `with`: nobody else continues it.
    """

    FILE = ""
    """The file without which there is nothing to continue from."""
    NOUN = ""
    BUSY = ""
    """What another process does that has it."""

    def __init__(self, files: Files, folder: Path) -> None:
        self.folder = folder
        self._files = files
        self._lock: int | None = None

    @property
    def name(self) -> str:
        """Such as `digits-20260301T120000-a1b2`."""
        return self.folder.name

    def put(self, name: str, data: bytes | memoryview) -> None:
        """Replace a file in one step; the one before is kept until that. Raises RegistryError or OSError."""
        for _ in range(SWEEPS):
            # Somebody who begins may take the folder, while it is empty, for what a dead one left.
            with contextlib.suppress(FileNotFoundError):
                self._put(name, data)
                return
        self._put(name, data)

    def _put(self, name: str, data: bytes | memoryview) -> None:
        commit.begin(self._files, self.folder.parents[1])
        self._files.make_folder(self.folder)
        with self._files.hold(self.folder):
            self._claim()
            commit.put(self._files, self.folder / name, data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def remove(self) -> None:
        """Forget it: what it led to is registered. What cannot be removed stays until the next `new`."""
        with contextlib.suppress(OSError, RegistryError), self._files.hold(self.folder):
            with contextlib.suppress(FileNotFoundError):
                self._files.remove(self.folder / self.FILE)  # first: nobody continues with half of the rest
                self._files.sync_folder(self.folder)
            for name in self._files.names(self.folder):
                self._files.remove(self.folder / name)
            self._files.remove_folder(self.folder)
        self.release()

    def has_begun(self) -> bool:
        """Whether there is something to continue from."""
        return bool(self._files.size(self.folder / self.FILE))

    def is_free(self) -> bool:
        """Take it if no process has it; whether that worked."""
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
                    raise RegistryError(
                        f"the {self.NOUN} {self.name} is being {self.BUSY} by another process"
                    ) from None
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
    """A forked worker that outlives its parent must not block the process that continues it."""
    for lock in _held:
        os.close(lock)
    _held.clear()


os.register_at_fork(after_in_child=_leave_to_parent)

P = TypeVar("P", bound=Place)


class Places(Generic[P]):
    """All of one kind in a registry."""

    FOLDER = ""
    PLACE: type[P]
    WANTED, ORIGIN = "", ""
    """What is looked for by name, and where such a thing comes from, as text."""

    def __init__(self, registry: Path, files: Files | None = None) -> None:
        self.folder = expanded(registry) / self.FOLDER
        self._files = files or Files()

    def new(self, model: str) -> P:
        """One that nothing is written for yet; what is left of those that were killed before that is removed."""
        references.check_name(model)
        for place in map(self._place, self._folders()):
            with contextlib.suppress(RegistryError):  # a folder or a link in the place of the file: left alone
                if not place.has_begun() and place.is_free():
                    place.remove()
        now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")
        return self._place(f"{model}-{now}-{secrets.token_hex(2)}")

    def names(self) -> list[str]:
        """Those that have begun, the one written last at the end."""
        written = []
        for name in self._folders():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                status = (self.folder / name / self.PLACE.FILE).lstat()
                if stat.S_ISREG(status.st_mode):
                    written.append((status.st_mtime_ns, name))
        return [name for _, name in sorted(written)]

    def find(self, name: str) -> P:
        """One by its name; `latest`: of those that nobody has, the one written last. Raises RegistryError."""
        names = self.names()
        if name == LATEST and names:
            free = (place for place in map(self._place, reversed(names)) if place.is_free())
            return next(free, self._place(names[-1]))
        if name not in names:
            hint = choices(name, names, self.ORIGIN)
            raise RegistryError(f"there is no {self.WANTED} {name!r} in {self.folder.parent}: {hint}")
        return self._place(name)

    def _place(self, name: str) -> P:
        return self.PLACE(self._files, self.folder / name)

    def _folders(self) -> list[str]:
        try:
            return [name for name in self._files.names(self.folder) if _NAME.fullmatch(name)]
        except (FileNotFoundError, NotADirectoryError):
            return []
