"""Ending a training from outside: the first signal lets the step finish, the second ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from cnnkit.terminal import HANGUP, hurry, leave_terminal

SIGNALS = tuple(filter(None, (signal.SIGINT, signal.SIGTERM, HANGUP)))


class StopRequest:
    """Whether someone asked the training to stop; the trainer looks after each step."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.takes_interrupts = False
        """Whether a KeyboardInterrupt inside the training is such a request, too, if it is the first."""


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into a request; the next one has the effect that it had before.

    A closed terminal may send SIGHUP twice, by the shell and by the system: it never counts as the next one.
    """
    # Who started this process may have told it to ignore a signal, as `nohup` and `&` do; None is not Python's to set.
    with _requests(number for number in SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)) as request:
        yield request


@contextmanager
def stop_on_interrupt() -> Iterator[StopRequest]:
    """Turn the first Ctrl-C into a request, the next one into a KeyboardInterrupt.

    Where somebody has a handler of their own, it runs at once, as ever; the first KeyboardInterrupt that it raises is a
    request, so that it tears no step apart.
    """
    is_free = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    others = signal.valid_signals() - ({signal.SIGINT} if is_free else set())
    with _requests([signal.SIGINT] if is_free else []) as request, _handlers_guarded(others, request):
        request.takes_interrupts = True
        yield request


@contextmanager
def _handlers_guarded(numbers: Iterable[int], request: StopRequest) -> Iterator[None]:
    """Let the handlers of others run, and take the first KeyboardInterrupt of one for a request."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def guarded(handler: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], None]:
        def run(number: int, frame: FrameType | None) -> None:
            try:
                handler(number, frame)
            except KeyboardInterrupt:
                if request.signal is not None:
                    raise
                request.signal = number

        return run

    handlers = {number: signal.getsignal(number) for number in numbers}
    theirs = {number: handler for number, handler in handlers.items() if callable(handler)}
    ours = {number: guarded(handler) for number, handler in theirs.items()}
    for number, handler in ours.items():
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handler in ours.items():
            if signal.getsignal(number) is handler:  # or somebody has set another one since
                signal.signal(number, theirs[number])


@contextmanager
def _requests(numbers: Iterable[int]) -> Iterator[StopRequest]:
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may set handlers
        return
    previous: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        hurry()
        if number == HANGUP:
            leave_terminal()
        if request.signal is None:
            request.signal = number
            return
        if number == HANGUP:
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
