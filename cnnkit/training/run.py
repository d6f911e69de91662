"""Run: what one training gave."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Any

from cnnkit.components.quantities import VALIDATION
from cnnkit.network import Network
from cnnkit.notebook_html import html_table, svg_curves
from cnnkit.wording import counted

History = dict[str, list[float]]
"""The values of each quantity, one for each whole epoch: loss, accuracy, validation_loss, ..., lr, seconds.

All are equally long, so that `pandas.DataFrame(run.history)` is a table with a row for each epoch."""

RATES = ("lr", "seconds")
"""What a history has beside loss and metrics, but for arrays, whose names have brackets."""


@dataclass(frozen=True, repr=False)
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
    if it ended before all epochs were done; class_weight, the numbers, if classes have weights; hints, if there was
    trouble with learning."""
    warning: str = ""
    """Why there are no metrics although there are test samples; "" if nothing went wrong."""
    kept_epoch: int | None = None
    """The epoch, from 1, whose weights the model has: the last one or, with keep = "best", the best; None if it was
    stopped in the first."""
    partial_steps: int = 0
    """Steps of an epoch that was stopped before its end: they are in the weights, but not in the history."""

    def __repr__(self) -> str:
        epochs = len(next(iter(self.history.values()), []))
        known = [(part, numbers) for part, numbers in self._measured().items() if numbers]
        part, numbers = known[-1] if known else ("", {})  # those on the test samples say most
        measured = "".join(f", {part} {name} {value:.4g}" for name, value in numbers.items())
        return f"<Run: {counted(epochs, 'epoch')}, {self.reason}{measured}>"

    def _names(self) -> list[str]:
        """Of loss and metrics."""
        shown = [name for name in self.history if "[" not in name and name not in RATES]
        return [*dict.fromkeys(name.removeprefix(VALIDATION) for name in shown)]

    def _measured(self) -> dict[str, dict[str, float]]:
        """Loss and metrics of the model that there is, by the samples that they were measured on."""
        return {"training": self._kept(""), "validation": self._kept(VALIDATION), "test": self.metrics}

    def _repr_html_(self) -> str:
        """The curves of loss and metrics, and their numbers in the epoch whose weights the model has."""
        names, measured = self._names(), self._measured()
        columns = [column for column, numbers in measured.items() if numbers]
        rows = [
            [name, *(f"{measured[column][name]:.4f}" if name in measured[column] else "" for column in columns)]
            for name in names
        ]
        curves = [
            svg_curves(name, *both, self.kept_epoch)
            for name, both in zip(names, map(self._curves, names), strict=True)
            if max(map(len, both)) > 1  # one epoch makes no curve
        ]
        kept = f"after epoch {self.kept_epoch}" if self.kept_epoch else ""
        table = html_table(("", *columns), rows, kept, left=1)
        return f"<div>{''.join(curves)}</div>{table}<p>{escape(repr(self)[1:-1])}</p>"

    def _curves(self, name: str) -> tuple[list[float], list[float]]:
        return self.history.get(name, []), self.history.get(f"{VALIDATION}{name}", [])

    def _kept(self, prefix: str) -> dict[str, float]:
        """What was measured in the kept epoch."""
        last = (self.kept_epoch or 0) - 1
        found = {name: self.history.get(prefix + name, []) for name in self._names()}
        return {name: values[last] for name, values in found.items() if len(values) > max(last, 0)}

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
