"""Schedules: closed-form values at the start, inside and at the end."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from cnnkit.components import Schedule
from cnnkit.errors import ConfigError
from cnnkit.schedules import SCHEDULES, Constant, Cosine, OneCycle, Step


def test_constant_is_one() -> None:
    assert {Constant().factor(epoch, 10) for epoch in (0.0, 3.7, 9.99)} == {1.0}


def test_cosine_falls_from_one_to_final() -> None:
    schedule = Cosine(final=0.1)
    assert schedule.factor(0.0, 10) == 1.0
    assert schedule.factor(5.0, 10) == pytest.approx(0.55)
    assert schedule.factor(10.0 - 1e-9, 10) == pytest.approx(0.1)
    assert Cosine().factor(2.5, 10) == pytest.approx((1 + 0.5**0.5) / 2)


def test_cosine_warms_up_in_a_straight_line_and_never_from_zero() -> None:
    schedule = Cosine(warmup=2.0)
    assert schedule.factor(0.0, 10) == pytest.approx(0.01)
    assert schedule.factor(1.0, 10) == pytest.approx(0.505)
    assert schedule.factor(2.0 - 1e-9, 10) == pytest.approx(1.0)
    assert schedule.factor(2.0, 10) == 1.0
    assert schedule.factor(6.0, 10) == pytest.approx(0.5)


def test_a_warm_up_may_be_shorter_than_an_epoch() -> None:
    assert Cosine(warmup=0.5).factor(0.25, 1) == pytest.approx(0.505)
    assert Cosine(warmup=0.5).factor(0.75, 1) == pytest.approx(0.5)


def test_step_falls_at_whole_multiples() -> None:
    schedule = Step(3, gamma=0.5)
    assert [schedule.factor(epoch, 9) for epoch in (0.0, 2.999, 3.0, 5.9, 6.0)] == [1.0, 1.0, 0.5, 0.5, 0.25]
    assert Step(2).factor(2.0, 4) == pytest.approx(0.1)


def test_a_warm_up_as_long_as_the_training_is_refused() -> None:
    with pytest.raises(ConfigError) as error:
        Cosine(warmup=3).factor(0.0, 3)
    assert str(error.value) == (
        "Cosine(warmup=3) warms up for 3 epochs and needs more than that, this training has 3: "
        "shorten the warm-up or train longer"
    )


def test_one_cycle_goes_up_to_one_and_down_to_almost_nothing() -> None:
    schedule = OneCycle(warmup=0.25, start=0.1, final=0.01)
    assert schedule.factor(0.0, 8) == pytest.approx(0.1)
    assert schedule.factor(1.0, 8) == pytest.approx(0.55)
    assert schedule.factor(2.0, 8) == pytest.approx(1.0)
    assert schedule.factor(5.0, 8) == pytest.approx(0.505)
    assert schedule.factor(8.0 - 1e-9, 8) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OneCycle(warmup=1.0), "warmup must be a number with 0 <= warmup < 1, got 1.0"),
        (lambda: OneCycle(warmup=0.0), "warmup must be a number above 0, got 0.0"),
        (lambda: OneCycle(start=-1), "start must be a number, 0 or above, got -1"),
        (lambda: OneCycle(final=-1), "final must be a number, 0 or above, got -1"),
        (lambda: Cosine(warmup=-1), "warmup must be a number, 0 or above, got -1"),
        (lambda: Cosine(final=-0.1), "final must be a number, 0 or above, got -0.1"),
        (lambda: Step(0), "every must be a whole number, 1 or above, got 0"),
        (lambda: Step(1, gamma=0), "gamma must be a number above 0, got 0"),
    ],
)
def test_arguments_are_checked(make: Callable[[], Schedule], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        make()


def test_the_built_in_schedules_are_listed() -> None:
    assert [schedule.__name__ for schedule in SCHEDULES] == ["Constant", "Cosine", "OneCycle", "Step"]


def test_one_cycle_by_default() -> None:
    schedule = OneCycle()
    assert schedule.factor(0.0, 10) == pytest.approx(0.04)
    assert schedule.factor(3.0, 10) == pytest.approx(1.0)
    assert schedule.factor(10.0 - 1e-9, 10) == pytest.approx(0.0001)
