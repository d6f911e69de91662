"""A terminal that is closed: the signal that tells of it, and what is still written there."""

from __future__ import annotations

import contextlib
import os
import signal
import stat

HANGUP: int | None = getattr(signal, "SIGHUP", None)
"""What a process gets when its terminal is closed; Windows has none."""
STREAMS = [1, 2]
"""The file descriptors that this process writes to."""


def leave_terminal() -> None:
    """Let what is still written to a terminal that is gone go nowhere: to write there is an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in STREAMS:
        with contextlib.suppress(OSError):  # it is closed
            if stat.S_ISCHR(os.fstat(stream).st_mode) and not os.isatty(stream):
                os.dup2(nowhere, stream)
    os.close(nowhere)
