"""Limits of a process that executes what a stranger wrote."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

OPEN_FILES = 256


def forbid_writing() -> None:
    """For the rest of the process: no file can be written, no core is dumped, few files are open at once."""
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


@contextmanager
def limited(memory: int | None, seconds: float) -> Iterator[None]:
    """While it lasts, the process may have so many bytes of address space, and use so many seconds on each processor.

    Beyond the first, allocations fail; beyond the second, it is ended by SIGXCPU. A hard limit that is lower stays.
    memory: None for no limit.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    processors = os.cpu_count() or 1
    with _soft(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + seconds * processors) + 1):
        if memory is None:
            yield
            return
        with _soft(resource.RLIMIT_AS, memory):
            yield


def address_space() -> int | None:
    """Bytes of address space that the process has; None where the system, as macOS, does not tell or limit them."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except FileNotFoundError:
        return None


def further_memory() -> int | None:
    """Bytes of address space that the process may still take; None if that is not limited."""
    most, used = resource.getrlimit(resource.RLIMIT_AS)[0], address_space()
    return None if most == resource.RLIM_INFINITY or used is None else max(0, most - used)


@contextmanager
def without_memory_limit() -> Iterator[None]:
    """While it lasts, the address space is limited by the hard limit alone: for a process that is started and limits
    itself once it has loaded what it needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def _soft(kind: int, value: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))
