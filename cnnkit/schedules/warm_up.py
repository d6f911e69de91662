"""How a training begins with small steps, in front of any schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from cnnkit.components.checks import from_to, positive
from cnnkit.components.training_contracts import Schedule
from cnnkit.errors import ConfigError
from cnnkit.schedules.parts import of_schedule, since
from cnnkit.types import Example

WARMUP_START = 0.01
"""Factor of the first step of a warm-up: small enough to be harmless, and not 0, which would waste the step."""


def ramp(done: float, start: float = WARMUP_START) -> float:
    """The factor of a warm-up of which the share `done` is over."""
    return start + (1 - start) * done


def refuse_short(schedule: Schedule, warmup: float, epochs: float) -> None:
    """Raises ConfigError unless a training is longer than its warm-up."""
    if warmup >= epochs:
        raise ConfigError(
            f"{schedule!r} warms up for {warmup:g} epochs and needs more than that, this training has {epochs:g}: "
            "shorten the warm-up or train longer"
        )


class Warmup(Schedule):
    """A straight line up to the first factor of another schedule, which then has the rest of the training.

    factor = (start + (1 - start) * epoch / warmup) * schedule(0, epochs - warmup)     while epoch < warmup
    factor = schedule(epoch - warmup, epochs - warmup)                                  after it

    schedule: such as Step(30); warmup: in epochs, may be fractional; start: the share of the first factor with which
    the first step begins. Raises ConfigError for warmup <= 0 or start outside [0, 1], and when asked for a factor of a
    training that is not longer than its warm-up.
    Source: Goyal et al. (2017), Accurate, Large Minibatch SGD, section 2.2.
    """

    twin = "SequentialLR"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "Warmup(Exponential(0.9), 5)",
            (),
            "[LinearLR(optimizer, 0.01, total_iters=5), ExponentialLR(optimizer, 0.9)], [5]",
        ),
        Example(
            "Warmup(Polynomial(), 8, start=0.25)",
            (),
            "[LinearLR(optimizer, 0.25, total_iters=8), PolynomialLR(optimizer, 192)], [8]",
        ),
        Example("Warmup(Cosine(), 0.5, start=0.0)", ()),
    )

    def __init__(self, schedule: Schedule, warmup: float = 1.0, start: float = WARMUP_START) -> None:
        self.schedule = of_schedule("schedule", schedule)
        self.warmup = positive("warmup", warmup)
        self.start = from_to("start", start, 0.0, 1.0)

    def begin(self, quantities: Mapping[str, bool]) -> None:
        self.schedule.begin(quantities)

    def factor(self, epoch: float, epochs: float) -> float:
        refuse_short(self, self.warmup, epochs)
        if epoch < self.warmup:
            return ramp(epoch / self.warmup, self.start) * self.schedule.factor(0.0, epochs - self.warmup)
        return self.schedule.factor(epoch - self.warmup, epochs - self.warmup)

    def feedback(self, history: Mapping[str, list[float]]) -> float:
        return self.schedule.feedback(since(history, self.warmup))
