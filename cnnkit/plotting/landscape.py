"""The loss around a trained model, as a map with lines of equal loss, and along each direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cnnkit.errors import PlotError
from cnnkit.plotting.style import BLUE, VERMILION, new_figure, picture
from cnnkit.types import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVELS = 14
DECADE = 10
"""The largest loss by the smallest one from which on the colours are logarithmic."""


@picture
def draw_landscape(steps: Array, losses: Array, title: str, quantity: str = "loss") -> Figure:
    """Lines of equal loss in the plane of two directions, and the loss along each through the model in the middle.

    steps: (S,), an odd number of them with 0 in the middle; losses: (S, S), the second direction first. Raises
    PlotError without two different finite losses.
    """
    finite = losses[np.isfinite(losses)]
    if not finite.size or finite.min() == finite.max():
        raise PlotError("there is no landscape to show: the loss is not finite, or the same everywhere")
    from matplotlib.colors import LogNorm, Normalize

    low, high = float(finite.min()), float(finite.max())
    logarithmic = low > 0 and high / low >= DECADE
    figure = new_figure(title)
    plane, beside = figure.subplots(1, 2, width_ratios=[1, 1])
    levels = np.geomspace(low, high, LEVELS) if logarithmic else np.linspace(low, high, LEVELS)
    norm = LogNorm(low, high) if logarithmic else Normalize(low, high)
    shown = np.ma.masked_invalid(losses)
    filled = plane.contourf(steps, steps, shown, levels=levels, norm=norm, cmap="viridis_r")
    plane.contour(steps, steps, shown, levels=levels, norm=norm, colors="white", linewidths=0.7, alpha=0.7)
    plane.plot(0, 0, "o", color=VERMILION, markersize=11, markeredgecolor="white", label="the model")
    plane.set_aspect("equal")
    plane.set_xticks(steps[:: max(1, len(steps) // 4)])
    plane.set_yticks(steps[:: max(1, len(steps) // 4)])
    plane.set_xlabel("direction 1 (lengths of each filter)")
    plane.set_ylabel("direction 2")
    plane.legend(labelcolor="black", frameon=True)
    ticks = levels[:: max(1, LEVELS // 5)]
    figure.colorbar(filled, ax=plane, label=quantity, fraction=0.046, pad=0.03, ticks=ticks, format="%.3g")
    middle = len(steps) // 2
    beside.plot(steps, losses[middle], "-", color=BLUE, label="direction 1")
    beside.plot(steps, losses[:, middle], "--", color=BLUE, label="direction 2")
    beside.plot(0, losses[middle, middle], "o", color=VERMILION, markersize=11, label="the model")
    if logarithmic:
        beside.set_yscale("log")
    beside.set_xticks(np.linspace(steps[0], steps[-1], 5))  # more would touch each other
    beside.set_xlabel("step along the direction")
    beside.set_ylabel(quantity)
    beside.grid(visible=True)
    beside.legend()
    return figure
