"""What belongs to the whole process is given back as it was before a plugin's code ran."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

import numpy as np

TIMERS = signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Give back signal handlers, the mask of signals, timers, standard streams, the working folder and NumPy's errors.

    A plugin that takes Ctrl-C, moves to its own folder, or lets NumPy raise on an underflow when it is imported would
    otherwise decide how commands end, where they write, and what they compute.
    """
    streams = sys.stdin, sys.stdout, sys.stderr
    try:
        folder = os.getcwd()
    except OSError:  # it was removed
        folder = ""
    with np.errstate(), _signals():
        try:
            yield
        finally:
            sys.stdin, sys.stdout, sys.stderr = streams
            if folder:
                os.chdir(folder)


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
