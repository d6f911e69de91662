"""Ending a training from outside: the first signal lets the step finish, the second ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether someone asked the training to stop; the trainer looks after each step."""

    def __init__(self) -> None:
        self.signal: int | None = None


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn the first SIGINT or SIGTERM into a request; the next one has the effect that it had before."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may set handlers
        return
    handlers: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
    # Who started this process may have told it to ignore a signal, as `nohup` and `&` do.
    previous = {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        if request.signal is None:
            request.signal = number
            return
        for one in previous:  # whoever is impatient may send more of them: they must not break what the second begins
            signal.signal(one, signal.SIG_IGN)
        if callable(handler := previous[number]):
            handler(number, frame)
        signal.signal(number, handler)
        signal.raise_signal(number)

    for number in previous:
        signal.signal(number, note)
    try:
        yield request
    finally:
        restore()
