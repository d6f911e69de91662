"""Training curves: what a history holds by epoch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cnnkit.errors import PlotError
from cnnkit.plotting.saving import encoded
from cnnkit.plotting.style import BLUE, VERMILION, integer_axis, new_figure, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PANELS = 4
MAX_POINTS = 2000
MAX_VALUE = 1e30
"""Values beyond it are skipped, like NaN: an axis could not show others next to them."""
VALIDATION = "validation_"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
"""What is drawn: nothing in such a name has a meaning for matplotlib, whoever wrote the history."""
_NOT_DRAWN = ("lr", "seconds")
_UNITS = {"loss": "loss (mean per sample)", "accuracy": "accuracy (share of samples)"}

Curve = Sequence[float]


@picture
def draw_curves(history: Mapping[str, Curve], title: str) -> Figure:
    """One panel for loss and for each metric by epoch.

    history: values of each quantity by epoch, `validation_loss` beside `loss`. Raises PlotError with nothing to draw.
    """
    panels = drawn_quantities([history])
    if not panels:
        raise PlotError("there are no training curves: the history has no finite value of a loss or metric")
    figure = new_figure(title)
    rows = 1 if len(panels) <= 2 else 2
    grid = figure.subplots(rows, math.ceil(len(panels) / rows), squeeze=False).ravel()
    for axes, name in zip(grid, panels, strict=False):
        _draw(axes, name, history)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    return figure


def curves_png(history: Mapping[str, Curve], title: str) -> bytes | None:
    """The curves as a PNG file; None without matplotlib, or with nothing to draw."""
    try:
        return encoded(draw_curves(history, title), "png")
    except PlotError:
        return None


def drawn_quantities(histories: Sequence[Mapping[str, Curve]]) -> list[str]:
    """The loss and the metrics of which any of these histories has a finite value, at most MAX_PANELS."""
    names = dict.fromkeys(name for history in histories for name in history if _is_drawn(name))
    return [name for name in names if any(any(map(is_finite, h.get(name, ()))) for h in histories)][:MAX_PANELS]


def with_unit(quantity: str) -> str:
    """The label of an axis for a quantity of a history."""
    return _UNITS.get(quantity, quantity)


def plot_curve(axes: Axes, values: Curve, label: str, colour: str, line: str, marker: str) -> None:
    """One curve by epoch, with a point for each if they are few; gaps where a value is not finite."""
    step = max(1, math.ceil(len(values) / MAX_POINTS))
    places = sorted({*range(0, len(values), step), len(values) - 1})  # the last epoch is never left out
    shown = [float(values[place]) if is_finite(values[place]) else math.nan for place in places]
    few = marker if len(values) <= 40 else ""
    axes.plot([place + 1 for place in places], shown, color=colour, linestyle=line, marker=few, label=label)


def is_finite(value: Any) -> bool:
    """Whether an axis can show it: false for NaN, and no whole number is too large to compare."""
    return bool(-MAX_VALUE <= value <= MAX_VALUE)


def _draw(axes: Axes, name: str, history: Mapping[str, Curve]) -> None:
    plot_curve(axes, history[name], "training", BLUE, "-", "o")
    if validation := history.get(VALIDATION + name):
        plot_curve(axes, validation, "validation", VERMILION, "--", "s")
    axes.set_xlabel("epoch")
    axes.set_ylabel(with_unit(name))
    integer_axis(axes)
    axes.grid(visible=True)
    axes.legend()


def _is_drawn(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and name not in _NOT_DRAWN and not name.startswith(VALIDATION)
