"""Whether processes that say nothing are at work, as far as the system tells."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

PROCESSES = Path("/proc")
_WORKING = "RD"
"""States of a thread that computes, or that waits for a disk. Source: proc(5)."""


class Watch:
    """Tells for how long the processes of a session have done nothing; where the system does not tell, 0 seconds."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._done: list[str] | None = None
        self._since = self._next = self._idle = 0.0

    def idle(self) -> float:
        """Seconds since the first call for which no process has computed, read or written anything, at least.

        To look at all processes of a machine takes some time; this takes a tenth of the time, however often it is
        called.
        """
        if (began := time.monotonic()) < self._next:
            return self._idle
        done, now = _done(self._session), time.monotonic()
        if done is None or done != self._done:  # as in the first call
            self._done, self._since = done, now
        self._next, self._idle = now + 10 * (now - began), now - self._since
        return self._idle


def _done(session: int) -> list[str] | None:
    """What grows while the processes of a session work; None while a thread does, and where there is no such thing."""
    done = []
    for process in PROCESSES.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or belongs to somebody else
            if int(_stat(process)[3]) != session:
                continue
            done.append((process / "io").read_text())  # bytes and calls
            for thread in (process / "task").iterdir():
                state, *fields = _stat(thread)
                if state in _WORKING:
                    return None
                done.append(f"{thread.name} {fields[10]} {fields[11]}")  # its time in the program and in the system
    return done or None


def _stat(process: Path) -> list[str]:
    """The fields after the name, which may hold anything: state, parent, group, session, ..."""
    return (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
