"""Answers alone reach stdout: while a command works, whatever else is written there goes to stderr.

A component may print in any call, the C code under it writes to file descriptor 1, and so does a program that it
starts; each would make the one JSON document of a command unreadable.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import typer
from typer.core import TyperCommand

from cnnkit.cli.streams import taking_all
from cnnkit.terminal import STREAMS

_kept: TextIO | None = None
"""What was stdout before a command began."""


def answers() -> TextIO:
    """The stream that answers are written to."""
    return _kept or sys.stdout


class Command(TyperCommand):
    """A command during which stdout is stderr, except for its answers."""

    def invoke(self, context: Any) -> Any:
        with _apart():
            return super().invoke(context)


def keep_apart(app: typer.Typer) -> None:
    """Let this hold for all commands of an application."""
    for command in app.registered_commands:
        command.cls = Command
    for group in app.registered_groups:
        if group.typer_instance:
            keep_apart(group.typer_instance)


@contextmanager
def _apart() -> Iterator[None]:
    """Let stdout be stderr.

    Where stdout is that of the process, it stays so until the process ends: functions that are called at its end print,
    too. Where it is an object in Python, as in tests, it comes back.
    """
    global _kept
    if _kept:  # by an earlier command of this process
        yield
        return
    before = sys.stdout
    ours = before is not None and _descriptor(before) == 1
    _kept = _moved(before) if ours else before or io.StringIO()  # where stdout is closed, nobody reads
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        if not ours:
            _kept, sys.stdout = None, before


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except OSError:  # it writes to no file
        return None


def _moved(stream: TextIO) -> TextIO:
    """The same stream on a separate descriptor, which no other program inherits; its old one is stderr's."""
    stream.flush()
    descriptor = os.dup(1)
    os.dup2(2, 1)
    STREAMS.append(descriptor)
    return taking_all(descriptor, stream)
