"""How much memory the system still has for this process; on Linux, elsewhere nothing is known."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def available_memory(root: Path = ROOT) -> int | None:
    """Bytes that may still be taken, None where the system does not say.

    The least of what the machine has, what the control groups leave, and what the address space of the process may
    still grow by. Page cache counts as free, for the system gives it up when it needs it.
    """
    found = [*_machine(root), *_control_groups(root), *_address_space(root)]
    return max(0, min(found)) if found else None


def present_memory(root: Path = ROOT) -> int:
    """Bytes that this process has in memory now, 0 where the system does not say."""
    return next((resident for _, resident in _sizes(root)), 0)


def readable(size: int) -> str:
    """A number of bytes for people: "12.3 MiB", "4.5 GiB"."""
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.1f} MiB"


def _machine(root: Path) -> Iterator[int]:
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            yield 1024 * int(line.split()[1])


def _control_groups(root: Path) -> Iterator[int]:
    """What each group leaves that this process is in, directly or by its parents; of version 2 and of version 1."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top = root / "sys/fs/cgroup"
            names = "memory.max", "memory.current", ("inactive_file", "active_file")
        elif "memory" in controllers.split(","):
            top = root / "sys/fs/cgroup/memory"
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")
        else:
            continue
        folder = top / path.lstrip("/")
        for group in (folder, *folder.parents):  # inside a container the folder may be missing, its top is there
            yield from _left(group, *names)
            if group == top:
                break


def _left(group: Path, limit: str, used: str, cached: tuple[str, ...]) -> Iterator[int]:
    most, now = _lines(group / limit), _lines(group / used)
    if most and now and most[0] != "max":
        counts = dict(line.split(maxsplit=1) for line in _lines(group / "memory.stat"))
        yield int(most[0]) - int(now[0]) + sum(int(counts.get(name, 0)) for name in cached)


def _address_space(root: Path) -> Iterator[int]:
    try:
        import resource
    except ImportError:  # Windows
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        for virtual, _ in _sizes(root):
            yield limit - virtual


def _sizes(root: Path) -> Iterator[tuple[int, int]]:
    """Of this process the address space in use, and what of it is in memory."""
    for line in _lines(root / "proc/self/statm"):
        virtual, resident = (int(pages) * os.sysconf("SC_PAGE_SIZE") for pages in line.split()[:2])
        yield virtual, resident


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except OSError:
        return []
