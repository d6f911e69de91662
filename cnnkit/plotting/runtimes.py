"""How a file compares on several runtimes: errors beside what is allowed, and latencies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnnkit.errors import PlotError
from cnnkit.plotting.style import BLUE, GREEN, GREY, ORANGE, SMALL, VERMILION, new_figure, picture, plain
from cnnkit.wording import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_RUNTIMES = 24
"""More have no names that can be read."""
MOST = 30
"""Characters of an expression that is shown in full."""
LEAST, MOST_DRAWN = 1e-3, 1e9
"""Shares of the allowed error that have a place on a scale of powers; others are drawn at its ends."""
WORDS = 0.45
"""The part of the width, at its right, that is left to the words of a row."""
COLOURS = {"pass": GREEN, "FAIL": VERMILION, "cannot": GREY}


@dataclass(frozen=True)
class RuntimeRow:
    """One runtime in the picture; what is not known is NaN."""

    runtime: str
    """Its expression."""
    version: str
    verdict: str
    """"pass", "FAIL" or "cannot"."""
    relative: float
    """Largest relative difference."""
    budget: float
    """The largest difference as a share of what is allowed there."""
    flips: int
    one: float = math.nan
    """Seconds for one sample."""
    each: float = math.nan
    """Seconds for each sample of a batch."""


@picture
def draw_runtimes(rows: Sequence[RuntimeRow], title: str) -> Figure:
    """A row for each runtime: its error as a share of the allowed one, its verdict, and latencies if they are known.

    Raises PlotError unless there are 1 to MAX_RUNTIMES runtimes.
    """
    if not 1 <= len(rows) <= MAX_RUNTIMES:
        raise PlotError(f"1 to {MAX_RUNTIMES} runtimes can be shown in one picture, got {len(rows)}")
    timed = any(math.isfinite(row.one) for row in rows)
    figure = new_figure(title)
    axes = figure.subplots(1, 2 if timed else 1, sharey=True, squeeze=False, width_ratios=[3, 2] if timed else None)[0]
    _draw_errors(axes[0], rows)
    if timed:
        _draw_latencies(axes[1], rows)
    axes[0].set_yticks(range(len(rows)), list(map(_name, rows)))
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    return figure


def _name(row: RuntimeRow) -> str:
    """The runtime without arguments that are long, such as a path: its version says more."""
    cls, _, arguments = row.runtime.partition("(")
    return plain(f"{cls if arguments == ')' or len(row.runtime) > MOST else row.runtime} {row.version}", 2 * MOST)


def _draw_errors(axes: Axes, rows: Sequence[RuntimeRow]) -> None:
    shares = [min(max(row.budget, LEAST), MOST_DRAWN) for row in rows if not math.isnan(row.budget)]
    axes.set_xscale("log")
    axes.set_xlim(LEAST, LEAST * (max([1.0, *shares]) / LEAST) ** (1 / (1 - WORDS)))
    axes.axvline(1, color=BLUE, label="allowed")
    for place, row in enumerate(rows):
        colour, words = COLOURS[row.verdict], row.verdict
        if not math.isnan(row.budget):
            flips = f", {counted(row.flips, 'label flip')}" if row.flips else ""
            words = f"{row.relative:.1e}  {row.verdict}{flips}"
            axes.hlines(place, LEAST, min(max(row.budget, LEAST), MOST_DRAWN), color=colour, linewidth=10)
        edge = ("axes fraction", "data")
        axes.annotate(
            words,
            (1, place),
            (-6, 0),
            xycoords=edge,
            textcoords="offset points",
            ha="right",
            va="center",
            color=colour,
        )
    axes.legend(loc="upper right", bbox_to_anchor=(1, 1.08), fontsize=SMALL)
    axes.set_xlabel("largest error / allowed error; relative error at the right")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=True, axis="x")


def _draw_latencies(axes: Axes, rows: Sequence[RuntimeRow]) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    ones, each = (
        [1000 * value for value in values] for values in zip(*((row.one, row.each) for row in rows), strict=True)
    )
    known = [value for value in (*ones, *each) if value > 0]
    axes.set_xscale("log")
    axes.set_xlim(10.0 ** math.floor(math.log10(min(known))), 10.0 ** (math.floor(math.log10(max(known))) + 1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    places = range(len(rows))
    axes.plot(
        ones, places, "o", color=BLUE, markerfacecolor="none", markeredgewidth=2, markersize=13, label="one sample"
    )
    axes.plot(each, places, "s", color=ORANGE, label="each of a batch", markersize=7)
    axes.legend(loc="upper right", bbox_to_anchor=(1, 1.08), ncols=2, fontsize=SMALL)
    axes.set_xlabel("latency (ms)")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=True)
