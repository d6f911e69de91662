"""Learning rate test: the loss while the learning rate grows step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnnkit.errors import PlotError
from cnnkit.plotting.curves import is_finite
from cnnkit.plotting.style import BLUE, GREY, VERMILION, new_figure, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@picture
def draw_learning_rates(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    suggested: float | None,
    title: str = "Learning rate test",
) -> Figure:
    """The loss of each step by its learning rate, also smoothed, with the suggested rate.

    rates: above 0, one for each loss and each smoothed loss; suggested: None if there is none. The axis ends where the
    loss has left the range of its beginning. Raises PlotError with nothing to draw.
    Source: Smith (2017), Cyclical Learning Rates for Training Neural Networks, section 3.3.
    """
    if not len(rates) == len(losses) == len(smoothed):
        raise PlotError(
            f"expected a loss for each learning rate, as it is and smoothed, got {len(rates)} rates, {len(losses)} "
            f"losses and {len(smoothed)} smoothed ones"
        )
    steps = zip(rates, losses, smoothed, strict=True)
    kept = [step for step in steps if step[0] > 0 and is_finite(step[1]) and is_finite(step[2])]
    if not kept:
        raise PlotError("there is no learning rate test to show: no loss is finite")
    x, y, smooth = np.array(kept).T
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
