"""Ending a training from outside: the first signal lets the step finish, if it does so soon, the second ends at once.

A step of a large network may take minutes. It is given up after a moment: an error is raised in its midst, by a signal
that the process sends to itself, and the training ends where it was before the step. Before the first step, nothing is
there to be kept, and a request that has waited so long has the effect of a second one.
"""

from __future__ import annotations

import _thread
import queue
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from cnnkit.terminal import HANGUP, hurry, leave_terminal

SIGNALS = tuple(filter(None, (signal.SIGINT, signal.SIGTERM, HANGUP)))


PATIENCE, PAUSE = 0.3, 0.5
"""Seconds that a step has to finish after a request; and between two attempts to give it up, as a callback of the
interpreter's own may swallow an error."""


class StepAbandonedError(BaseException):
    """A step that is given up; not an Exception, which a component might catch."""


class StopRequest:
    """Whether someone asked the training to stop; the trainer looks after each step."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.takes_interrupts = False
        """Whether a KeyboardInterrupt inside the training is such a request, too, if it is the first."""
        self.is_reminder = False
        """Whether the next signal comes from this process, which has waited long enough."""
        self._has_begun = self._in_step = False
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._reminding: threading.Thread | None = None

    @contextmanager
    def step(self) -> Iterator[None]:
        """A part of a step that can be given up without a trace; raises StepAbandonedError if it is."""
        self._has_begun = self._in_step = True
        try:
            yield
        finally:
            self._in_step = False

    def remind(self, number: int) -> None:
        """Send the signal again while a step that shall end does not, or if the first one has not begun."""

        def run() -> None:
            pause = PATIENCE
            while not self._ends_within(pause):
                pause = PAUSE
                if self._in_step or not self._has_begun:
                    self.is_reminder = True
                    _send(number)

        self._reminding = threading.Thread(target=run, name="cnnkit-stop", daemon=True)
        self._reminding.start()

    def reminded(self) -> bool:
        """Give up the step that is running, or else tell whether any step has begun.

        If none has, nothing is there to be kept, and the reminder counts as a second signal.
        """
        self.is_reminder = False
        if self._in_step:
            raise StepAbandonedError
        return self._has_begun

    def end_reminders(self) -> None:
        """Send no other reminder; one that is under way may still come.

        A signal handler may call this, wherever it interrupts: it takes no lock that the interrupted code may hold.
        """
        self._ended.put(None)

    def end(self) -> None:
        """No reminder comes any more."""
        self.end_reminders()
        # One that an interruption kept from starting cannot be joined: if it starts yet, it finds that it has ended.
        if self._reminding and self._reminding.is_alive():
            self._reminding.join()

    def _ends_within(self, seconds: float) -> bool:
        """Wait so long for the end of reminders."""
        try:
            self._ended.get(timeout=seconds)
        except queue.Empty:
            return False
        return True


def _send(number: int) -> None:
    """Send this process a signal, which the main thread takes, even while it waits for another process."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:  # Windows
        _thread.interrupt_main(signal.Signals(number))


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into a request; the next one has the effect that it had before.

    A closed terminal may send SIGHUP twice, by the shell and by the system: it never counts as the next one.
    """
    # Who started this process may have told it to ignore a signal, as `nohup` and `&` do; None is not Python's to set.
    numbers = [number for number in SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    with _requests(numbers, reminded=True) as request:
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
def _requests(numbers: Iterable[int], *, reminded: bool = False) -> Iterator[StopRequest]:
    """reminded: whether a step that takes long is given up."""
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
            if reminded:
                request.remind(number)
            return
        if request.is_reminder:
            if request.reminded():
                return
        elif number == HANGUP:
            return
        request.end_reminders()
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
        try:
            request.end()
        finally:  # a second signal may end the wait
            restore()
