"""Callbacks: what looks at the history after each epoch, and may end the training."""

from __future__ import annotations

import math
from collections.abc import Mapping

from cnnkit.components.checks import in_range, not_negative, whole
from cnnkit.components.contracts import Callback
from cnnkit.errors import ConfigError


def better(quantity: str, value: float, than: float, by_more_than: float = 0.0) -> bool:
    """Whether a value of a history's quantity beats another: smaller if its name ends in "loss", else greater."""
    gain = than - value if quantity.endswith("loss") else value - than
    return gain > by_more_than


def monitored(history: Mapping[str, list[float]], quantity: str) -> list[float]:
    """The values of a quantity so far. Raises ConfigError, listing what the history has, if it is not among them."""
    if quantity not in history:
        hint = (
            "; a validation quantity needs validation samples: set data.validation above 0"
            if quantity.startswith("validation_")
            else ""
        )
        raise ConfigError(f"{quantity!r} is not recorded in this training, only {', '.join(history)} are{hint}")
    return history[quantity]


class EarlyStopping(Callback):
    """Ends a training whose monitored quantity has not got better for `patience` epochs.

    An epoch is better if it beats the best one before it by more than `min_delta`, in the quantity's own unit; losses
    should fall, all other quantities grow.

    Raises ConfigError for patience < 1 or min_delta < 0, and after the first epoch for an unknown quantity.
    Source: Prechelt (1998), Early Stopping - But When?
    """

    def __init__(self, monitor: str = "validation_loss", patience: int = 5, min_delta: float = 0.0) -> None:
        self.monitor = monitor
        self.patience = whole("patience", patience)
        self.min_delta = not_negative("min_delta", min_delta)

    def after_epoch(self, history: Mapping[str, list[float]]) -> str:
        values = monitored(history, self.monitor)
        best, best_epoch = math.nan, 0
        for epoch, value in enumerate(values, start=1):
            first = best_epoch == 0 and not math.isnan(value)
            if first or better(self.monitor, value, best, self.min_delta):
                best, best_epoch = value, epoch
        if len(values) - best_epoch < self.patience:
            return ""
        since = f"; the best was {best:.6g} in epoch {best_epoch}" if best_epoch else ""
        return f"{self.monitor} has not got better for {self.patience} epochs{since}"


class StopAt(Callback):
    """Ends a training as soon as the monitored quantity reaches `target`.

    Reached means target or above; for a loss, target or below.

    Raises ConfigError for a target that is not a number, and after the first epoch for an unknown quantity.
    """

    def __init__(self, target: float, monitor: str = "validation_accuracy") -> None:
        self.target = in_range("target", target, -math.inf, math.inf)
        self.monitor = monitor

    def after_epoch(self, history: Mapping[str, list[float]]) -> str:
        value = monitored(history, self.monitor)[-1]
        reached = value == self.target or better(self.monitor, value, self.target)
        return f"{self.monitor} has reached {value:.6g}, the target was {self.target:.6g}" if reached else ""


CALLBACKS: tuple[type[Callback], ...] = (EarlyStopping, StopAt)
