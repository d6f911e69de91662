"""Reading small files that a user names: plain ones of bounded size, so that no pipe is waited for."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_plain(path: Path, most: int) -> bytes:
    """The content of a file. Raises OSError, also for one that is not plain or has more than `most` bytes."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # opening a pipe would wait for who writes
    with os.fdopen(file, "rb") as stream:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "expected a plain file, this is a pipe or a device")
        if status.st_size > most:
            raise OSError(errno.EFBIG, f"expected at most {most:,} bytes, it has {status.st_size:,}")
        if (data := stream.read(most)) is None:  # the system's own files may wait, as the kernel's messages do
            raise OSError(errno.EAGAIN, "expected a plain file, this is a pipe that waits for a writer")
        return data
