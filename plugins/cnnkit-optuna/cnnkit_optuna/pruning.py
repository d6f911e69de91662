"""The callback by which Optuna sees the epochs of a trial, and may end it."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from cnnkit.plugin import Callback, ConfigError

TRIAL: ContextVar[Any] = ContextVar("TRIAL", default=None)
"""Optuna's trial that is being trained; a recipe can name the callback, but not hold the trial."""
PRUNED = "pruned by Optuna: other trials were better at this epoch"


class OptunaPruning(Callback):
    """Reports the monitored quantity of each epoch to Optuna, and ends the training if the pruner says so.

    `search` adds it to each trial. In a training that is no trial it does nothing.
    monitor: of the validation samples, such as "validation_accuracy". Raises ConfigError before the first epoch for a
    quantity that the history will not have.
    """

    def __init__(self, monitor: str = "validation_loss") -> None:
        if not isinstance(monitor, str) or not monitor.startswith("validation_"):
            raise ConfigError(
                'monitor must be a quantity of the validation samples, such as "validation_accuracy", got '
                f"{monitor!r:.80}"
            )
        self.monitor = monitor

    def start(self, quantities: Mapping[str, bool]) -> None:
        if self.monitor not in quantities:
            raise ConfigError(
                f"{self.monitor!r} is not measured in this training; there are {', '.join(quantities)}: set "
                "data.validation, such as 0.1, and name the metric in train.metrics"
            )

    def after_epoch(self, history: Mapping[str, list[float]]) -> str:
        trial = TRIAL.get()
        if trial is None:
            return ""
        values = history[self.monitor]
        trial.report(values[-1], len(values))
        return PRUNED if trial.should_prune() else ""
