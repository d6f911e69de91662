"""Memory that is planned: arrays that are in use never overlap, and in the steady state nothing is allocated."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from cnnkit.network import memory
from cnnkit.network.memory import ALIGNMENT, PLANS, Memory
from cnnkit.types import Array, Shape

DTYPES = np.dtype(np.float32), np.dtype(np.bool_)


def program(seed: int) -> list[tuple[Shape, np.dtype[np.generic], int]]:
    """Shapes and dtypes of requests, and after how many further requests each is dropped."""
    rng = np.random.default_rng(seed)
    shapes = [tuple(int(n) for n in rng.integers(0, 12, int(rng.integers(1, 4)))) for _ in range(40)]
    return [(shape, DTYPES[int(rng.integers(2))], int(rng.geometric(0.3))) for shape in shapes]


def run(owner: Memory, steps: list[tuple[Shape, np.dtype[np.generic], int]], kind: str = "tile") -> None:
    """Every array keeps what was written into it for as long as it is held."""
    owner.start(kind)
    held: list[tuple[int, Array, int]] = []
    for number, (shape, dtype, life) in enumerate(steps):
        held = [one for one in held if one[0] > number]
        array = owner.empty(shape, dtype)
        assert (array.shape, array.dtype) == (shape, dtype)
        array[...] = number % 2 if dtype == np.bool_ else number
        held.append((number + life, array.reshape(-1)[:], number))  # a view of it keeps it as well
        del array
        for _, view, written in held:
            assert (view == (written % 2 if view.dtype == np.bool_ else written)).all(), "overwritten while in use"


@pytest.mark.parametrize("seed", range(30))
def test_arrays_in_use_are_never_overwritten(seed: int) -> None:
    owner, steps = Memory(), program(seed)
    longer = [(shape, dtype, life + 20) for shape, dtype, life in steps]
    for way in (steps, steps, longer, steps, steps[:20], [*steps, *steps[:5]], steps[::-1], steps):
        run(owner, way)
    run(owner, steps[::-1], "another kind")
    run(owner, steps[::-1], "another kind")
    run(owner, steps)


def test_positive_control_memory_that_is_not_free_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    owner, steps = Memory(), program(0)
    run(owner, steps)
    run(owner, steps)
    monkeypatch.setattr(memory, "UNSHARED", 1_000)
    with pytest.raises(AssertionError, match="overwritten while in use"):
        run(owner, [(shape, dtype, life + 20) for shape, dtype, life in steps])


def chain(owner: Memory) -> list[int]:
    """A pass whose arrays live until the next one is there; the addresses of all."""
    owner.start("chain")
    last, addresses = None, []
    for _ in range(20):
        last = owner.empty((1000,), DTYPES[0])
        addresses.append(last.ctypes.data)
    return addresses


def test_the_block_holds_what_is_in_use_at_its_peak() -> None:
    owner = Memory()
    chain(owner)
    chain(owner)
    assert 2 * 4000 <= owner.nbytes <= 2 * (4000 + ALIGNMENT)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        addresses = chain(owner)
        assert tracemalloc.get_traced_memory()[1] - before < 4000
    finally:
        tracemalloc.stop()
    assert len(set(addresses)) == 2
    assert all(address % ALIGNMENT == 0 for address in addresses)


def test_an_array_that_outlives_its_pass_is_left_alone() -> None:
    owner = Memory()
    for _ in range(2):
        owner.start("tile")
        kept = owner.empty((100,), DTYPES[0])
        kept[...] = 7
    owner.start("tile")
    again = owner.empty((100,), DTYPES[0])
    again[...] = 8
    assert (kept == 7).all()


def test_an_array_that_outlives_its_pass_is_left_alone_by_passes_of_another_kind() -> None:
    owner = Memory()
    for kind in "abab":
        owner.start(kind)
        kept = owner.empty((100,), DTYPES[0])
        kept[...] = 7
        other = owner.empty((100,), DTYPES[0])
        del other
    owner.start("a")
    again = [owner.empty((100,), DTYPES[0]) for _ in range(2)]
    for array in again:
        array[...] = 8
    assert (kept == 7).all()


def test_a_pass_that_is_cut_short_hides_nothing() -> None:
    """The second array would have checked the first; it is not asked for, and the first is still held."""
    owner = Memory()

    def whole_pass() -> None:
        owner.start("tile")
        first = owner.empty((100,), DTYPES[0])
        del first
        second = owner.empty((100,), DTYPES[0])
        del second

    for _ in range(3):
        whole_pass()
    owner.start("tile")
    held = owner.empty((100,), DTYPES[0])
    held[...] = 7
    for _ in range(2):
        owner.start("tile")
        owner.empty((100,), DTYPES[0])[...] = 8
        owner.empty((100,), DTYPES[0])[...] = 9
    assert (held == 7).all()


def test_few_plans_are_kept() -> None:
    owner = Memory()
    for kind in range(3 * PLANS):
        owner.start(kind)
        owner.empty((10,), DTYPES[0])
    assert len(owner._plans) == PLANS
