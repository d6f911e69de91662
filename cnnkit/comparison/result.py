"""What a comparison gives: one row for each configuration, the best first."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from cnnkit.components.quantities import VALIDATION
from cnnkit.training.run import History

Samples = Literal["validation", "test"]


@dataclass(frozen=True)
class RunResult:
    """One training of a configuration."""

    seed: int
    metrics: dict[str, float] = field(default_factory=dict)
    """Loss and metrics on the samples that rank, of the epoch whose weights were kept."""
    history: History = field(default_factory=dict)
    error: str = ""
    """Why it failed, "" if it did not."""
    ref: str | None = None
    """The version that it was registered as, if it was."""

    @property
    def seconds(self) -> float:
        """Spent in its epochs."""
        return math.fsum(self.history.get("seconds", ()))


@dataclass(frozen=True)
class Row:
    """A configuration with its runs by seed: those that are done or have failed."""

    position: int
    """Among the configurations of the plan, from 0."""
    name: str
    model: str
    """The model's name in the registry."""
    parameters: int
    runs: tuple[RunResult, ...] = ()

    @property
    def done(self) -> tuple[RunResult, ...]:
        """The runs that have not failed."""
        return tuple(run for run in self.runs if not run.error)

    @property
    def failed(self) -> tuple[RunResult, ...]:
        """The runs that have failed."""
        return tuple(run for run in self.runs if run.error)

    def mean(self, quantity: str) -> float | None:
        """The mean over the seeds of a quantity on the samples that rank; None before a run is done."""
        values = self._values(quantity)
        if not values:
            return None
        total = sum(values)  # which may be infinite or NaN, where fsum fails
        return (math.fsum(values) if math.isfinite(total) else total) / len(values)

    def deviation(self, quantity: str) -> float | None:
        """The standard deviation over the seeds, that of a sample, with n - 1; None with less than two runs."""
        values = self._values(quantity)
        return statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else None

    @property
    def seconds(self) -> float:
        """Spent in the epochs of all runs together."""
        return math.fsum(run.seconds for run in self.done)

    @property
    def seconds_per_epoch(self) -> float | None:
        """The mean over all epochs of all runs; None before a run is done."""
        epochs = sum(len(run.history.get("seconds", ())) for run in self.done)
        return self.seconds / epochs if epochs else None

    def _values(self, quantity: str) -> list[float]:
        return [run.metrics[quantity] for run in self.done if quantity in run.metrics]


@dataclass(frozen=True)
class Comparison:
    """Configurations beside each other."""

    name: str
    quantity: str
    """By which they are ranked: the first metric that all recipes have, their common loss if there is none."""
    greater_is_better: bool
    rows: tuple[Row, ...]
    """The best first; those with a failed run come after all others, those without any result last."""
    seeds: tuple[int, ...]
    ranked_on: Samples = "validation"
    """The samples that rank: to validate on or, of a comparison that an earlier cnnkit began, to test on."""
    validation: float = 0.0
    """The share of the training samples that the comparison set aside to validate on, as no recipe says; else 0."""
    same_loss: bool = True
    """Whether all have the same loss; numbers of different ones say nothing about each other."""
    test: dict[str, float] = field(default_factory=dict)
    """Loss and metrics of `best_run` on the test samples, once all runs were ranked; empty before, and without any."""
    warning: str = ""
    """Why `test` is empty although there are test samples; "" if nothing went wrong."""
    hint: str = ""
    """What to try where no configuration does more than to answer the most frequent class; "" if one does."""

    @property
    def best(self) -> Row | None:
        """The best configuration; None if all have failed."""
        return self.rows[0] if self.rows[0].done else None

    @property
    def best_run(self) -> RunResult | None:
        """Of the best configuration's runs, the best one; of equal ones the first."""
        return min(self.best.done, key=lambda run: self._badness(run.metrics.get(self.quantity))) if self.best else None

    @property
    def quantities(self) -> tuple[str, ...]:
        """What all runs were measured by, the one that ranks them first; without losses that differ."""
        runs = [run for row in self.rows for run in row.done]
        shared = [name for name in (runs[0].metrics if runs else ()) if all(name in run.metrics for run in runs)]
        shared = [name for name in shared if self.same_loss or name != "loss"]
        return (self.quantity, *(name for name in shared if name != self.quantity))

    @property
    def failures(self) -> list[tuple[Row, RunResult]]:
        """The runs that have failed."""
        return [(row, run) for row in self.rows for run in row.failed]

    def ranked(self, rows: Iterable[Row]) -> Comparison:
        """The comparison with these rows, best first; ties keep their order."""
        ordered = sorted(rows, key=lambda row: (bool(row.failed), self._badness(row.mean(self.quantity))))
        return replace(self, rows=tuple(ordered))

    def curves(self, quantity: str) -> tuple[str, list[list[list[float]]]]:
        """A quantity by epoch for the seeds of each row, and its name: on validation samples if all runs have some."""
        runs = [run for row in self.rows for run in row.done]
        if runs and all(VALIDATION + quantity in run.history for run in runs):
            quantity = VALIDATION + quantity
        return quantity, [[run.history.get(quantity, []) for run in row.done] for row in self.rows]

    def _badness(self, value: float | None) -> float:
        if value is None or math.isnan(value):
            return math.inf
        return -value if self.greater_is_better else value
