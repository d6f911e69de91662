"""Showing a comparison while it runs: a table in a terminal, a line for each run elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cnnkit.comparison.result import Comparison, Row, RunResult
from cnnkit.printable_text import NAME, on_one_line, printable
from cnnkit.table_layout import Column, fitted
from cnnkit.terminal import is_quiet, shows_progress
from cnnkit.text_folding import fold
from cnnkit.waiting_line import other_display

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


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
        self._display = ExitStack()
        self._live = Live(console=console, transient=True, get_renderable=self._table, refresh_per_second=2)

    def __enter__(self) -> Self:
        self._display.enter_context(other_display())
        if shows_progress(self._console):
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        self._display.close()

    def begun(self, comparison: Comparison) -> None:
        """Say what is there already."""
        self._comparison = comparison
        if done := sum(len(row.runs) for row in comparison.rows):
            self._tell(f"{done} of {self._total(comparison)} runs were finished before")

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
            self._tell(f"{number}  {row.name}  seed {run.seed}  {values}  {run.seconds:.1f} s")

    def _tell(self, text: str) -> None:
        if not is_quiet():
            self._print(text)

    def _print(self, text: str) -> None:
        text = printable(text)
        text = fold(text, self._console.width) if self._console.is_terminal else text
        self._console.print(text, highlight=False, soft_wrap=True, markup=False, emoji=False)

    def _total(self, comparison: Comparison) -> int:
        return len(comparison.rows) * len(comparison.seeds)

    def _table(self) -> Text:
        from rich.text import Text

        if (comparison := self._comparison) is None:
            return Text()
        rows = comparison.rows
        quantities = [
            Column(on_one_line(one, NAME), [spread(row, one) for row in rows], True) for one in comparison.quantities
        ]
        columns = [
            Column("configuration", [row.name for row in rows], False),
            Column("runs", [f"{len(row.runs)}/{len(comparison.seeds)}" for row in rows], True),
            *quantities,
            Column("parameters", [f"{row.parameters:,}" for row in rows], True),
        ]
        parts, _ = fitted(columns, self._console.width, ["parameters"])
        lines = [Text("\n").join([Text("\n".join(part.headings), "bold"), *map(Text, part.rows)]) for part in parts]
        done = sum(len(row.runs) for row in rows)
        seconds = time.monotonic() - self._since
        caption = f"{done} of {self._total(comparison)} runs are done, after {seconds:.0f} s"
        return Text("\n").join([*lines, Text(caption, "italic")])


def spread(row: Row, quantity: str) -> str:
    """Mean and standard deviation over the seeds, such as "0.9812 ± 0.0007"; "" before a run is done."""
    mean, deviation = row.mean(quantity), row.deviation(quantity)
    if mean is None:
        return ""
    return written(mean) if deviation is None else f"{written(mean)} ± {written(deviation)}"


def written(value: float) -> str:
    """A number as the table has it."""
    return f"{value:.4f}" if abs(value) < 1e5 else f"{value:.4g}"
