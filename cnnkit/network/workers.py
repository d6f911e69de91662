"""How much of the machine is used: cores, threads, and BLAS's own threads."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

A = TypeVar("A")
B = TypeVar("B")


def available_cores() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(workers: int, function: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """The results for all items, in their order; NumPy lets other threads run while it is inside a large call.

    The threads live for this call alone: none are left for a process that forks.
    """
    if min(workers, len(items)) <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(workers, len(items)), thread_name_prefix="cnnkit") as pool:
        return list(pool.map(function, items))


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
