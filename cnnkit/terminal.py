"""Terminals: what is printed there, and what tells that one is closed."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

HANGUP: int | None = getattr(signal, "SIGHUP", None)
"""What a process gets when its terminal is closed; Windows has none."""

ENDLESS = 10_000
"""Columns of what is not a terminal."""
NARROWEST, USUAL = 40, 80
"""Columns below which a terminal is taken for one that does not know: a table needs some; and those it then has."""


def console(*, stderr: bool = False) -> Console:
    """A console on the streams of this moment: what it prints stands there as it is, brackets and colons too.

    Only a terminal is one, whatever the environment says: elsewhere nothing is wrapped, cut or coloured.
    """
    from rich.console import Console

    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    made = Console(
        stderr=stderr, force_terminal=is_terminal, highlight=False, markup=False, emoji=False, soft_wrap=True
    )
    if not is_terminal:
        made.width = ENDLESS
    elif made.width < NARROWEST:  # such as COLUMNS=0
        made.width = USUAL
    return made


def leave_terminal() -> None:
    """Let what is still written to a terminal that is gone go nowhere: to write there is an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        with contextlib.suppress(OSError):  # it is closed
            if stat.S_ISCHR(os.fstat(stream).st_mode) and not os.isatty(stream):
                os.dup2(nowhere, stream)
    os.close(nowhere)
