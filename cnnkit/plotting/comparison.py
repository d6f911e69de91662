"""Several trainings beside each other: their curves, and what they reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnnkit.errors import PlotError
from cnnkit.plotting.curves import is_finite, with_unit
from cnnkit.plotting.style import CYCLE, LINES, MARKERS, integer_axis, new_figure, picture, plain
from cnnkit.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_CONFIGURATIONS = 28
"""More have no names that can be read."""


@picture
def draw_quantity_by_configuration(
    names: Sequence[str], runs: Sequence[Sequence[Sequence[float]]], quantity: str, title: str
) -> Figure:
    """Curves by epoch, mean +- standard deviation over seeds, beside the values of the last epoch.

    names: of the configurations, the best first; runs: for each configuration one list of values by epoch for each
    seed; quantity: such as "accuracy". The standard deviation is that of a sample, with n - 1; one seed has none.
    Raises PlotError with nothing to draw.
    """
    tables = [_table(histories) for histories in runs][:MAX_CONFIGURATIONS]
    if not tables or not any(np.isfinite(table).any() for table in tables):
        raise PlotError(f"there is nothing to compare: no configuration has a finite value of {quantity}")
    figure = new_figure(title if len(runs) == len(tables) else f"{title} (the first {len(tables)} of {len(runs)})")
    curves, last = figure.subplots(1, 2, width_ratios=[3, 2])
    for place, table in enumerate(tables):
        colour, line = CYCLE[place % len(CYCLE)], LINES[place // len(CYCLE) % len(LINES)]
        marker = MARKERS[place % len(MARKERS)]
        mean, deviation = _mean_and_deviation(table)
        epochs = np.arange(1, len(mean) + 1)
        few = marker if len(mean) <= 40 else ""
        curves.plot(epochs, mean, color=colour, linestyle=line, marker=few)
        curves.fill_between(epochs, mean - deviation, mean + deviation, color=colour, alpha=0.15, linewidth=0)
        ends = [histories[-1] for histories in runs[place] if histories and is_finite(histories[-1])]
        _draw_last(last, place, ends, colour, marker)
    curves.set_xlabel("epoch")
    curves.set_ylabel(with_unit(quantity))
    curves.set_title("mean ± standard deviation of the seeds")
    integer_axis(curves)
    last.set_yticks(range(len(tables)), [plain(name, 28) for name in names[: len(tables)]])
    last.set_ylim(len(tables) - 0.5, -0.5)
    last.set_xlabel(with_unit(quantity))
    last.set_title("last epoch")
    for axes in (curves, last):
        axes.grid(visible=True)
    return figure


def _draw_last(axes: Axes, place: int, ends: list[float], colour: str, marker: str) -> None:
    """The values of the seeds, small, and over them their mean with its deviation."""
    if not ends:
        axes.annotate("not finite", (0.02, place), xycoords=("axes fraction", "data"), va="center", color=colour)
        return
    mean, deviation = _mean_and_deviation(np.array(ends)[:, None])
    axes.scatter(ends, [place] * len(ends), color=colour, marker=marker, s=30, alpha=0.4, linewidth=0)
    axes.errorbar(
        mean, [place], xerr=deviation if len(ends) > 1 else None, color=colour, marker=marker, markersize=9, capsize=6
    )


def _table(histories: Sequence[Sequence[float]]) -> Array:
    """(seeds, epochs), NaN behind the end of a shorter training and for what is not finite."""
    table = np.full((len(histories), max(map(len, histories), default=0)), np.nan)
    for row, history in zip(table, histories, strict=True):
        row[: len(history)] = [value if is_finite(value) else np.nan for value in history]
    return table


def _mean_and_deviation(table: Array) -> tuple[Array, Array]:
    """Over the rows, for each column, without NaN; the deviation is 0 with a single value."""
    count = np.isfinite(table).sum(axis=0)
    total = np.nansum(table, axis=0)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    squares = np.nansum((table - mean) ** 2, axis=0)
    return mean, np.sqrt(squares / np.maximum(count - 1, 1))
