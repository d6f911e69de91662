"""The three streams of the process: what cannot be written there never ends a command."""

from __future__ import annotations

import errno
import io
import os
import select
import stat
import sys
from typing import Any, TextIO

from cnnkit.terminal import may_wait, take_time

_INPUT, _OUTPUT, _ERRORS = range(3)
_GONE = (errno.EPIPE, errno.ECONNRESET)
"""What the system answers where nobody reads any more: a pipe, a connection."""
_TICK = 100
"""Milliseconds between two looks at whether a reader is still waited for."""


class Stream(io.FileIO):
    """A stream of the process that takes everything; `failure` says why something could not be written, and is lost."""

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write; what fails is dropped, and the next attempt may succeed: a disk may have room again.

        A reader that takes nothing is waited for, until a signal asks the process to end.
        """
        try:
            poll = select.poll()
            poll.register(self, select.POLLOUT)
            while True:
                if not poll.poll(_TICK):
                    super().write(b"")  # which fails where there will never be room: it is open for reading alone
                    if not may_wait():
                        raise BlockingIOError(errno.EAGAIN, "the reader took too long")
                # No more than fits where there is room at all: more would wait where nothing tells that it must end.
                elif (count := super().write(memoryview(data)[: select.PIPE_BUF])) is not None:
                    return count
        except OSError as error:
            self.failure = self.failure or error
            return len(data)

    def has_no_reader(self) -> bool:
        """Whether what failed is that nobody reads any more: a pipe that is closed, a terminal that is gone."""
        if self.failure is None or self.failure.errno in _GONE:
            return self.failure is not None
        return self.failure.errno == errno.EIO and stat.S_ISCHR(os.fstat(self.fileno()).st_mode)


def take_streams() -> None:
    """Let stdout and stderr of this process take everything; those that were closed when it started lead nowhere.

    A stream that somebody has put in place of one of them, as a test or a notebook does, is left alone.
    """
    take_time()
    for number in (_INPUT, _OUTPUT, _ERRORS):
        try:
            os.fstat(number)
        except OSError:  # else the next file would get this number, and what is written to the stream
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # an answer in another encoding is a no
    if sys.stdout is sys.__stdout__:
        sys.stdout = taking_all(_OUTPUT, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = taking_all(_ERRORS, sys.stderr)


def lost_answer(answers: TextIO) -> OSError | None:
    """Why the answer could not be written to its stream; None if it was, or if nobody reads it."""
    answers.flush()
    stream = getattr(getattr(answers, "buffer", None), "raw", None)
    return stream.failure if isinstance(stream, Stream) and not stream.has_no_reader() else None


def taking_all(number: int, before: TextIO | None) -> TextIO:
    """A stream like the one before, which is None if it was closed, that never fails.

    A path or label that it cannot show is no reason to fail either.
    """
    raw = Stream(number, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=before.encoding if before else "utf-8",
        errors="backslashreplace",
        line_buffering=number == _ERRORS or raw.isatty(),
        write_through=isinstance(before, io.TextIOWrapper) and before.write_through,
    )
