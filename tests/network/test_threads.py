"""Threads of a prediction: results in order, the first error, and an end as soon as somebody wants one."""

from __future__ import annotations

import _thread
import signal
import threading
import time

import numpy as np
import pytest

from cnnkit.network.execution.threads import in_threads


def busy(_: int) -> None:
    """Computes for ever, in many small steps."""
    while True:
        time.sleep(0.001)


def test_results_are_in_order() -> None:
    assert in_threads(3, lambda n: n * n, range(50)) == [n * n for n in range(50)]


def test_what_numpy_is_told_to_ignore_is_ignored_in_threads() -> None:
    large = np.full(4, 3e38, np.float32)
    with np.errstate(over="ignore"):
        assert np.isinf(in_threads(2, lambda factor: large * np.float32(factor), [2, 3])).all()
    with pytest.raises(RuntimeWarning, match=r"^overflow encountered in multiply$"):
        in_threads(2, lambda factor: large * np.float32(factor), [2, 3])


@pytest.mark.parametrize("workers", [1, 3])
def test_the_error_is_that_of_the_first_item_that_fails(workers: int) -> None:
    def fail_late(number: int) -> None:
        if number % 2:
            time.sleep(0.05 if number == 1 else 0)
            raise ValueError(number)

    for _ in range(5):
        with pytest.raises(ValueError, match=r"^1$"):
            in_threads(workers, fail_late, range(20))


def test_after_an_error_nothing_is_begun() -> None:
    begun = []

    def fail(number: int) -> None:
        begun.append(number)
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        in_threads(2, fail, range(100))
    assert len(begun) <= 2


def test_an_interruption_ends_what_is_on_its_way() -> None:
    def interrupt(number: int) -> None:
        if number == 1:
            _thread.interrupt_main()
        busy(number)

    with pytest.raises(KeyboardInterrupt):
        in_threads(2, interrupt, range(5))
    assert not [thread for thread in threading.enumerate() if thread.name == "cnnkit"]


def test_an_interruption_does_not_wait_for_a_call_that_takes_long() -> None:
    ended, main = threading.Event(), threading.main_thread().ident or 0

    def call(_: int) -> None:
        signal.pthread_kill(main, signal.SIGINT)
        ended.wait()  # in which nothing raises an error

    with pytest.raises(KeyboardInterrupt):
        in_threads(1, call, [0], apart=True)
    assert not ended.is_set()
    ended.set()
