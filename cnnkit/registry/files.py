"""Every file operation of the registry, in one class, so that a test can make each of them fail."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path

from cnnkit.errors import RegistryError

NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""What `link` answers on file systems without hard links."""

_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What `fsync` of a folder answers on file systems that have no such thing."""

_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # O_NONBLOCK: opening a named pipe must not wait for ever


class Files:
    """The operating system's files; a symbolic link is never followed. Every method raises OSError as it comes."""

    def create(self, path: Path) -> int:
        """Open a new file that only its owner can read, and hold its lock until `close` or the end of the process."""
        while True:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o600)
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

    def share(self, file: int) -> None:
        """Let everyone read the file whom the umask lets."""
        mask = os.umask(0o077)  # the umask can only be read by setting it; a strict one is safe in between
        os.umask(mask)
        os.fchmod(file, 0o644 & ~mask)

    def sync(self, file: int) -> None:
        """Wait until the file's content is on the disk."""
        os.fsync(file)

    def close(self, file: int) -> None:
        """Close the file and give up its lock."""
        os.close(file)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name. Raises FileExistsError if `target` exists."""
        os.link(source, target)

    def is_same(self, one: Path, other: Path) -> bool:
        """Whether two names are of one file; a symbolic link is a file of its own."""
        return os.path.samestat(os.lstat(one), os.lstat(other))

    def claim(self, path: Path) -> None:
        """Create an empty file. Raises FileExistsError if `path` exists."""
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o644))

    def replace(self, source: Path, target: Path) -> None:
        """Rename a file over whatever `target` was, in one step."""
        os.replace(source, target)

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
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _SAFE, 0o644)

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
        path.mkdir()

    def sync_folder(self, path: Path) -> None:
        """Wait until the names in a folder are on the disk, where the file system lets anyone wait for that."""
        file = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(file)
        except OSError as error:
            if error.errno not in _NO_FOLDER_SYNC:
                raise
        finally:
            os.close(file)

    def lock(self, folder: Path) -> int:
        """Hold a folder's lock until `close` or the end of the process; wait for whoever has it."""
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # a file system without locks: changes at once may undo each other
            fcntl.flock(file, fcntl.LOCK_EX)
        return file

    def names(self, folder: Path) -> list[str]:
        """The names in a folder, in no order."""
        return os.listdir(folder)

    def size(self, path: Path) -> int | None:
        """Bytes of a regular file, None if nothing has this name. Raises RegistryError for anything else."""
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return None
        return _regular(path, status)

    def is_folder(self, path: Path) -> bool:
        """Whether there is a folder of this name, not a link to one."""
        try:
            return stat.S_ISDIR(os.lstat(path).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def read(self, path: Path, most: int, *, whole: bool = True) -> bytes:
        """The content of a regular file, or its first `most` bytes if not `whole`.

        Raises RegistryError if the file is larger than `most` and wanted whole, or is not a regular file.
        """
        try:
            file = os.open(path, os.O_RDONLY | _SAFE)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _not_regular(path) from None
            raise
        try:
            size = _regular(path, os.fstat(file))
            if whole and size > most:
                raise RegistryError(f"{path} has {size:,} bytes; at most {most:,} are read")
            with open(file, "rb", closefd=False) as stream:  # which reads more than 2 GiB without joining parts
                return stream.read(min(most, size))
        finally:
            os.close(file)

    def read_end(self, path: Path, most: int) -> bytes:
        """The last `most` bytes of a regular file, or all if it has less. Raises RegistryError for anything else."""
        file = os.open(path, os.O_RDONLY | _SAFE)
        try:
            return os.pread(file, most, max(0, _regular(path, os.fstat(file)) - most))
        finally:
            os.close(file)

    def remove(self, path: Path) -> None:
        """Delete a file."""
        os.unlink(path)

    def remove_folder(self, path: Path) -> None:
        """Delete an empty folder."""
        os.rmdir(path)

    def is_unused(self, path: Path) -> bool:
        """Whether no living process holds the lock of a file that `create` made."""
        return self._unlocked(path, lambda: None)

    def remove_unused(self, path: Path) -> bool:
        """Delete a file that `create` made, unless a living process still holds its lock; say whether it is gone."""
        return self._unlocked(path, lambda: os.unlink(path))

    def _unlocked(self, path: Path, action: Callable[[], None]) -> bool:
        file = os.open(path, os.O_RDONLY | _SAFE)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            action()
        except BlockingIOError:
            return False
        finally:
            os.close(file)
        return True


def _regular(path: Path, status: os.stat_result) -> int:
    if not stat.S_ISREG(status.st_mode):
        raise _not_regular(path)
    return status.st_size


def _not_regular(path: Path) -> RegistryError:
    return RegistryError(f"{path} must be a regular file; it is a link, a folder or a device, which is never followed")
