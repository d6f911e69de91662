"""Python imports this as it starts, if this folder is in PYTHONPATH: an audit hook that sees the process from then on.

Each event that has no business there becomes a line in a named pipe, for some processes may not write to files; the
last line of a process that ends in the usual way is the number of events.
"""

from __future__ import annotations

import atexit
import os
from typing import Any

import hostile_allowed  # type: ignore[import-not-found]  # beside this file

FOREIGN = (
    "ftplib",
    "http",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "pickle",
    "pty",
    "shutil",
    "smtplib",
    "socket",
    "subprocess",
    "urllib",
    "webbrowser",
)
"""Audit events of which none may come, but for allowed commands."""


def install() -> None:
    allowed = hostile_allowed.from_environment()
    log = os.open(os.environ[hostile_allowed.LOG], os.O_WRONLY | os.O_NONBLOCK)
    events = 0

    def may_be(event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "open":
            path, mode, flags = arguments
            if isinstance(path, int) or path is None:  # open already: the call that opened it was seen
                return True
            path = os.fsdecode(path)
            if mode is None and not path.startswith("/"):  # it may be relative to a folder that the event does not name
                return True
            return bool(allowed.opens(os.path.abspath(path), bool(flags & hostile_allowed.WRITING)))
        if event == "shutil.rmtree":
            return bool(allowed.opens(str(arguments[0]), True))
        if event == "subprocess.Popen":
            return bool(allowed.runs(os.fsdecode(arguments[0]), [os.fsdecode(one) for one in arguments[1]]))
        return not event.startswith(FOREIGN)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal events
        events += 1
        if not may_be(event, arguments):
            os.write(log, f"{event} {arguments}"[:300].encode(errors="replace") + b"\n")

    import sys

    sys.addaudithook(watch)
    atexit.register(lambda: os.write(log, f"{events}\n".encode()))


if hostile_allowed.LOG in os.environ:
    install()
