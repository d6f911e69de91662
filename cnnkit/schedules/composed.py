"""Schedules made of others: one after the other, or all at once."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from typing import ClassVar

from cnnkit.components.training_contracts import Schedule
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError
from cnnkit.schedules.parts import growing, of_schedule, since
from cnnkit.types import Example


class Sequence(Schedule):
    """One schedule after the other: each begins anew at its milestone.

    factor = schedules[i](epoch - milestones[i - 1], milestones[i] - milestones[i - 1])     i: milestones up to epoch

    schedules: such as [Constant(), Cosine()]; milestones: where the second one begins, and those after it, in epochs;
    the first begins at 0, and the last ends with the training. Raises ConfigError unless there is one milestone less
    than schedules, and they are above 0 and grow; and when asked for a factor of a training that ends before its last
    milestone.
    Source: SequentialLR of PyTorch.
    """

    twin = "SequentialLR"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "Sequence([Constant(), Exponential(0.9), Polynomial()], [5, 60])",
            (),
            "[ConstantLR(optimizer, 1.0), ExponentialLR(optimizer, 0.9), PolynomialLR(optimizer, 140)], [5, 60]",
        ),
        Example("Sequence([Cosine(), OneCycle()], [2.5])", ()),
        Example("Sequence([Constant()], [])", ()),
    )

    def __init__(self, schedules: list[Schedule], milestones: list[float]) -> None:
        if not isinstance(schedules, list | tuple) or not schedules:
            raise ConfigError(f"schedules must be a list, such as [Constant(), Cosine()], got {shown(schedules)}")
        self.schedules = [of_schedule(f"schedules[{i}]", one) for i, one in enumerate(schedules)]
        has_none = isinstance(milestones, list | tuple) and not milestones
        self.milestones = [] if has_none else list(growing("milestones", milestones))
        if len(self.milestones) != len(self.schedules) - 1:
            raise ConfigError(
                f"milestones must be one less than schedules, got {len(self.milestones)} and {len(self.schedules)}: "
                f"milestones={shown(milestones)}"
            )

    def begin(self, quantities: Mapping[str, bool]) -> None:
        for schedule in self.schedules:
            schedule.begin(quantities)

    def factor(self, epoch: float, epochs: float) -> float:
        if self.milestones and self.milestones[-1] >= epochs:
            raise ConfigError(
                f"{self!r} goes on after epoch {self.milestones[-1]:g}, this training has {epochs:g}: move its "
                "milestones or train longer"
            )
        begins, ends = [0.0, *self.milestones], [*self.milestones, epochs]
        if not epoch:  # what no part can do is told before any work
            for schedule, begin, end in zip(self.schedules, begins, ends, strict=True):
                schedule.factor(0.0, end - begin)
        now = bisect.bisect_right(self.milestones, epoch)
        return self.schedules[now].factor(epoch - begins[now], ends[now] - begins[now])

    def feedback(self, history: Mapping[str, list[float]]) -> float:
        done = max(map(len, history.values()), default=0)
        now = bisect.bisect_right(self.milestones, done)
        return self.schedules[now].feedback(since(history, [0.0, *self.milestones][now]))


class Product(Schedule):
    """The factors of several schedules, multiplied: factor = schedule_1 * schedule_2 * ...

    Raises ConfigError for no schedules.
    Source: ChainedScheduler of PyTorch.
    """

    twin = "ChainedScheduler"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "Product(Exponential(0.99), MultiStep([50, 120]))",
            (),
            "[ExponentialLR(optimizer, 0.99), MultiStepLR(optimizer, [50, 120])]",
        ),
        Example("Product(Cosine(final=0.5))", ()),
    )

    def __init__(self, *schedules: Schedule) -> None:
        if not schedules:
            raise ConfigError("Product needs schedules, such as Product(Cosine(), Step(30)), got none")
        self.schedules = tuple(of_schedule(f"schedules[{i}]", one) for i, one in enumerate(schedules))

    def begin(self, quantities: Mapping[str, bool]) -> None:
        for schedule in self.schedules:
            schedule.begin(quantities)

    def factor(self, epoch: float, epochs: float) -> float:
        return math.prod(schedule.factor(epoch, epochs) for schedule in self.schedules)

    def feedback(self, history: Mapping[str, list[float]]) -> float:
        return math.prod(schedule.feedback(history) for schedule in self.schedules)
