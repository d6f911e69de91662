"""Planned memory: arrays that are in use together never share any, whatever a pass asks for, keeps and drops."""

from __future__ import annotations

import tracemalloc
from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from cnnkit.network.execution import memory_plan as module
from cnnkit.network.execution.memory_plan import ALIGNMENT, PLANS, Memory
from cnnkit.types import Array, Shape

SEEDS = range(30)
FLOAT, BYTE = np.dtype(np.float32), np.dtype(np.bool_)
LARGE = (1 << 18,)
"""Of float32, a megabyte."""


@dataclass(frozen=True)
class Take:
    """Ask for an array, write into all of it, and keep it under a number."""

    number: int
    shape: Shape
    dtype: np.dtype[np.generic]


Program = list[Take | int]
"""What a pass does; a number alone drops the array that is kept under it."""


def random_program(rng: np.random.Generator, first: int = 0) -> Program:
    """With arrays of any lifetime, many of them short, that are all dropped in the end."""
    program: Program = []
    kept: list[int] = []
    for number in range(first, first + 20):
        shape = tuple(int(n) for n in rng.integers(0 if rng.integers(8) == 0 else 1, 9, rng.integers(1, 4)))
        program.append(Take(number, shape, BYTE if rng.integers(3) == 0 else FLOAT))
        kept.append(number)
        while kept and rng.random() < 0.5:
            program.append(kept.pop(int(rng.integers(len(kept)))))
    return program + kept


class Passes:
    """Runs programs; each array holds a number of its own, which must be there for as long as it is kept."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.kept: dict[int, tuple[Array | None, Array, int]] = {}
        self._stamp = 0

    def run(self, program: Program, kind: Hashable = "") -> None:
        self.memory.start(kind)
        for step in program:
            if isinstance(step, Take):
                self._take(step)
            else:
                self.drop(step)

    def drop(self, number: int) -> None:
        self.check()
        del self.kept[number]

    def keep_as(self, first: int, numbers: set[int]) -> None:
        """Give these arrays higher numbers, so that a program can run again."""
        for number in numbers:
            self.kept[first + number] = self.kept.pop(number)

    def check(self) -> None:
        for number, (_, data, stamp) in self.kept.items():
            assert (data == stamp).all(), f"array {number} was overwritten"

    def _take(self, step: Take) -> None:
        array = self.memory.empty(step.shape, step.dtype)
        assert array.shape == step.shape
        assert array.dtype == step.dtype
        assert array.flags.c_contiguous
        self._stamp = self._stamp % 255 + 1
        data = array.reshape(-1).view(np.uint8)
        data[...] = self._stamp
        self.kept[step.number] = array if step.number % 2 else None, data, self._stamp  # or by a view of it alone
        self.check()


def planned(program: Program, kind: Hashable = "") -> Passes:
    """After a pass that was recorded and one that was planned."""
    passes = Passes()
    passes.run(program, kind)
    passes.run(program, kind)
    return passes


def without_drops(program: Program, numbers: set[int]) -> Program:
    return [step for step in program if step not in numbers]


def random_numbers(program: Program, rng: np.random.Generator, count: int = 4) -> set[int]:
    """Of some of its arrays, none of them empty."""
    numbers = [step.number for step in program if isinstance(step, Take) and 0 not in step.shape]
    return {int(n) for n in rng.choice(numbers, count, replace=False)}


def chain(count: int, shape: Shape = LARGE) -> Program:
    """Each array is dropped as soon as the next one is there."""
    program: Program = [Take(0, shape, FLOAT)]
    for number in range(1, count):
        program += [Take(number, shape, FLOAT), number - 1]
    return [*program, count - 1]


# Nothing is overwritten


@pytest.mark.parametrize("seed", SEEDS)
def test_passes_that_repeat(seed: int) -> None:
    program, passes = random_program(np.random.default_rng(seed)), Passes()
    for _ in range(5):
        passes.run(program)


@pytest.mark.parametrize("seed", SEEDS)
def test_passes_of_several_kinds(seed: int) -> None:
    """More than are kept, so that some are planned again; the block grows on the way."""
    rng, passes = np.random.default_rng(seed), Passes()
    programs = [random_program(rng) for _ in range(PLANS + 2)]
    for kind in rng.integers(0, PLANS + 2, 20):
        passes.run(programs[kind], int(kind))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pass_with_other_shapes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = random_program(rng)
    others = random_numbers(program, rng)
    changed = [
        replace(step, shape=(*step.shape, 1 + step.number % 2))
        if isinstance(step, Take) and step.number in others
        else step
        for step in program
    ]
    passes = planned(program)
    for one in (changed, program, changed):
        passes.run(one)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pass_with_other_dtypes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = random_program(rng)
    others = random_numbers(program, rng)
    changed = [
        replace(step, dtype=FLOAT if step.dtype == BYTE else BYTE)
        if isinstance(step, Take) and step.number in others
        else step
        for step in program
    ]
    passes = planned(program)
    for one in (changed, program, changed):
        passes.run(one)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pass_with_more_requests_than_planned(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program, more = random_program(rng), random_program(rng, first=100)
    passes = planned(program)
    at = int(rng.integers(len(program)))
    for one in (program + more, program[:at] + more + program[at:], program):
        passes.run(one)


@pytest.mark.parametrize("seed", SEEDS)
def test_of_many_arrays_only_the_first_are_planned(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PLANNED", 7)
    program, passes = random_program(np.random.default_rng(seed)), Passes()
    for _ in range(5):
        passes.run(program)
    assert len(passes.memory._plan.requests) == 7


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pass_that_ends_early(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = random_program(rng)
    passes = planned(program)
    passes.run(program)
    for number in range(1, 4):
        passes.run(program[: int(rng.integers(len(program)))])
        passes.keep_as(1000 * number, set(passes.kept))  # what it had not dropped yet
        for _ in range(2):
            passes.run(program)
        passes.kept.clear()


@pytest.mark.parametrize("seed", SEEDS)
def test_arrays_that_are_kept_longer_than_planned(seed: int) -> None:
    """To the end of the pass."""
    rng = np.random.default_rng(seed)
    program = random_program(rng)
    passes = planned(program)
    for _ in range(3):
        longer = random_numbers(program, rng)
        passes.run([*without_drops(program, longer), *longer])
        passes.run(program)


@pytest.mark.parametrize("seed", SEEDS)
def test_arrays_that_are_kept_beyond_the_end_of_the_pass(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = random_program(rng)
    passes = planned(program)
    for _ in range(3):
        longer = random_numbers(program, rng)
        passes.run(without_drops(program, longer))
        passes.keep_as(1000, longer)
        passes.run(program)
        passes.run(program)
        for number in list(passes.kept):
            passes.drop(number)


@pytest.mark.parametrize("seed", SEEDS)
def test_arrays_that_are_kept_while_a_pass_of_another_kind_runs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program, other = random_program(rng), random_program(rng)
    passes = planned(program, "one")
    passes.run(other, "other")
    passes.run(other, "other")
    longer = random_numbers(program, rng)
    passes.run(without_drops(program, longer), "one")
    passes.keep_as(1000, longer)
    for kind in ("other", "fresh", "fresh", "other"):
        passes.run(other, kind)
    passes.check()


def test_an_array_that_is_kept_longer_keeps_its_memory_from_all_that_follow() -> None:
    """The next one, which was to take it over, and the one after that."""
    passes = planned([Take(0, (64,), FLOAT), 0, Take(1, (64,), FLOAT), 1, Take(2, (64,), FLOAT), 2])
    passes.run([Take(0, (64,), FLOAT), Take(1, (64,), FLOAT), Take(2, (64,), FLOAT), 0, 1, 2])


def test_positive_control_memory_that_is_not_free_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNSHARED", 1 << 30)
    monkeypatch.setattr(module, "in_use_together", lambda born, died, request: np.zeros(len(born), bool))
    for seed in SEEDS:
        with pytest.raises(AssertionError, match="was overwritten"):
            test_passes_that_repeat(seed)


def test_positive_control_what_is_kept_too_long_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan is right, but nobody looks whether the pass goes by it."""
    passes = planned(chain(8))
    monkeypatch.setattr(module, "UNSHARED", 1 << 30)
    passes.run(chain(8))
    with pytest.raises(AssertionError, match="was overwritten"):
        passes.run([*without_drops(chain(8), {2}), 2])


# Little memory is taken


def test_arrays_that_die_early_share_memory() -> None:
    passes = planned(chain(20))
    array = 4 * LARGE[0]
    assert 2 * array <= passes.memory.nbytes < 3 * array


def test_the_block_is_no_larger_than_the_largest_kind_needs() -> None:
    passes = planned(chain(3, (1000,)), "small")
    for kind, count in (("large", 20), ("middle", 5)):
        passes.run(chain(count), kind)
        passes.run(chain(count), kind)
    assert passes.memory.nbytes < 3 * 4 * LARGE[0]


def largest_allocation(passes: Passes, program: Program, kind: Hashable = "") -> int:
    """What a pass takes at its peak, in bytes."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        passes.memory.start(kind)
        kept: dict[int, Array] = {}
        for step in program:
            if isinstance(step, Take):
                kept[step.number] = passes.memory.empty(step.shape, step.dtype)
            else:
                del kept[step]
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_the_third_pass_allocates_nothing() -> None:
    assert largest_allocation(planned(chain(20)), chain(20)) < 64 << 10


def test_passes_of_kinds_that_take_turns_allocate_nothing() -> None:
    passes = planned(chain(20), "large")
    passes.run(chain(10), "other")
    passes.run(chain(10), "other")
    for _ in range(2):
        assert largest_allocation(passes, chain(20), "large") < 64 << 10
        assert largest_allocation(passes, chain(10), "other") < 64 << 10


def test_positive_control_an_allocation_is_noticed() -> None:
    other = chain(20)
    other[0] = Take(0, (LARGE[0], 2), FLOAT)
    assert largest_allocation(planned(chain(20)), other) > 4 * LARGE[0]


# Places


def places(passes: Passes, program: Program, kind: Hashable = "") -> list[int]:
    """Where the arrays of a pass begin, if they are not empty."""
    passes.memory.start(kind)
    kept: dict[int, Array] = {}
    found = []
    for step in program:
        if isinstance(step, Take):
            kept[step.number] = passes.memory.empty(step.shape, step.dtype)
            found += [kept[step.number].ctypes.data] if kept[step.number].size else []
        else:
            del kept[step]
    return found


def in_block(passes: Passes, places: list[int]) -> list[bool]:
    block = np.frombuffer(passes.memory._block, np.uint8)
    return [0 <= place - block.ctypes.data < block.nbytes for place in places]


@pytest.mark.parametrize("seed", SEEDS)
def test_each_array_starts_with_a_line_of_the_cache(seed: int) -> None:
    program, passes = random_program(np.random.default_rng(seed)), Passes()
    for _ in range(3):
        assert all(place % ALIGNMENT == 0 for place in places(passes, program))


@pytest.mark.parametrize("seed", SEEDS)
def test_from_the_second_pass_on_all_arrays_are_parts_of_the_block(seed: int) -> None:
    program, passes = random_program(np.random.default_rng(seed)), Passes()
    passes.run(program)
    second, third = (places(passes, program) for _ in range(2))
    assert all(in_block(passes, second))
    assert second == third


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pass_that_went_another_way_costs_later_ones_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = random_program(rng)
    passes = planned(program)
    longer = random_numbers(program, rng)
    passes.run([*without_drops(program, longer), *longer])
    passes.run(program[: len(program) // 2])
    passes.kept.clear()
    assert all(in_block(passes, places(passes, program)))


@pytest.mark.parametrize("shape", [(0,), (0, 5), (3, 0, 2)], ids=str)
def test_passes_of_nothing_but_empty_arrays(shape: Shape) -> None:
    passes = Passes()
    for _ in range(4):
        passes.run([Take(0, shape, FLOAT), Take(1, shape, BYTE), 0, Take(2, shape, FLOAT), 1, 2])
    assert passes.memory.nbytes <= ALIGNMENT


def test_passes_without_requests() -> None:
    passes = planned([])
    passes.run(chain(5, (10,)))


def test_few_kinds_are_kept() -> None:
    passes, program = Passes(), chain(4, (100,))
    for kind in range(PLANS + 3):
        passes.run(program, kind)
        passes.run(program, kind)
    for kind in range(PLANS + 2, 2, -1):
        assert all(in_block(passes, places(passes, program, kind)))
    assert not any(in_block(passes, places(passes, program, 0)))  # the oldest, which is recorded again
    assert len(passes.memory._plans) == PLANS


def test_passes_of_several_kinds_stay_in_one_block() -> None:
    """Nobody holds anything, so nobody has to be left a block."""
    program, passes = random_program(np.random.default_rng(0)), Passes()
    for kind in ("a", "b", "a", "b"):
        passes.run(program, kind)
    block = passes.memory._block
    for kind in ("a", "b", "a", "b"):
        passes.run(program, kind)
    assert passes.memory._block is block
