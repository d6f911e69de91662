"""The line that says what takes long: on a terminal alone, after a moment, and gone in the end."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from cnnkit import waiting_line as line
from cnnkit.terminal import be_quiet
from cnnkit.waiting_line import clear_line, other_display, waiting

ERASED = "\r\x1b[2K"


@contextlib.contextmanager
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal behind stderr, on which lines are wanted; what is written there can be read.

    No fixture, since pytest has a stream of its own for each phase of a test.
    """
    reading, writing = pty.openpty()
    os.set_blocking(reading, False)
    monkeypatch.setattr(line, "DELAY", 0.05)
    monkeypatch.setattr(line, "PAUSE", 0.05)
    monkeypatch.setenv("TERM", "xterm")
    with open(writing, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        be_quiet(False)
        try:
            yield reading
        finally:
            be_quiet(False)
            line.want_lines(False)
    os.close(reading)


def shown(terminal: int) -> str:
    try:
        return os.read(terminal, 65536).decode()
    except BlockingIOError:
        return ""


def until_shown(terminal: int, text: str) -> str:
    written, until = "", time.monotonic() + 20
    while text not in written:
        assert time.monotonic() < until, written
        written += shown(terminal)
        time.sleep(0.01)
    return written


def test_what_takes_long_is_shown_and_erased(monkeypatch: pytest.MonkeyPatch) -> None:
    with on_terminal(monkeypatch) as terminal:
        with waiting("loading MNIST()"):
            assert until_shown(terminal, "0 s").startswith(f"{ERASED}loading MNIST() ... 0 s")
            shown(terminal)
        assert shown(terminal).endswith(ERASED)


def test_the_innermost_work_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with on_terminal(monkeypatch) as terminal, waiting("outer"):
        with waiting("inner"):
            until_shown(terminal, "inner ...")
        until_shown(terminal, "outer ...")


def test_what_is_done_in_a_moment_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with on_terminal(monkeypatch) as terminal:
        monkeypatch.setattr(line, "DELAY", 60.0)
        with waiting("loading"):
            pass
        assert shown(terminal) == ""


@pytest.mark.parametrize("why", ["quiet", "library", "dumb", "elsewhere"])
def test_nothing_is_shown(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    with on_terminal(monkeypatch) as terminal:
        match why:
            case "quiet":
                be_quiet(True)
            case "library":
                line.want_lines(False)
            case "dumb":
                monkeypatch.setenv("TERM", "dumb")
            case "elsewhere":
                monkeypatch.setattr(sys, "stderr", io.StringIO())
        with waiting("loading"):
            time.sleep(0.3)
        assert shown(terminal) == ""


def test_a_terminal_that_goes_away_meanwhile_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    with on_terminal(monkeypatch) as terminal, waiting("loading"):
        until_shown(terminal, "loading ...")
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", io.StringIO())
            time.sleep(0.3)
        assert failed == []
        shown(terminal)
        until_shown(terminal, "loading ...")


def test_it_makes_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    with on_terminal(monkeypatch) as terminal, waiting("loading"):
        until_shown(terminal, "loading ...")
        clear_line()
        assert shown(terminal).endswith(ERASED)
        until_shown(terminal, "loading ...")
        with other_display():
            shown(terminal)
            time.sleep(0.3)
            assert shown(terminal) == ""
        until_shown(terminal, "loading ...")


def test_it_never_fills_more_than_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with on_terminal(monkeypatch) as terminal:
        import fcntl
        import struct
        import termios

        fcntl.ioctl(sys.stderr.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
        with waiting(f"loading some file of {'x' * 50}"):
            assert "loading some file of ... 0 s" in until_shown(terminal, " s")
