"""Memory for passes that ask for the same arrays again and again: planned after the first one, then reused.

An array is free when nobody refers to it any more: every view of an array refers to the first array over its memory, so
that the reference count of that one, as CPython has it, tells. The first pass of a kind gets fresh arrays, and of each
it is noted when it became free. From then on arrays that are never in use together share memory, in one block: a
training pass takes little more of it than what is in use at its peak, and faults in no pages. Should a pass go another
way, it gets fresh arrays where the plan does not fit.
"""

from __future__ import annotations

import bisect
import contextlib
import functools
import math
import mmap
import weakref
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from sys import getrefcount, maxsize

import numpy as np

from cnnkit.errors import TrainingError
from cnnkit.types import Array, Shape

ALIGNMENT = 64
"""Bytes; a line of the processor's cache."""
HUGE = 1 << 21
"""Bytes; from here on, larger pages are asked for, so that the processor translates fewer addresses."""
MOST_PLANNED = 10_000
"""Arrays of a pass that are planned, the first ones; to place more takes longer than the pass, which has small ones."""
PLANS = 4
"""Of how many kinds of passes the plan is kept."""
NOBODY = -1
"""Stands for the owner of memory that no request has had."""


def _unshared() -> int:
    """The reference count of an array that one list refers to."""
    probe = [np.empty(0)]
    return getrefcount(probe[0])


UNSHARED = _unshared()


@dataclass
class Request:
    """An array that a pass asks for."""

    shape: Shape
    dtype: np.dtype[np.generic]
    born: int
    died: int = maxsize
    """The number of the first request that finds it free."""
    offset: int = 0

    @property
    def size(self) -> int:
        """Bytes, in whole lines."""
        return -(-math.prod(self.shape) * self.dtype.itemsize // ALIGNMENT) * ALIGNMENT

    def overlaps(self, other: Request) -> bool:
        """Whether they share memory."""
        return self.offset < other.offset + other.size and other.offset < self.offset + self.size


@dataclass
class MemoryPlan:
    """The arrays of one kind of pass, in the order in which it asks for them."""

    requests: list[Request] = field(default_factory=list)
    watched: list[weakref.ref[Array]] = field(default_factory=list)
    """While it is recorded: the fresh arrays, to note when they become free."""
    arrays: list[Array] = field(default_factory=list)
    """Afterwards: parts of the block."""
    before: list[tuple[int, ...]] = field(default_factory=list)
    """For each request the latest ones before it that had its memory; a pass follows the one before it."""
    taken: list[bool] = field(default_factory=list)
    """For each request whether it got its array the last time. If so, all that had the memory before it were free."""
    done: bool = False

    def record(self, shape: Shape, dtype: np.dtype[np.generic]) -> Array:
        """A fresh array; its request is noted, and in time the first one that finds it free."""
        request, array = Request(shape, dtype, len(self.requests)), _fresh(shape, dtype)
        self.requests.append(request)
        self.watched.append(weakref.ref(array, functools.partial(_note_free, request, self.requests)))
        return array

    def size(self) -> int:
        """Place the requests, the largest first, each as low as it fits; how many bytes they take together."""
        placed = Placed(len(self.requests))
        for request in sorted(self.requests, key=lambda one: (-one.size, one.born)):
            request.offset = placed.put(request)
        return max((one.offset + one.size for one in self.requests), default=0)

    def place(self, block: mmap.mmap) -> None:
        """Put the arrays into a block of bytes; not into an array, for their views would refer to that alone."""
        self.watched = []
        self.arrays = [np.ndarray(one.shape, one.dtype, block, one.offset) for one in self.requests]
        self.before = self._before()
        self.taken = [True] * len(self.requests)  # nobody has the memory
        self.done = True

    def is_free(self, number: int) -> bool:
        """Whether nobody uses the memory of this request's array."""
        arrays, taken = self.arrays, self.taken
        if getrefcount(arrays[number]) > UNSHARED:
            return False
        for other in self.before[number]:
            if not taken[other]:
                return self._are_free(number)
            if getrefcount(arrays[other]) > UNSHARED:
                return False
        return True

    def all_free(self) -> bool:
        """Whether nobody uses any of the arrays."""
        return all(getrefcount(self.arrays[number]) <= UNSHARED for number in range(len(self.arrays)))

    def _are_free(self, number: int) -> bool:
        """Whether the memory is free if some requests did not get their arrays: those before them may still use it."""
        waiting, seen = list(self.before[number]), {number}
        while waiting:
            other = waiting.pop()
            if other in seen or not self.requests[other].overlaps(self.requests[number]):
                continue
            seen.add(other)
            if getrefcount(self.arrays[other]) > UNSHARED:
                return False
            if not self.taken[other]:
                waiting.extend(self.before[other])
        return True

    def _before(self) -> list[tuple[int, ...]]:
        """For each request those that have its memory when it comes, the latest first."""
        edges, owners = [0], [NOBODY]  # from each edge to the next one, the memory has one owner

        def cut(at: int) -> int:
            place = bisect.bisect_left(edges, at)
            if place == len(edges) or edges[place] != at:
                edges.insert(place, at)
                owners.insert(place, owners[place - 1])
            return place

        found: list[tuple[int, ...]] = []
        for number, one in [*enumerate(self.requests)] * 2:  # the first time only to see who owns what in the end
            first, last = cut(one.offset), cut(one.offset + one.size)
            others = set(owners[first:last]) - {number, NOBODY}
            found.append(tuple(sorted(others, key=lambda other: (number - other) % len(self.requests))))
            if one.size:
                edges[first:last], owners[first:last] = [one.offset], [number]
        return found[len(self.requests) :]


class Placed:
    """The requests that have a place, in the order of their places."""

    def __init__(self, most: int) -> None:
        self._table = np.empty((4, most), np.int64)
        """For each when it is born and dies, and the bytes where it starts and stops."""
        self._count = 0

    def put(self, request: Request) -> int:
        """The lowest place where a request meets no other that is in use at some time when it is."""
        born, died, start, stop = self._table[:, : self._count]
        met = in_use_together(born, died, request)
        starts, stops = start[met], np.maximum.accumulate(stop[met])
        offset = 0
        if starts.size and starts[0] < request.size:
            gaps = starts[1:] - stops[:-1] >= request.size
            first = int(gaps.argmax()) if gaps.any() else -1
            offset = int(stops[first])
        at = int(np.searchsorted(start, offset))
        self._count += 1
        self._table[:, at + 1 : self._count] = self._table[:, at : self._count - 1].copy()
        self._table[:, at] = request.born, request.died, offset, offset + request.size
        return offset


def in_use_together(born: Array, died: Array, request: Request) -> Array:
    """Whether those that are born and die then are in use at some time when the request is."""
    return np.asarray((born < request.died) & (request.born < died))


class Memory:
    """Hands out arrays for one pass at a time."""

    def __init__(self) -> None:
        self._plans: dict[Hashable, MemoryPlan] = {}
        self._plan = MemoryPlan()
        self._block = pages(ALIGNMENT)
        self._next = 0

    @property
    def nbytes(self) -> int:
        """What is held between passes."""
        return len(self._block)

    def planned(self) -> int:
        """What passes like the latest one take, in bytes."""
        return self._plan.size()

    def start(self, kind: Hashable) -> None:
        """A pass begins; passes of one kind ask for the same arrays in the same order."""
        last, self._plan = self._plan, self._plans.get(kind, MemoryPlan())
        if last.done:
            last.taken[self._next :] = [False] * (len(last.taken) - self._next)
            if last is not self._plan and not last.all_free():
                self._leave_block()
        self._next = 0
        if kind in self._plans:
            self._plans[kind] = self._plans.pop(kind)  # the latest one is the last to be forgotten
            if not self._plan.done:
                self._make(self._plan)
            return
        if len(self._plans) == PLANS:
            del self._plans[next(iter(self._plans))]
        self._plans[kind] = self._plan

    def empty(self, shape: Shape, dtype: np.dtype[np.generic]) -> Array:
        """Uninitialised memory of this shape in C order."""
        number, plan = self._next, self._plan
        self._next = number + 1
        if not plan.done and number < MOST_PLANNED:
            return plan.record(shape, dtype)
        if number >= len(plan.arrays):
            return np.empty(shape, dtype)
        request = plan.requests[number]
        if request.shape == shape and request.dtype is dtype and plan.is_free(number):
            plan.taken[number] = True
            return plan.arrays[number]
        plan.taken[number] = False
        return np.empty(shape, dtype)

    def _make(self, plan: MemoryPlan) -> None:
        size = plan.size()
        if size > len(self._block):
            self._block = pages(size)
            self._place_again()
        plan.place(self._block)

    def _leave_block(self) -> None:
        """Somebody still holds an array of another kind of pass: the block is his, and others begin a new one."""
        self._block = pages(len(self._block))
        self._place_again()

    def _place_again(self) -> None:
        for plan in self._plans.values():
            if plan.done:
                plan.place(self._block)


def _note_free(request: Request, requests: Sequence[Request], _: object) -> None:
    request.died = len(requests)


def _fresh(shape: Shape, dtype: np.dtype[np.generic]) -> Array:
    """An array in its own pages: the system has them back as soon as nobody refers to it, where `free` may not."""
    size = math.prod(shape) * dtype.itemsize
    return np.ndarray(shape, dtype, pages(size)) if size else np.empty(shape, dtype)


def pages(size: int, sharing: int = mmap.MAP_PRIVATE) -> mmap.mmap:
    """Zeros, in memory that forked processes have copies of, or share: mmap.MAP_SHARED. Raises MemoryError."""
    try:
        made = mmap.mmap(-1, size, sharing | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError) as error:
        raise MemoryError(f"the system did not provide {size:,} bytes") from error
    if sharing == mmap.MAP_PRIVATE and size >= HUGE and hasattr(mmap, "MADV_HUGEPAGE"):  # Linux
        with contextlib.suppress(OSError):  # a kernel without them
            made.madvise(mmap.MADV_HUGEPAGE)
    return made


@contextlib.contextmanager
def memory_errors_told() -> Iterator[None]:
    """A MemoryError of the block becomes a TrainingError that says where it was."""
    try:
        yield
    except MemoryError as error:
        raise out_of_memory(str(error), getattr(error, "__notes__", ())) from error


def out_of_memory(message: str, notes: Sequence[str]) -> TrainingError:
    """The error for a MemoryError with this message and these notes, which say where it was."""
    where = "; ".join(notes) or "between the layers"
    return TrainingError(
        f"out of memory {where}{message and ': '}{message}; use a smaller batch size, fewer workers, or smaller inputs"
    )
