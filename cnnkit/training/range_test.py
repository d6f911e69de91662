"""The learning-rate range test: at which rates a network learns."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from cnnkit.components.checks import positive, whole
from cnnkit.errors import ConfigError, TrainingError
from cnnkit.network import Network
from cnnkit.training.steps import accumulated, clipped, endless_updates
from cnnkit.training.trainer import Trainer
from cnnkit.types import Data

SMOOTHING = 0.9
"""How much of the smoothed loss a step keeps."""
DIVERGED = 3.0
"""The test ends where the smoothed loss is this many times its lowest value."""
SAFE = 10.0
"""By how much the suggested rate is below that of the lowest loss."""
FEWEST = 10
"""Steps by which the loss before all training is known."""
FALLEN = 0.97
"""What share of that it must fall to: the losses of batches differ by as much."""


@dataclass
class RangeTest:
    """What a training with a growing learning rate shows."""

    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    """Of each step's batch, before its update."""
    smoothed: list[float] = field(default_factory=list)

    @property
    def suggestion(self) -> float:
        """A tenth of the rate at which the smoothed loss is lowest: beyond it, training is about to break down.

        Raises TrainingError if the loss does not fall.
        """
        lowest = int(np.argmin(self.smoothed)) if self.smoothed else 0
        if lowest < FEWEST or self.smoothed[lowest] > FALLEN * self.smoothed[FEWEST]:
            raise TrainingError(
                f"no learning rate can be suggested: expected a falling loss, it did not fall in {len(self.rates)} "
                "steps; start with lower rates, or check with --overfit-one-batch whether the network learns at all"
            )
        return self.rates[lowest] / SAFE


def range_test(
    trainer: Trainer, model: Network, data: Data, *, low: float = 1e-6, high: float = 10.0, steps: int = 200
) -> RangeTest:
    """Train for a few steps with rates that grow from `low` to `high`, and watch the loss.

    rate of step n = low * (high / low) ^ (n / (steps - 1)),  n = 0 .. steps - 1

    It ends early where the loss leaves all bounds; schedule and averages play no part. The model is changed: give one
    that is not needed. Raises ConfigError for rates that do not grow and for fewer than 11
    steps, and what `Trainer.prepare` raises.
    Source: Smith (2017), Cyclical Learning Rates for Training Neural Networks, section 3.3; the suggestion is that of
    Howard, Gugger (2020), Deep Learning for Coders, chapter 5.
    """
    if positive("low", low) >= positive("high", high):
        raise ConfigError(f"expected low < high, got low = {low:g} and high = {high:g}")
    whole("steps", steps, at_least=FEWEST + 1)
    checked = trainer.prepare(model, data)
    found, total = RangeTest(), 0.0
    with trainer.session(model, checked.train, checked.labels) as session:
        each = endless_updates(trainer, checked.train.y)
        for number, (key, batches) in zip(range(steps), each, strict=False):
            rate = low * (high / low) ** (number / (steps - 1))
            sums, norm = accumulated(session, batches, key)
            loss = sums.loss / sums.count
            total = SMOOTHING * total + (1 - SMOOTHING) * loss
            smoothed = total / (1 - SMOOTHING ** (number + 1))
            lowest = min(found.smoothed, default=math.inf)
            if not (math.isfinite(smoothed) and math.isfinite(norm)) or smoothed > DIVERGED * lowest:
                break
            for values, value in ((found.rates, rate), (found.losses, loss), (found.smoothed, smoothed)):
                values.append(value)
            scale, _ = clipped(session, norm, trainer)
            session.update(rate, number + 1, scale)
    return found
