"""How much of the machine is used: cores, threads, and BLAS's own threads."""

from __future__ import annotations

import contextvars
import functools
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

PATIENCE = 0.5
"""Seconds that a thread has to end when it is interrupted."""
A = TypeVar("A")
B = TypeVar("B")


def available_cores() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(workers: int, function: Callable[[A], B], items: Sequence[A], *, apart: bool = False) -> list[B]:
    """The results for all items, in their order; NumPy lets other threads run while it is inside a large call.

    The threads live for this call alone: none are left for a process that forks. An interruption ends them, too, or
    leaves alone for good what does not end soon.
    apart: whether a single worker has a thread as well, so that this one can be interrupted inside a large call.
    """
    if min(workers, len(items)) <= 1 and not apart:
        return [function(item) for item in items]
    results: dict[int, B] = {}
    failed: dict[int, BaseException] = {}
    waiting = iter(range(len(items)))

    def work() -> None:
        for number in waiting:
            if failed:
                return
            try:
                results[number] = function(items[number])
            except BaseException as error:
                failed[number] = error

    threads = [
        # With the caller's context: in a new one, NumPy would warn of what the caller has told it to ignore.
        threading.Thread(target=contextvars.copy_context().run, args=(work,), name="cnnkit", daemon=True)
        for _ in range(min(workers, len(items)))
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException as error:  # such as KeyboardInterrupt: what is on its way may take minutes
        failed[-1] = error
        for thread in threads:
            _end(thread)
        raise
    if failed:
        raise failed[min(failed)]
    return [results[number] for number in range(len(items))]


class _Ended(BaseException):
    """Nobody waits for the thread any more."""


def _end(thread: threading.Thread) -> None:
    """Raise an error inside a thread, between two of Python's instructions, until it has ended, or `PATIENCE` has.

    A single call of NumPy or of a runtime may take longer; the thread ends after it.
    """
    import ctypes

    late = time.monotonic() + PATIENCE
    while thread.is_alive() and time.monotonic() < late:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(_Ended))
        thread.join(0.05)  # a callback of the interpreter's own may have swallowed it


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS calls use one thread each, so that workers do not fight over the cores.

    It also keeps results independent of how BLAS would cut a product for the cores of this machine. The setting
    belongs to the process: the first that enters makes it, the last that leaves takes it back.
    """
    with _lock:
        if not _limits:
            _limits.append(_controller().limit(limits=1, user_api="blas"))
        _limits.append(None)
    try:
        yield
    finally:
        with _lock:
            _limits.pop()
            if len(_limits) == 1:
                _limits.pop().restore_original_limits()


_lock = threading.Lock()
_limits: list[Any] = []
"""The limit in force, and one entry for each that wants it."""


@functools.cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
