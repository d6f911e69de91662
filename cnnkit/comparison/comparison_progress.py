"""Showing a comparison while it runs: a table in a terminal, a line for each run elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cnnkit.comparison.result import Comparison, Row, RunResult
from cnnkit.lines import NAME, on_one_line, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


class ComparisonProgress:
    """Told about every run; this one shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def begun(self, comparison: Comparison) -> None:
        """With the runs that were done before, if it was interrupted."""

    def run_done(self, comparison: Comparison, row: Row, run: RunResult, warnings: Sequence[str]) -> None:
        """`comparison` and `row` have this run, which is done or has failed."""


class LiveComparison(ComparisonProgress):
    """A table that changes with every run, in a terminal; a line for each run where there is none."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console = console
        self._comparison: Comparison | None = None
        self._since = time.monotonic()
        self._live = Live(console=console, transient=True, get_renderable=self._table, refresh_per_second=2)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def begun(self, comparison: Comparison) -> None:
        """Say what is there already."""
        self._comparison = comparison
        if done := sum(len(row.runs) for row in comparison.rows):
            self._print(f"{done} of {self._total(comparison)} runs were finished before")

    def run_done(self, comparison: Comparison, row: Row, run: RunResult, warnings: Sequence[str]) -> None:
        """Print the run's line."""
        self._comparison = comparison
        total = self._total(comparison)
        number = f"{sum(len(row.runs) for row in comparison.rows):>{len(str(total))}}/{total}"
        for text in warnings:
            self._print(f"warning: {row.name}, seed {run.seed}: {text}")
        if run.error:
            self._print(f"{number}  {row.name}  seed {run.seed}  failed: {run.error}")
        elif not self._console.is_terminal:
            values = "  ".join(
                f"{on_one_line(name, NAME)} {written(run.metrics[name])}"
                for name in comparison.quantities
                if name in run.metrics
            )
            self._print(f"{number}  {row.name}  seed {run.seed}  {values}  {run.seconds:.1f} s")

    def _print(self, text: str) -> None:
        self._console.print(printable(text), highlight=False, soft_wrap=True, markup=False, emoji=False)

    def _total(self, comparison: Comparison) -> int:
        return len(comparison.rows) * len(comparison.seeds)

    def _table(self) -> Table:
        from rich.table import Table

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", caption_justify="left")
        if (comparison := self._comparison) is None:
            return table
        for heading in ("configuration", "runs", *comparison.quantities, "parameters"):
            table.add_column(on_one_line(heading, NAME), justify="left" if heading == "configuration" else "right")
        for row in comparison.rows:
            runs = f"{len(row.runs)}/{len(comparison.seeds)}"
            values = (spread(row, quantity) for quantity in comparison.quantities)
            table.add_row(row.name, runs, *values, f"{row.parameters:,}")
        done = sum(len(row.runs) for row in comparison.rows)
        seconds = time.monotonic() - self._since
        table.caption = f"{done} of {self._total(comparison)} runs are done, after {seconds:.0f} s"
        return table


def spread(row: Row, quantity: str) -> str:
    """Mean and standard deviation over the seeds, such as "0.9812 ± 0.0007"; "" before a run is done."""
    mean, deviation = row.mean(quantity), row.deviation(quantity)
    if mean is None:
        return ""
    return written(mean) if deviation is None else f"{written(mean)} ± {written(deviation)}"


def written(value: float) -> str:
    """A number as the table has it."""
    return f"{value:.4f}" if abs(value) < 1e5 else f"{value:.4g}"
