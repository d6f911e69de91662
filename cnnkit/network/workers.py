"""Workers: who runs the tiles, and with how many BLAS threads."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from cnnkit.components.checks import whole

A = TypeVar("A")
B = TypeVar("B")


def available_cores() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """Threads that take tiles through the network; NumPy lets others run while it is inside a large call.

    Every call runs BLAS with one thread, so that the workers do not fight over the cores and results do not depend
    on their number.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = available_cores() if count is None else whole("workers", count)
        self._pool: ThreadPoolExecutor | None = None

    def map(self, function: Callable[[A], B], items: Iterable[A]) -> list[B]:
        """The results in the order of the items; the first error is raised when all have ended."""
        tasks = list(items)
        if self.count == 1 or len(tasks) == 1:
            return [function(task) for task in tasks]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="cnnkit-worker")
        return list(self._pool.map(function, tasks))

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


def one_blas_thread() -> AbstractContextManager[Any]:
    """A context in which BLAS calls use one thread each."""
    return _controller().limit(limits=1, user_api="blas")  # type: ignore[no-any-return]


@functools.cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
