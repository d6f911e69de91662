"""Terminals: what is printed there, and what tells that one is closed."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import time
from typing import TYPE_CHECKING, TextIO

from cnnkit.waiting_line import USUAL, clear_line, want_lines

if TYPE_CHECKING:
    from rich.console import Console

HANGUP: int | None = getattr(signal, "SIGHUP", None)
"""What a process gets when its terminal is closed; Windows has none."""
STREAMS = [1, 2]
"""The file descriptors that this process writes to."""

GRACE = 1.0
"""Seconds after a signal to end in which whoever reads what this process writes may still take it."""
_hurried: list[float] = []
"""When the last such signal came."""

ENDLESS = 10_000
"""Columns of what is not a terminal."""
NARROWEST = 40
"""Columns below which a terminal is taken for one that does not know how many it has: a table needs some."""
_quiet = [False]


def console(stream: TextIO) -> Console:
    """A console on a stream: what it prints stands there as it is, brackets and colons too.

    Only a terminal is one, whatever the environment says: elsewhere nothing is wrapped, cut or coloured.
    """
    from rich.console import Console

    clear_line()
    is_terminal = stream.isatty()
    made = Console(file=stream, force_terminal=is_terminal, highlight=False, markup=False, emoji=False, soft_wrap=True)
    if not is_terminal:
        made.width = ENDLESS
    elif made.width < NARROWEST:  # such as COLUMNS=0
        made.width = USUAL
    return made


def is_quiet() -> bool:
    """Whether nothing but answers, warnings and errors is to be shown."""
    return _quiet[0]


def be_quiet(quiet: bool) -> None:
    """Show neither notes nor how far the work is, or both."""
    _quiet[0] = quiet
    want_lines(not quiet)


def shows_progress(shown: Console) -> bool:
    """Whether what changes while the work goes on may be shown on a console."""
    return shown.is_terminal and not is_quiet()


def hurry() -> None:
    """Wait no longer than `GRACE` for those who read: a pipe or a terminal that stands still must not keep the end."""
    _hurried[:] = [time.monotonic()]


def take_time() -> None:
    """Wait for readers again: a command begins."""
    _hurried.clear()


def may_wait() -> bool:
    """Whether a reader that takes nothing is still waited for."""
    return not _hurried or time.monotonic() < _hurried[0] + GRACE


def leave_terminal() -> None:
    """Let what is still written to a terminal that is gone go nowhere: to write there is an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in STREAMS:
        with contextlib.suppress(OSError):  # it is closed
            if stat.S_ISCHR(os.fstat(stream).st_mode) and not os.isatty(stream):
                os.dup2(nowhere, stream)
    os.close(nowhere)
