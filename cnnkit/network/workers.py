"""How much of the machine is used: cores, threads, and BLAS's own threads."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, TypeVar

A = TypeVar("A")
B = TypeVar("B")


def available_cores() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Threads:
    """Threads for tiles that need nothing of each other; NumPy lets others run while it is inside a large call."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None

    def map(self, function: Callable[[A], B], items: Iterable[A]) -> list[B]:
        """The results in the order of the items."""
        tasks = list(items)
        if self.count == 1 or len(tasks) == 1:
            return [function(task) for task in tasks]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="cnnkit")
        return list(self._pool.map(function, tasks))

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


def one_blas_thread() -> AbstractContextManager[Any]:
    """A context in which BLAS calls use one thread each, so that workers do not fight over the cores.

    It also keeps results independent of how BLAS would cut a product for the cores of this machine.
    """
    return _controller().limit(limits=1, user_api="blas")  # type: ignore[no-any-return]  # threadpoolctl has no types


@functools.cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
