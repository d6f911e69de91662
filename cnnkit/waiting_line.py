"""A line that says what takes long, on the terminal behind stderr, while it does.

Nothing is shown before a command of the command line asks for it, elsewhere than on a terminal, or where something else
shows how far the work is. The line is written from a thread of its own, since the work may be one call of C.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
import time
from collections.abc import Iterator

from cnnkit.text_folding import columns

DELAY, PAUSE = 0.5, 1.0
"""Seconds before the line is shown, and between two of its states."""
USUAL = 80
"""Columns of a terminal that does not know how many it has."""
_START = "\r\x1b[2K"
"""Erases the line, and goes to its beginning."""
_MUTE = ("dumb", "unknown")
"""Terminals that cannot do that."""


class _Line:
    """What is done at present, the innermost last, and whether it stands on the terminal."""

    def __init__(self) -> None:
        self.is_wanted = False
        self.others = 0
        """How many bars and tables show how far the work is."""
        self.work: list[tuple[str, float]] = []
        """Each with when it began."""
        self.quiet_until = 0.0
        self.is_shown = False
        self.lock = threading.Lock()

    def can_be_shown(self) -> bool:
        """Whether there is a terminal to show it on."""
        return self.is_wanted and sys.stderr.isatty() and os.environ.get("TERM") not in _MUTE

    def show(self) -> None:
        """Write it, if its time has come."""
        with self.lock:
            now = time.monotonic()
            if self.others or not self.work or now < self.quiet_until:
                return
            text, began = self.work[-1]
            if now - began >= DELAY:
                self.is_shown |= _write(f"{_START}{_short(text)} {now - began:.0f} s")

    def hide(self) -> None:
        """Erase it; it comes back where the work still goes on for a while."""
        with self.lock:
            self.quiet_until = time.monotonic() + DELAY if self.work else 0.0
            if self.is_shown:
                self.is_shown = False
                _write(_START)


_line = _Line()


def want_lines(wanted: bool) -> None:
    """Say whether to show what takes long from now on."""
    _line.is_wanted = wanted


def clear_line() -> None:
    """Make room for something else on the terminal."""
    _line.hide()


@contextlib.contextmanager
def other_display() -> Iterator[None]:
    """While something else shows how far the work is."""
    _line.others += 1
    _line.hide()
    try:
        yield
    finally:
        _line.others -= 1


@contextlib.contextmanager
def waiting(text: str) -> Iterator[None]:
    """Show a text, such as "loading MNIST()", while something is done, if that takes long."""
    if not _line.can_be_shown():
        yield
        return
    is_first = not _line.work
    _line.work.append((text, time.monotonic()))
    ended = threading.Event()
    if is_first:
        threading.Thread(target=_show_until, args=(ended,), daemon=True).start()
    try:
        yield
    finally:
        _line.work.pop()
        ended.set()
        _line.hide()


def _show_until(ended: threading.Event) -> None:
    pause = DELAY
    while not ended.wait(pause):
        _line.show()
        pause = PAUSE if _line.is_shown else DELAY / 5


def _short(text: str) -> str:
    """The text with dots, without what does not fit beside the time."""
    width = 0
    with contextlib.suppress(OSError, ValueError):  # it is gone
        width = os.get_terminal_size(sys.stderr.fileno()).columns
    room = (width or USUAL) - len(" ... 9999 s")
    words = text.split(" ")
    while len(words) > 1 and columns(" ".join(words)) > room:
        words.pop()
    return f"{' '.join(words)} ..."


def _write(text: str) -> bool:
    """Write to the terminal itself: a lock of Python's stream must not be held where a process forks."""
    with contextlib.suppress(OSError, ValueError):  # it is gone
        descriptor = sys.stderr.fileno()
        if select.select((), (descriptor,), (), 0)[1]:  # else somebody has stopped it
            os.write(descriptor, text.encode())
            return True
    return False
