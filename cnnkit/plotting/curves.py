"""Training curves: what a history holds by epoch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit.components.quantities import VALIDATION
from cnnkit.errors import PlotError
from cnnkit.plotting.saving import encoded
from cnnkit.plotting.style import BLUE, GREY, VERMILION, epoch_axis, new_figure, picture
from cnnkit.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PANELS = 4
MAX_POINTS = 2000
FAR = 5.0
"""From which factor on the end of a curve is a flat line beside its beginning."""
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)
"""Ticks of an accuracy that comes close to 1."""
MAX_VALUE = 1e30
"""Values beyond it are skipped, like NaN: an axis could not show others next to them."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
"""What is drawn: nothing in such a name has a meaning for matplotlib, whoever wrote the history."""
_NOT_DRAWN = ("lr", "seconds")
_UNITS = {
    "loss": "loss (mean per sample)",
    "accuracy": "accuracy (share of samples)",
    "f1": "F1",
    "mae": "mean absolute error",
    "mean_iou": "mean IoU (overlap with truth)",
    "psnr": "PSNR (dB)",
    "r2": "R²",
    "rmse": "root mean square error",
    "ssim": "SSIM (1: equal images)",
}

Curve = Sequence[float]


@picture
def draw_curves(history: Mapping[str, Curve], title: str, kept_epoch: int | None = None) -> Figure:
    """One panel for loss and for each metric by epoch; a loss that falls far has a logarithmic axis.

    history: values of each quantity by epoch, `validation_loss` beside `loss`; kept_epoch: the one whose weights the
    model has, from 1, marked by a line. Raises PlotError with nothing to draw.
    """
    panels = drawn_quantities([history])
    if not panels:
        raise PlotError("there are no training curves: the history has no finite value of a loss or metric")
    figure = new_figure(title)
    rows = 1 if len(panels) <= 2 else 2
    grid = figure.subplots(rows, math.ceil(len(panels) / rows), squeeze=False).ravel()
    for axes, name in zip(grid, panels, strict=False):
        _draw(axes, name, history, kept_epoch)
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
    names = dict.fromkeys(name.removeprefix(VALIDATION) for history in histories for name in history)
    drawn = filter(_is_drawn, names)
    return [name for name in drawn if any(_has_values(history, name) for history in histories)][:MAX_PANELS]


def _has_values(history: Mapping[str, Curve], name: str) -> bool:
    """Of training or validation, as some metrics are only measured on validation samples."""
    return any(is_finite(value) for key in (name, VALIDATION + name) for value in history.get(key, ()))


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


def _draw(axes: Axes, name: str, history: Mapping[str, Curve], kept_epoch: int | None) -> None:
    curves = {"training": history.get(name) or (), "validation": history.get(VALIDATION + name) or ()}
    if curves["training"]:
        plot_curve(axes, curves["training"], "training", BLUE, "-", "o")
    if curves["validation"]:
        plot_curve(axes, curves["validation"], "validation", VERMILION, "--", "s")
    axes.set_ylabel(with_unit(name))
    last = max(map(len, curves.values()))
    epoch_axis(axes, last)
    stretch(axes, name, [value for values in curves.values() for value in values if is_finite(value)])
    axes.grid(visible=True)
    if kept_epoch is not None and 1 <= kept_epoch <= last:
        axes.axvline(kept_epoch, color=GREY, linestyle=":", label=f"epoch {kept_epoch} kept")
    if len(axes.lines) > 1:
        axes.legend()


def stretch(axes: Axes, name: str, values: Curve) -> None:
    """Show differences at the end of a training as well as those at its beginning: a logarithmic axis for a loss or
    error that falls by a factor of FAR, the cube root of what is missing to 1 for an accuracy, if that does, and R
    squared from 0 on, the worth of a constant answer.
    """
    if name == "r2" and values and min(values) < 0 < max(values):
        axes.set_ylim(0, 1.06 * max(values))
        axes.set_ylabel(f"{with_unit(name)} (from 0)")
    if not values or min(values) < 0:
        return
    if name in ("loss", "mae", "rmse") and 0 < min(values) * FAR <= max(values):
        axes.set_yscale("log")
        plain_ticks(axes, many=max(values) < 20 * min(values))
        axes.set_ylabel("loss (mean per sample, log)" if name == "loss" else f"{with_unit(name)} (log)")
    elif name == "accuracy" and max(values) <= 1 and (1 - max(values)) * FAR <= 1 - min(values):
        axes.set_yscale("function", functions=(_place, _share))
        places = _place(np.array([min(values), max(values)]))
        low, high = _share(places + np.array([-0.04, 0.04]) * np.ptp(places))
        shown = [share for share in SHARES if low <= share <= high]
        axes.set_yticks(shown, [f"{share:g}" for share in shown])
        axes.set_ylim(low, high)
        axes.set_ylabel(f"{name} (stretched towards 1)")


def _place(share: Array) -> Array:
    return np.asarray(-np.cbrt(1 - share))


def _share(place: Array) -> Array:
    return 1 + place**3


def plain_ticks(axes: Axes, *, many: bool) -> None:
    """Ticks of a logarithmic axis as one writes them, 0.05, not as powers; many: also between 1, 2 and 5."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7) if many else (1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _is_drawn(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and name not in _NOT_DRAWN and not name.startswith(VALIDATION)
