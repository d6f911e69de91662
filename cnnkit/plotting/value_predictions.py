"""Values that a model gives, beside those that it should give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnnkit.errors import PlotError
from cnnkit.plotting.style import BLUE, GREY, NORMAL, SUBTITLE, class_names, new_figure, picture
from cnnkit.types import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PANELS = 6
MOST_POINTS = 3000


@picture
def draw_values(targets: Array, outputs: Array, labels: Sequence[str], name: str) -> Figure:
    """The predicted by the true values, a panel for each output with its mean absolute error and R squared.

    On the diagonal, a prediction is right. targets, outputs: (N, F); labels: F names, or none. Of more than 3,000
    samples, evenly chosen ones are drawn; the numbers are of all. Raises PlotError for no samples or values that are
    not finite.
    """
    if not outputs.size or not (np.isfinite(outputs).all() and np.isfinite(targets).all()):
        raise PlotError(f"{name} has no finite values to show")
    count = min(outputs.shape[1], MOST_PANELS)
    some = f", {count} of its {outputs.shape[1]} outputs" if count < outputs.shape[1] else ""
    figure = new_figure(f"{name}: predicted and true values of {len(outputs):,} test samples{some}")
    rows = 1 if count <= 3 else 2
    grid = figure.subplots(rows, math.ceil(count / rows), squeeze=False).ravel()
    names = class_names(labels, outputs.shape[1])
    chosen = np.unique(np.linspace(0, len(outputs) - 1, MOST_POINTS).round().astype(int))
    for k, axes in enumerate(grid[:count]):
        t, y = targets[:, k].astype(np.float64), outputs[:, k].astype(np.float64)
        low, high = min(t.min(), y.min()), max(t.max(), y.max())
        margin = 0.04 * (high - low) or 1.0
        axes.plot([low - margin, high + margin], [low - margin, high + margin], color=GREY, linestyle="--", zorder=1)
        axes.scatter(t[chosen], y[chosen], s=26, color=BLUE, alpha=0.45, linewidth=0, zorder=2, rasterized=True)
        axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin), aspect="equal")
        what = names[k] if labels else "value" if outputs.shape[1] == 1 else f"output {k}"
        axes.set_xlabel(f"true {what}")
        axes.set_ylabel(f"predicted {what}")
        axes.grid(visible=True)
        around = float(np.square(t - t.mean()).sum())
        fit = f",  R² = {1 - float(np.square(y - t).sum()) / around:.3f}" if around else ""
        axes.set_title(
            f"mean absolute error {np.abs(y - t).mean():.3g}{fit}", fontsize=SUBTITLE if count < 3 else NORMAL
        )
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure
