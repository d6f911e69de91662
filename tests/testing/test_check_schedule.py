"""check_schedule must find each planted fault by name, and refuse no schedule that is right."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np
import pytest

from cnnkit.components import Schedule
from cnnkit.errors import CheckError, ComponentError, ConfigError
from cnnkit.testing import check_schedule


class LooksAtLoss(Schedule):
    """A right one, which needs the list of the loss from the first epoch on."""

    def factor(self, epoch: float, epochs: float) -> float:
        return 1.0

    def feedback(self, history: Mapping[str, list[float]]) -> float:
        return 0.5 if len(history["loss"]) > 3 else 1.0


def test_one_that_looks_at_the_loss_passes() -> None:
    check_schedule(LooksAtLoss())


class Negative(Schedule):
    def factor(self, epoch: float, epochs: float) -> float:
        return math.cos(math.pi * epoch / epochs)


class NotANumber(Schedule):
    def factor(self, epoch: float, epochs: float) -> float:
        return math.nan if epoch > 2 else 1.0


class Infinite(Schedule):
    def factor(self, epoch: float, epochs: float) -> float:
        return 1.0 if epoch else math.inf


class Nothing(Schedule):
    def factor(self, epoch: float, epochs: float) -> float:
        return 0.0


class AnArray(Schedule):
    def factor(self, epoch: float, epochs: float) -> float:
        return np.ones(1)  # type: ignore[return-value]  # wrong on purpose


class NoNumber(Schedule):
    def factor(self, epoch: float, epochs: float) -> float:
        return None  # type: ignore[return-value]  # wrong on purpose


class Complex(Schedule):
    def factor(self, epoch: float, epochs: float) -> float:
        return (3 - epoch) ** 0.5  # type: ignore[no-any-return]  # wrong on purpose


class WholeEpochs(Schedule):
    def factor(self, epoch: float, epochs: float) -> float:
        return [1.0, 0.5, 0.1][epoch]  # type: ignore[call-overload, no-any-return]  # wrong on purpose


class OneEpoch(Schedule):
    def factor(self, epoch: float, epochs: float) -> float:
        return 1 - 0.9 * epoch / (epochs - 1) if epoch < epochs - 1 else 0.1 + 0 / (epochs - 1)


class TooLate(Schedule):
    def factor(self, epoch: float, epochs: float) -> float:
        if epoch > 5:
            raise ConfigError("five epochs are enough")
        return 1.0


class Counts(Schedule):
    def __init__(self) -> None:
        self.calls = 0

    def factor(self, epoch: float, epochs: float) -> float:
        self.calls += 1
        return 1 / self.calls


class Since(Schedule):
    """Remembers the largest epoch where nothing shows it."""

    def __init__(self) -> None:
        seen = iter(range(10**6))
        self.ask: Callable[[], int] = lambda: next(seen)

    def factor(self, epoch: float, epochs: float) -> float:
        return 1 / (1 + self.ask())


class Clock(Schedule):
    def factor(self, epoch: float, epochs: float) -> float:
        return 1 + time.perf_counter_ns() % 1000 / 1e6


class Random(Schedule):
    def factor(self, epoch: float, epochs: float) -> float:
        return random.random()


class Falls(Schedule):
    """Changes its configuration."""

    def __init__(self, start: float = 1.0) -> None:
        self.start = start

    def factor(self, epoch: float, epochs: float) -> float:
        self.start = 0.5 if epoch > 3 else self.start
        return self.start


FAULTS: list[tuple[Schedule, str, str]] = [
    (Negative(), "factors", r"factor\(5.14286, 10\) must be a finite number, 0 or above, got -0.04"),
    (NotANumber(), "factors", "must be a finite number, 0 or above, got nan: it multiplies the rate"),
    (Infinite(), "factors", r"factor\(0, 10\) must be a finite number, 0 or above, got inf"),
    (Nothing(), "factors", "all factors of a training of 10 epochs are 0: nothing would be learned"),
    (AnArray(), "factors", "must be a number, got ndarray"),
    (NoNumber(), "factors", "must be a number, got NoneType None"),
    (Complex(), "factors", "must be a number, got complex"),
    (WholeEpochs(), "factors", r"factor\(0, 10\) raises TypeError: list indices must be integers"),
    (OneEpoch(), "factors", r"factor\(0, 1\) raises ZeroDivisionError"),
    (TooLate(), "factors", r"factor\(5.14286, 10\) is refused in the middle of a training: five epochs are enough"),
    (Counts(), "pure", "a call changed self.calls; keep nothing between calls"),
    (Since(), "pure", "asked for after later ones; it must depend on its arguments alone"),
    (Clock(), "pure", "it must depend on its arguments alone"),
    (Random(), "pure", "global random numbers were drawn"),
    (
        Falls(),
        "pure",
        "asked for after later ones; it must depend on its arguments alone",
    ),
]


@pytest.mark.parametrize(("one", "check", "reason"), FAULTS, ids=[type(one).__name__ for one, *_ in FAULTS])
def test_each_fault_is_found_and_named(one: Schedule, check: str, reason: str) -> None:
    with pytest.raises(CheckError, match=reason) as caught:
        check_schedule(one)
    assert f"fails the check {check!r}: " in str(caught.value)


class Above(Schedule):
    """Larger than 1, and a NumPy number."""

    def factor(self, epoch: float, epochs: float) -> float:
        return np.float64(3 + np.sin(epoch))


class FromZero(Schedule):
    """A warm-up whose first step is wasted."""

    def factor(self, epoch: float, epochs: float) -> float:
        return min(1.0, epoch)


class Freeze(Schedule):
    """0 at the end, and a whole number."""

    def factor(self, epoch: float, epochs: float) -> float:
        return int(epoch < epochs / 2)


class Long(Schedule):
    """Refuses short trainings at once."""

    def factor(self, epoch: float, epochs: float) -> float:
        if epochs < 5:
            raise ConfigError("Long needs 5 epochs or more")
        return float(Fraction(9, 10) ** int(epoch))


class Restarts(Schedule):
    def __init__(self, every: float = 1.5) -> None:
        self.every = every

    def factor(self, epoch: float, epochs: float) -> float:
        return (1 + math.cos(math.pi * (epoch % self.every) / self.every)) / 2


@pytest.mark.parametrize("one", [Above(), FromZero(), Freeze(), Long(), Restarts()], ids=repr)
def test_none_that_is_right_is_refused(one: Schedule) -> None:
    check_schedule(one)


def test_arguments() -> None:
    check_schedule("Cosine(warmup=12)", epochs=20)
    with pytest.raises(CheckError, match=r"is refused: .*warms up for 12 epochs.*; give the epochs of a training"):
        check_schedule("Cosine(warmup=12)")
    with pytest.raises(ComponentError, match="there is no schedule named 'Cosin'"):
        check_schedule("Cosin()")
    with pytest.raises(ConfigError, match="epochs must be a whole number, 1 or above, got 0"):
        check_schedule("Constant()", 0)
