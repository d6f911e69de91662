"""Callbacks: called with the history after each epoch, and may end the training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from cnnkit.components.checks import finite, not_negative, positive, text, whole
from cnnkit.components.quantities import MONITORED, greater_is_better
from cnnkit.components.training_contracts import Callback
from cnnkit.training.logs import CSVLog, JSONLog
from cnnkit.training.statistics_callbacks import LayerStatistics, Memory


def better(value: float, than: float, greater: bool, by_more_than: float = 0.0) -> bool:
    """Whether a value beats another, where greater (or else smaller) is better; any number beats NaN."""
    if math.isnan(than):
        return not math.isnan(value)
    return (value - than if greater else than - value) > by_more_than


def best_of(values: Sequence[float], greater: bool, by_more_than: float = 0.0) -> tuple[float, int]:
    """The best of the values of all epochs, and its epoch, the first being 1; (NaN, 0) if none is a number."""
    best, best_epoch = math.nan, 0
    for epoch, value in enumerate(values, start=1):
        if better(value, best, greater, by_more_than):
            best, best_epoch = value, epoch
    return best, best_epoch


class EarlyStopping(Callback):
    """Ends a training whose monitored quantity has not improved for `patience` epochs.

    An epoch is better if it beats the best one before it by more than `min_delta`, in the quantity's own unit; losses
    should fall, metrics say themselves which way is better.

    Raises ConfigError for patience < 1 or min_delta < 0, and before the first epoch for an unknown quantity.
    Source: Prechelt (1998), Early Stopping - But When?
    """

    def __init__(self, monitor: str = "validation_loss", patience: int = 5, min_delta: float = 0.0) -> None:
        self.monitor = text("monitor", monitor, MONITORED)
        self.patience = whole("patience", patience)
        self.min_delta = not_negative("min_delta", min_delta)

    def start(self, quantities: Mapping[str, bool]) -> None:
        self._greater = greater_is_better(self.monitor, quantities)

    def after_epoch(self, history: Mapping[str, list[float]]) -> str:
        values = history[self.monitor]
        best, best_epoch = best_of(values, self._greater, self.min_delta)
        if len(values) - best_epoch < self.patience:
            return ""
        since = f"; the best was {best:.6g} in epoch {best_epoch}" if best_epoch else ""
        return f"{self.monitor} has not improved for {self.patience} epochs{since}"


class StopAt(Callback):
    """Ends a training as soon as the monitored quantity reaches `target`.

    Reached means target or above; target or below where smaller is better, as for a loss.

    Raises ConfigError for a target that is not a number, and before the first epoch for an unknown quantity.
    """

    def __init__(self, target: float, monitor: str = "validation_accuracy") -> None:
        self.target = finite("target", target)
        self.monitor = text("monitor", monitor, MONITORED)

    def start(self, quantities: Mapping[str, bool]) -> None:
        self._greater = greater_is_better(self.monitor, quantities)

    def after_epoch(self, history: Mapping[str, list[float]]) -> str:
        value = history[self.monitor][-1]
        reached = value == self.target or better(value, self.target, self._greater)
        return f"{self.monitor} has reached {value:.6g}, the target was {self.target:.6g}" if reached else ""


class TimeLimit(Callback):
    """Ends a training before an epoch that would take it beyond `seconds`, counted from the first step on.

    The next epoch is expected to take as long as the mean of those before it. What is kept depends on how fast the
    machine is: two trainings with the same seed may end after different epochs.

    Raises ConfigError for seconds <= 0.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = positive("seconds", seconds)

    def after_epoch(self, history: Mapping[str, list[float]]) -> str:
        taken = history["seconds"]
        if sum(taken) * (1 + 1 / len(taken)) <= self.seconds:
            return ""
        return f"one more epoch would exceed {self.seconds:g} s, {sum(taken):.1f} s are used"


CALLBACKS: tuple[type[Callback], ...] = (
    CSVLog,
    EarlyStopping,
    JSONLog,
    LayerStatistics,
    Memory,
    StopAt,
    TimeLimit,
)
