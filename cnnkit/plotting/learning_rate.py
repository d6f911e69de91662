"""Learning rate test: the loss while the learning rate grows step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnnkit.errors import PlotError
from cnnkit.plotting.curves import is_finite
from cnnkit.plotting.style import BLUE, GREY, VERMILION, new_figure, picture
from cnnkit.types import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMOOTHING = 0.9
"""Weight of the past in the smoothed loss."""


@picture
def draw_learning_rates(
    rates: Sequence[float], losses: Sequence[float], suggested: float | None, title: str = "Learning rate test"
) -> Figure:
    """The loss of each step by its learning rate, smoothed, with the suggested rate.

    rates: above 0, one for each loss; suggested: None if there is none. The axis ends where the loss has left the range
    of its beginning. Raises PlotError with nothing to draw.
    Source: Smith (2017), Cyclical Learning Rates for Training Neural Networks, section 3.3.
    """
    if len(rates) != len(losses):
        raise PlotError(f"expected a loss for each learning rate, got {len(rates)} rates and {len(losses)} losses")
    kept = [(rate, loss) for rate, loss in zip(rates, losses, strict=True) if rate > 0 and is_finite(loss)]
    if not kept:
        raise PlotError("there is no learning rate test to show: no loss is finite")
    x, y = np.array(kept).T
    smooth = smoothed(y)
    figure = new_figure(title)
    axes = figure.subplots()
    axes.plot(x, y, color=GREY, linewidth=1, alpha=0.6, label="loss of the batch")
    axes.plot(x, smooth, color=BLUE, linewidth=3, label="smoothed")
    if suggested is not None:
        axes.axvline(suggested, color=VERMILION, linestyle="--", label=f"suggested: {suggested:.3g}")
    low, start = float(min(y.min(), smooth.min())), float(smooth[: max(1, len(smooth) // 10)].max())
    margin = max(start - low, abs(start) * 0.1, 1e-12)
    axes.set_ylim(low - 0.1 * margin, start + 0.5 * margin)
    axes.set_xscale("log")
    axes.set_xlabel("learning rate (log scale)")
    axes.set_ylabel("loss (mean per sample)")
    axes.grid(visible=True)
    axes.legend()
    return figure


def smoothed(values: Array) -> Array:
    """Exponential mean of the values so far, s_t = (b s_(t-1) + (1 - b) v_t), divided by 1 - b^t for its start at 0."""
    total, result = 0.0, []
    for step, value in enumerate(values.tolist(), 1):
        total = SMOOTHING * total + (1 - SMOOTHING) * value
        result.append(total / (1 - SMOOTHING**step))
    return np.array(result)
