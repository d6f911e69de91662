"""What belongs to the whole process is given back as it was before a plugin's code ran."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from types import ModuleType

import numpy as np

NUMPY = np, np.linalg, np.random
"""Modules whose functions and types stay what they are."""
TIMERS = signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF


@contextlib.contextmanager
def undisturbed() -> Iterator[list[str]]:
    """Give back signal handlers, the mask of signals, timers, standard streams, the working folder and NumPy.

    A plugin that takes Ctrl-C, moves to its own folder, lets NumPy raise on an underflow or has something else in place
    of `numpy.float32` when it is imported would otherwise decide how commands end, where they write, and what they
    compute. The list has the names of what was replaced in NumPy, once that is given back.
    """
    replaced: list[str] = []
    kept = {module: dict(vars(module)) for module in NUMPY}
    streams = sys.stdin, sys.stdout, sys.stderr
    try:
        folder = os.getcwd()
    except OSError:  # it was removed
        folder = ""
    with np.errstate(), _signals():
        try:
            yield replaced
        finally:
            replaced += _put_back(kept)
            sys.stdin, sys.stdout, sys.stderr = streams
            if folder:
                os.chdir(folder)


def _put_back(kept: Mapping[ModuleType, Mapping[str, object]]) -> list[str]:
    """Give modules what they had under the names that they had; what was something else, such as "numpy.float32"."""
    changed = [
        (module, name, value)
        for module, names in kept.items()
        for name, value in names.items()
        if not name.startswith("__") and vars(module).get(name) is not value
    ]
    for module, name, value in changed:
        setattr(module, name, value)
    return [f"{module.__name__}.{name}" for module, name, _ in changed]


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # where alone Python lets handlers be set
        yield
        return
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    idle = [which for which in TIMERS if signal.getitimer(which)[0] == 0]
    try:
        yield
    finally:
        for which in idle:
            signal.setitimer(which, 0)  # before its handler goes: without one, it would end the process
        for number, handler in handlers.items():
            if handler is not None and signal.getsignal(number) is not handler:  # None: it was not set by Python
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
