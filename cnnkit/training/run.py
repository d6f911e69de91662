"""Run: what one training gave."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cnnkit.network import Network

History = dict[str, list[float]]
"""The values of each quantity, one for each whole epoch: loss, accuracy, validation_loss, ..., lr, seconds."""


@dataclass(frozen=True)
class Run:
    """One execution of a training, with its trained model."""

    model: Network
    history: History
    metrics: dict[str, float]
    """Loss and metrics on the test samples, in prediction mode; empty if there are none."""
    reason: str
    """Why it ended: "all epochs done", what a callback said, or "stopped by the user"."""
    signal: int | None = None
    """The signal that ended it, or None."""
    recipe: dict[str, Any] | None = None
    """The resolved recipe; its table [train] alone for a model that was put together in Python."""
    dataset: dict[str, str] | None = None
    """`name` and `digest` of the data, if it is a dataset."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What is not in the recipe: workers, tile; kept_epoch if the best was kept; partial_steps if there are any; reason
    if it ended before all epochs were done."""
    warning: str = ""
    """Why there are no metrics although there are test samples; "" if nothing went wrong."""
    kept_epoch: int | None = None
    """The epoch, from 1, whose weights the model has: the last one or, with keep = "best", the best; None if it was
    stopped in the first."""
    partial_steps: int = 0
    """Steps of an epoch that was stopped before its end: they are in the weights, but not in the history."""

    def record(self) -> dict[str, Any]:
        """What `Registry.save` keeps beside the model: recipe, history, metrics, dataset, and settings.

        A warning is kept among the settings.
        """
        return {
            "recipe": self.recipe,
            "history": self.history,
            "metrics": self.metrics,
            "dataset": self.dataset,
            "settings": self.settings | ({"warning": self.warning} if self.warning else {}),
        }
