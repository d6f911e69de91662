"""Schedules that look at what the training has reached."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from cnnkit.components.checks import from_to, in_range, not_negative, one_of, positive, text, whole
from cnnkit.components.quantities import MONITORED, greater_is_better
from cnnkit.components.training_contracts import Schedule
from cnnkit.types import Example


class ReduceOnPlateau(Schedule):
    """Lowers the learning rate whenever a quantity of the history has not improved for a while.

    After each epoch, with factor = 1 and bad = 0 before the first:
    bad = 0                                              if its value is better than the best before it
    bad = bad + 1                                        if not
    bad = 0                                              in the `cooldown` epochs after a reduction
    factor = max(factor * gamma, final), bad = 0         if bad > patience

    A value is better if it is beyond best * (1 +- threshold) for "rel", best +- threshold for "abs", on the side on
    which the quantity improves. The factors follow from the history alone, so that a resumed training has the same.
    monitor: such as "validation_loss". Raises ConfigError for gamma outside (0, 1), counts that are no whole numbers
    of at least 0, threshold < 0, another threshold_mode, or final outside [0, 1]; and before the first epoch for a
    quantity that the history will not have.
    Source: ReduceLROnPlateau of PyTorch.
    """

    twin = "ReduceLROnPlateau"
    examples: ClassVar[tuple[Example, ...]] = (
        Example('ReduceOnPlateau("loss")', (), "eps=0"),
        Example('ReduceOnPlateau("loss", gamma=0.5, patience=2)', (), "factor=0.5, patience=2, eps=0"),
        Example(
            'ReduceOnPlateau("accuracy", 0.7, patience=0, cooldown=3)',
            (),
            "'max', 0.7, 0, cooldown=3, eps=0",
        ),
        Example(
            'ReduceOnPlateau("loss", 0.5, 1, 0.05, threshold_mode="abs", final=0.01)',
            (),
            "'min', 0.5, 1, 0.05, threshold_mode='abs', min_lr=0.01, eps=0",
        ),
    )

    def __init__(
        self,
        monitor: str = "validation_loss",
        gamma: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        final: float = 0.0,
    ) -> None:
        self.monitor = text("monitor", monitor, MONITORED)
        self.gamma = in_range("gamma", positive("gamma", gamma), 0.0, 1.0)
        self.patience = whole("patience", patience, at_least=0)
        self.threshold = not_negative("threshold", threshold)
        self.threshold_mode = one_of("threshold_mode", threshold_mode, ("rel", "abs"))
        self.cooldown = whole("cooldown", cooldown, at_least=0)
        self.final = from_to("final", final, 0.0, 1.0)

    def begin(self, quantities: Mapping[str, bool]) -> None:
        self._greater = greater_is_better(self.monitor, quantities)

    def factor(self, epoch: float, epochs: float) -> float:
        return 1.0

    def feedback(self, history: Mapping[str, list[float]]) -> float:
        factor, best, bad, cooling = 1.0, None, 0, 0
        for value in history.get(self.monitor, ()):
            if best is None or self._is_better(value, best):
                best, bad = value, 0
            else:
                bad += 1
            if cooling:
                bad, cooling = 0, cooling - 1
            if bad > self.patience:
                factor, bad, cooling = max(factor * self.gamma, self.final), 0, self.cooldown
        return factor

    def _is_better(self, value: float, best: float) -> bool:
        if math.isnan(best):
            return not math.isnan(value)
        sign = 1 if self._greater else -1
        beyond = best * (1 + sign * self.threshold) if self.threshold_mode == "rel" else best + sign * self.threshold
        return value > beyond if self._greater else value < beyond
