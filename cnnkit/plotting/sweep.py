"""The effect of one hyperparameter: what is reached with each of its values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit.errors import PlotError
from cnnkit.plotting.curves import is_finite, with_unit
from cnnkit.plotting.style import BLUE, SMALL, VERMILION, new_figure, picture, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DECADE = 10
"""The largest value by the smallest one from which on the axis is logarithmic."""
LETTERS = 140
"""Of all values together, below the axis."""
MOST_LETTERS, LEAST_LETTERS = 60, 8
"""Of one value."""
MOST_NAMED = 12
"""Values that have their own mark at the axis."""


@picture
def draw_by_value(
    values: Sequence[Any], ranked: Sequence[Mapping[int, float]], key: str, quantity: str, title: str, best: Any = None
) -> Figure:
    """The mean over the seeds by the value, with its standard deviation (n - 1), and each seed as a point.

    values: of the key; numbers are placed by their size, on a log scale if they are spread over a decade, others in
    order; ranked: the quantity for each value, by the seed; best: the value to mark. Raises PlotError with nothing to
    draw.
    """
    finite = [list(filter(is_finite, by_seed.values())) for by_seed in ranked]
    if not any(finite):
        raise PlotError(f"there is nothing to show: no value of {key} has a finite {quantity}")
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    places = np.array(values if numbers else range(len(values)), np.float64)
    figure = new_figure(title)
    axes = figure.subplots()
    order = [at for at in np.argsort(places, kind="stable").tolist() if finite[at]]
    x, mean = places[order], np.array([np.mean(finite[at]) for at in order])
    deviation = np.array([np.std(finite[at], ddof=1) if len(finite[at]) > 1 else 0 for at in order])
    seeds = max(map(len, finite))
    several = f"mean ± standard deviation of {seeds} seeds"
    axes.plot(x, mean, "-o" if numbers else "o", color=BLUE, markersize=8, label=several if seeds > 1 else "one seed")
    if numbers:
        axes.fill_between(x, mean - deviation, mean + deviation, color=BLUE, alpha=0.15, linewidth=0)
    elif seeds > 1:
        some = np.array([len(finite[at]) > 1 for at in order])
        axes.errorbar(x[some], mean[some], yerr=deviation[some], color=BLUE, linestyle="none", capsize=8)
    if seeds > 1:
        places_of_seeds = np.repeat(x, [len(finite[at]) for at in order])
        all_seeds = [value for at in order for value in finite[at]]
        axes.scatter(places_of_seeds, all_seeds, color=BLUE, s=22, alpha=0.45, linewidth=0, label="each seed")
    if best in values and finite[values.index(best)]:
        at = values.index(best)
        axes.plot(
            places[at], np.mean(finite[at]), "o", markersize=17, markerfacecolor="none", markeredgecolor=VERMILION,
            markeredgewidth=2.5, label=f"best: {plain(_named(best), MOST_LETTERS)}",
        )  # fmt: skip
    logarithmic = numbers and places.min() > 0 and places.max() / places.min() >= DECADE
    if logarithmic:
        axes.set_xscale("log")
    if not numbers or len(values) <= MOST_NAMED:
        room = MOST_LETTERS if numbers else max(LEAST_LETTERS, min(MOST_LETTERS, LETTERS // len(values) - 2))
        axes.set_xticks(places, [plain(_named(value), room) for value in values], minor=False)
        axes.set_xticks([], minor=True)
    if not numbers:
        axes.set_xlim(-0.5, len(values) - 0.5)
        axes.tick_params(axis="x", labelsize=SMALL)
    axes.set_xlabel(f"{plain(key)} (log scale)" if logarithmic else plain(key))
    axes.set_ylabel(with_unit(quantity))
    axes.grid(visible=True)
    axes.legend()
    return figure


def _named(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)
