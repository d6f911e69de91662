"""Every file operation of the registry, in one class, so that a test can make each of them fail.

A folder that is held is reached through its descriptor: whatever takes its name meanwhile, a link above all, receives
nothing.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path

from cnnkit import caller_warnings
from cnnkit.errors import CnnkitWarning, RegistryError

TOLD, PATIENCE = 2.0, 30.0
"""Seconds after which a wait for a lock is reported, and after which it ends with an error."""
_PAUSE = 0.02
"""Seconds between two attempts to take a lock."""

START = 512
"""Bytes by which a file is judged before it is read."""

NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""What `link` answers on file systems without hard links."""

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system answers where there is no room."""

_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What `fsync` of a folder answers on file systems that have no such thing."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # O_NONBLOCK: opening a named pipe must not wait forever

_held: ContextVar[Mapping[Path, int]] = ContextVar("held", default={})  # noqa: B039  # nobody changes it in place
"""The descriptors of the folders that this thread holds."""

_umask = threading.Lock()
"""The umask belongs to the whole process, and can only be read by setting it."""
os.register_at_fork(before=_umask.acquire, after_in_parent=_umask.release, after_in_child=_umask.release)


class Files:
    """The operating system's files; a symbolic link is never followed. Every method raises OSError as it is added."""

    @contextlib.contextmanager
    def hold(self, folder: Path) -> Iterator[None]:
        """Until the end, paths in this folder mean what is in it now, even if something else takes its name.

        Raises RegistryError if it is a link or a file.
        """
        if folder in _held.get():
            yield
            return
        try:
            file = os.open(folder, _FOLDER | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR) and os.path.lexists(folder):
                raise RegistryError(
                    f"{folder} must be a folder; it is a link or a file, which is never followed"
                ) from None
            raise
        before = _held.set({**_held.get(), folder: file})
        try:
            yield
        finally:
            _held.reset(before)
            os.close(file)

    def check_name(self, folder: Path) -> None:
        """Find out whether a folder that is held still has its name. Raises RegistryError if it has not."""
        try:
            same = os.path.samestat(os.fstat(_held.get()[folder]), os.lstat(folder))
        except FileNotFoundError:
            same = False
        if not same:
            raise RegistryError(
                f"{folder} was moved or replaced meanwhile: what was written is in the folder that had this name before"
            )

    def create(self, path: Path) -> int:
        """Open a new file that only its owner can read, and hold its lock until `close` or the end of the process."""
        while True:
            file = self._open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with contextlib.suppress(OSError):  # a file system without locks: `remove_unused` cannot lock it either
                fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file).st_nlink:
                return file
            os.close(file)  # `remove_unused` took it for dead between the two calls above

    def write(self, file: int, data: bytes | memoryview) -> None:
        """Write all of `data`."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]

    def share(self, file: int, folder: Path) -> None:
        """Let everyone use the file who may use what is new in its folder."""
        with _new_in(folder) as (mode, mask):
            os.fchmod(file, mode & ~mask)

    def sync(self, file: int) -> None:
        """Wait until the file's content is on the disk."""
        os.fsync(file)

    def close(self, file: int) -> None:
        """Close the file and give up its lock."""
        os.close(file)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name. Raises FileExistsError if `target` exists."""
        name, folder = _at(source)
        other, other_folder = _at(target)
        os.link(name, other, src_dir_fd=folder, dst_dir_fd=other_folder, follow_symlinks=False)

    def is_same(self, one: Path, other: Path) -> bool:
        """Whether two names are of one file; a symbolic link is a separate file."""
        return os.path.samestat(_status(one), _status(other))

    def claim(self, path: Path) -> None:
        """Create an empty file. Raises FileExistsError if `path` exists."""
        with _new_in(path.parent) as (mode, _):
            os.close(self._open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))

    def replace(self, source: Path, target: Path) -> None:
        """Rename a file over whatever `target` was, in one step."""
        name, folder = _at(source)
        other, other_folder = _at(target)
        os.replace(name, other, src_dir_fd=folder, dst_dir_fd=other_folder)

    def append(self, path: Path, line: bytes) -> None:
        """Add a line to the end of a file, which is created if need be, and wait until it is on the disk."""
        file = self.open_end(path)
        try:
            self.write(file, line)
            self.sync(file)
        finally:
            self.close(file)

    def open_end(self, path: Path) -> int:
        """Open a file to write at its end; it is created if need be."""
        with _new_in(path.parent) as (mode, _):
            return self._open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, mode)

    def make_folder(self, path: Path) -> None:
        """Create a folder, and those above it, durably, unless it is there."""
        if os.path.lexists(path):
            return
        self.make_folder(path.parent)
        with contextlib.suppress(FileExistsError):  # another writer was faster
            self.add_folder(path)
        self.sync_folder(path.parent)

    def add_folder(self, path: Path) -> None:
        """Create one folder. Raises FileExistsError if `path` exists."""
        with _new_in(path.parent):
            path.mkdir()

    def sync_folder(self, path: Path) -> None:
        """Wait until the names in a folder are on the disk, where the file system lets anyone wait for that."""
        file = _open_folder(path)
        try:
            os.fsync(file)
        except OSError as error:
            if error.errno not in _NO_FOLDER_SYNC:
                raise
        finally:
            os.close(file)

    def lock(self, folder: Path) -> int:
        """Hold a folder's lock until `close` or the end of the process; wait for whoever has it.

        A warning reports a wait after `TOLD` seconds. Raises RegistryError after `PATIENCE` seconds: whoever may
        read a folder can lock it.
        """
        file = _open_folder(folder)
        began, told = time.monotonic(), False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waited = time.monotonic() - began
                if waited > PATIENCE:
                    os.close(file)
                    raise RegistryError(
                        f"another process has held the lock of {folder} for {PATIENCE:g} seconds: nothing was "
                        f"changed; try again when it has finished (`lsof {folder}` shows who it is)"
                    ) from None
                if waited > TOLD and not told:
                    told = True
                    caller_warnings.warn(f"waiting for another process that holds the lock of {folder}", CnnkitWarning)
                time.sleep(_PAUSE)
            except OSError:  # a file system without locks: changes at once may undo each other
                return file
            else:
                return file

    def names(self, folder: Path) -> list[str]:
        """The names in a folder, in no order."""
        return os.listdir(_held.get().get(folder, folder))

    def size(self, path: Path) -> int | None:
        """Bytes of a regular file, None if nothing has this name. Raises RegistryError for anything else."""
        try:
            status = _status(path)
        except FileNotFoundError:
            return None
        return _regular(path, status)

    def is_open(self, path: Path) -> bool:
        """Whether this user may read a file."""
        name, folder = _at(path)
        return os.access(name, os.R_OK, dir_fd=folder)

    def is_folder(self, path: Path) -> bool:
        """Whether there is a folder of this name, not a link to one."""
        try:
            return stat.S_ISDIR(os.lstat(path).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def read(
        self, path: Path, most: int, *, whole: bool = True, check: Callable[[bytes, int], None] | None = None
    ) -> bytes:
        """The content of a regular file, or its first `most` bytes if not `whole`.

        check: judges the first `START` bytes and the size of the file, and raises what it wants, before the rest is
        read. Raises RegistryError if the file is larger than `most` and wanted whole, or is not a regular file.
        """
        try:
            file = self._open(path, os.O_RDONLY)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _not_regular(path) from None
            raise
        try:
            size = _regular(path, os.fstat(file))
            if whole and size > most:
                raise RegistryError(f"{path} has {size:,} bytes; at most {most:,} are read")
            if check:
                check(os.pread(file, START, 0), size)
            with open(file, "rb", closefd=False) as stream:  # which reads more than 2 GiB without joining parts
                return stream.read(min(most, size))
        finally:
            os.close(file)

    def read_end(self, path: Path, most: int) -> bytes:
        """The last `most` bytes of a regular file, or all if it has less. Raises RegistryError for anything else."""
        file = self._open(path, os.O_RDONLY)
        try:
            return os.pread(file, most, max(0, _regular(path, os.fstat(file)) - most))
        finally:
            os.close(file)

    def remove(self, path: Path) -> None:
        """Delete a file."""
        name, folder = _at(path)
        os.unlink(name, dir_fd=folder)

    def remove_folder(self, path: Path) -> None:
        """Delete an empty folder."""
        os.rmdir(path)

    def is_unused(self, path: Path) -> bool:
        """Whether no living process holds the lock of a file that `create` made."""
        return self._unlocked(path, lambda: None)

    def remove_unused(self, path: Path) -> bool:
        """Delete a file that `create` made, unless a living process still holds its lock; say whether it is gone."""
        return self._unlocked(path, lambda: Files.remove(self, path))

    def _open(self, path: Path, flags: int, mode: int = 0) -> int:
        name, folder = _at(path)
        return os.open(name, flags | _SAFE, mode, dir_fd=folder)

    def _unlocked(self, path: Path, action: Callable[[], None]) -> bool:
        file = self._open(path, os.O_RDONLY)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            action()
        except BlockingIOError:
            return False
        finally:
            os.close(file)
        return True


def _at(path: Path) -> tuple[str | Path, int | None]:
    """How the operating system is asked for a path: by its name in a folder that is held, else by the whole."""
    held = _held.get()
    folder = held.get(path.parent) if held else None
    return (path, None) if folder is None else (path.name, folder)


def _status(path: Path) -> os.stat_result:
    name, folder = _at(path)
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


def _open_folder(path: Path) -> int:
    """A separate descriptor, with its own position and lock."""
    return os.open(".", _FOLDER, dir_fd=_held.get()[path]) if path in _held.get() else os.open(path, _FOLDER)


@contextlib.contextmanager
def _new_in(folder: Path) -> Iterator[tuple[int, int]]:
    """The mode of a new file in a folder, and the umask that holds for it and is in force until the end.

    In a folder that its group may write to, and whose group new files get, the group may do with them what it may do
    with the folder, whatever the umask of the user: otherwise nobody could continue what another has started.
    """
    above = os.stat(_held.get().get(folder, folder))
    inherits = above.st_mode & stat.S_ISGID or above.st_gid == os.getegid() or sys.platform == "darwin"
    shared = bool(above.st_mode & stat.S_IWGRP and inherits)
    with _umask:
        before = os.umask(0o077)
        mask = before & ~0o070 | 0o002 if shared else before
        os.umask(mask)
        try:
            yield 0o664 if shared else 0o644, mask
        finally:
            os.umask(before)


def _regular(path: Path, status: os.stat_result) -> int:
    if not stat.S_ISREG(status.st_mode):
        raise _not_regular(path)
    return status.st_size


def _not_regular(path: Path) -> RegistryError:
    return RegistryError(f"{path} must be a regular file; it is a link, a folder or a device, which is never followed")


@contextlib.contextmanager
def reported(action: str) -> Iterator[None]:
    """Turn what the operating system refuses into one line for the user."""
    try:
        yield
    except OSError as error:
        path = error.filename2 or error.filename  # the name that a file was to get; an open file has none
        where = f" ({path})" if isinstance(path, str) else ""
        raise RegistryError(f"{action}: {error.strerror or error}{where}") from error
