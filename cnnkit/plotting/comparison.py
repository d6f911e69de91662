"""Several trainings beside each other: their curves, and what they reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from cnnkit.components.quantities import VALIDATION
from cnnkit.errors import PlotError
from cnnkit.plotting.curves import Curve, drawn_quantities, is_finite, plot_curve, stretch, with_unit
from cnnkit.plotting.style import BLACK, CYCLE, GREY, LINES, MARKERS, epoch_axis, new_figure, picture, plain
from cnnkit.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_CONFIGURATIONS = 28
"""More have no names that can be read."""
FEW = 12
"""Up to which their means stand below their names."""
MAX_ENTRIES = len(CYCLE)
"""Models beside each other; each has its own colour."""
MAX_BARS = 2
"""Test metrics with bars, beside parameters and time."""
KINDS: dict[str, Literal["-", "--"]] = {"training": "-", "validation": "--"}


@dataclass(frozen=True)
class Entry:
    """One trained model in a comparison."""

    name: str
    history: Mapping[str, Curve]
    metrics: Mapping[str, float]
    """On the test samples."""
    parameters: int


@picture
def draw_comparison(entries: Sequence[Entry]) -> Figure:
    """The curves of all models, a panel for each quantity, over bars of test metrics, parameters and training time.

    Raises PlotError unless there are 2 to MAX_ENTRIES models.
    """
    if not 2 <= len(entries) <= MAX_ENTRIES:
        raise PlotError(f"2 to {MAX_ENTRIES} models can be compared in one picture, got {len(entries)}")
    quantities = drawn_quantities([entry.history for entry in entries])[:2]
    figure = new_figure(", ".join(entry.name for entry in entries))
    above, below = figure.subfigures(2, 1, height_ratios=[3, 2], squeeze=False)[:, 0] if quantities else (None, figure)
    if above:
        for axes, quantity in zip(above.subplots(1, len(quantities), squeeze=False)[0], quantities, strict=True):
            _draw_curves(axes, entries, quantity)
    bars = _bars(entries)
    panels = below.subplots(1, len(bars), sharey=True, squeeze=False)[0]
    for axes, (label, values) in zip(panels, bars.items(), strict=True):
        _draw_bars(axes, label, values)
    panels[0].set_yticks(range(len(entries)), [plain(entry.name, 24) for entry in entries])
    panels[0].set_ylim(len(entries) - 0.4, -0.6)
    return figure


def _draw_curves(axes: Axes, entries: Sequence[Entry], quantity: str) -> None:
    from matplotlib.lines import Line2D

    for entry, colour, marker in zip(entries, CYCLE, MARKERS, strict=False):
        for name, line in ((quantity, "-"), (VALIDATION + quantity, "--")):
            if values := entry.history.get(name):
                plot_curve(axes, values, name, colour, line, marker)
    names = quantity, VALIDATION + quantity
    curves = [entry.history[name] for entry in entries for name in names if entry.history.get(name)]
    if any(entry.history.get(VALIDATION + quantity) for entry in entries):
        axes.legend(handles=[Line2D([], [], color=BLACK, linestyle=line, label=kind) for kind, line in KINDS.items()])
    axes.set_ylabel(with_unit(quantity))
    epoch_axis(axes, max(map(len, curves)))
    stretch(axes, quantity, [value for values in curves for value in values if is_finite(value)])
    axes.grid(visible=True)


def _bars(entries: Sequence[Entry]) -> dict[str, list[float]]:
    """What has bars, by its label; NaN where a model does not say it."""
    metrics = drawn_quantities([{name: [value] for name, value in e.metrics.items()} for e in entries])[:MAX_BARS]
    bars = {f"test {name}": [entry.metrics.get(name, np.nan) for entry in entries] for name in metrics}
    bars["parameters"] = [entry.parameters for entry in entries]
    times = [sum(filter(is_finite, entry.history.get("seconds", ()))) or np.nan for entry in entries]
    if any(map(is_finite, times)):
        bars["training time (s)"] = times
    return bars


def _draw_bars(axes: Axes, label: str, values: list[float]) -> None:
    shown = [value if is_finite(value) else 0.0 for value in values]
    axes.barh(range(len(values)), shown, color=CYCLE[: len(values)], height=0.7)
    for place, (value, length) in enumerate(zip(values, shown, strict=True)):
        text = (f"{value:,}" if isinstance(value, int) else f"{value:.4g}") if is_finite(value) else "unknown"
        axes.annotate(text, (max(length, 0.0), place), (4, 0), textcoords="offset points", va="center")
    axes.set_xlabel(label)
    axes.margins(x=0.35)  # room for the numbers
    axes.locator_params(axis="x", nbins=3)
    if all(isinstance(value, int) for value in values):
        axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.tick_params(axis="y", length=0)


@picture
def draw_quantity_by_configuration(
    names: Sequence[str],
    runs: Sequence[Sequence[Sequence[float]]],
    ranked: Sequence[Mapping[int, float]],
    quantity: str,
    title: str,
) -> Figure:
    """Curves by epoch, mean +- standard deviation over seeds, beside what each seed differs by from the best one's.

    names: of the configurations, the best first; runs: for each configuration one list of values by epoch for each
    seed; ranked: for each the values that rank it, by seed; quantity: such as "accuracy". The standard deviation is
    that of a sample, with n - 1; one seed has none. Raises PlotError with nothing to draw.
    """
    tables = [_table(histories) for histories in runs][:MAX_CONFIGURATIONS]
    if not tables or not any(np.isfinite(table).any() for table in tables):
        raise PlotError(f"there is nothing to compare: no configuration has a finite value of {quantity}")
    figure = new_figure(title if len(runs) == len(tables) else f"{title} (the first {len(tables)} of {len(runs)})")
    curves, beside = figure.subplots(1, 2, width_ratios=[3, 2])
    beside.axvline(0, color=GREY, linestyle=":")
    for place, table in enumerate(tables):
        colour, line = CYCLE[place % len(CYCLE)], LINES[place // len(CYCLE) % len(LINES)]
        marker = MARKERS[place % len(MARKERS)]
        mean, deviation = _mean_and_deviation(table)
        epochs = np.arange(1, len(mean) + 1)
        few = marker if len(mean) <= 40 else ""
        curves.plot(epochs, mean, color=colour, linestyle=line, marker=few)
        curves.fill_between(epochs, mean - deviation, mean + deviation, color=colour, alpha=0.15, linewidth=0)
        differences = [value - ranked[0][seed] for seed, value in ranked[place].items() if seed in ranked[0]]
        _draw_differences(beside, place, list(filter(is_finite, differences)), colour, marker)
    curves.set_ylabel(with_unit(quantity))
    curves.set_title("mean ± standard deviation of the seeds")
    epoch_axis(curves, max(table.shape[1] for table in tables))
    shown = [(plain(name, 28), _written(values)) for name, values in zip(names, ranked, strict=True)][: len(tables)]
    beside.set_yticks(range(len(tables)), [f"{name}\n{mean}" if len(tables) <= FEW else name for name, mean in shown])
    beside.set_ylim(len(tables) - 0.5, -0.5)
    beside.set_xlabel(f"{quantity} minus that of {plain(names[0], 28)}")
    beside.set_title("seed by seed")
    for axes in (curves, beside):
        axes.grid(visible=True)
    return figure


def _written(ranked: Mapping[int, float]) -> str:
    """The mean that ranks a configuration."""
    values = list(ranked.values())
    return f"{np.mean(values):.4g}" if values and all(map(is_finite, values)) else ""


def _draw_differences(axes: Axes, place: int, values: list[float], colour: str, marker: str) -> None:
    """Those of the seeds, small, and over them their mean with its deviation."""
    if not values:
        axes.annotate("not finite", (0.02, place), xycoords=("axes fraction", "data"), va="center", color=colour)
        return
    mean, deviation = _mean_and_deviation(np.array(values)[:, None])
    axes.scatter(values, [place] * len(values), color=colour, marker=marker, s=30, alpha=0.4, linewidth=0)
    axes.errorbar(
        mean, [place], xerr=deviation if len(values) > 1 else None, color=colour, marker=marker, markersize=9, capsize=6
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
