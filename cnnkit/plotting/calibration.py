"""Reliability diagram: whether a model is right as often as it is sure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cnnkit.errors import PlotError
from cnnkit.plotting.style import BLUE, GREY, new_figure, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnkit.evaluation.calibration import Calibration

QUIET = "#BFD9EA"
"""Blue on much white: the bars are large."""


@picture
def draw_calibration(calibration: Calibration, name: str) -> Figure:
    """Accuracy by confidence in bins, over the number of samples in each bin.

    name: of the model. Raises PlotError if it counts no samples.
    Source: Guo, Pleiss, Sun, Weinberger (2017), On Calibration of Modern Neural Networks, figure 1.
    """
    if not calibration.count.sum():
        raise PlotError("there is no calibration to show: there are no test samples")
    figure = new_figure(f"{name}: expected calibration error {calibration.error:.2%}")
    accuracy, samples = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    bins = len(calibration.count)
    edges = np.arange(bins) / bins
    filled = calibration.count > 0
    right, sure = calibration.accuracy[filled], calibration.confidence[filled]
    style = {"width": 0.92 / bins, "align": "edge"}
    left = edges[filled] + 0.04 / bins
    accuracy.bar(left, right, color=QUIET, edgecolor=BLUE, label="accuracy in the bin", **style)
    accuracy.bar(
        left,
        sure - right,
        bottom=right,
        fill=False,
        edgecolor=GREY,
        linestyle=":",
        label="gap to confidence",
        **style,
    )
    accuracy.plot([0, 1], [0, 1], "--", color=GREY, label="right as often as sure")
    accuracy.set_ylim(0, 1.02)
    accuracy.set_ylabel("accuracy (share of samples)")
    accuracy.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)  # above: bars may be anywhere below
    samples.bar(left, calibration.count[filled], color="#C8C8C8", **style)
    samples.set_yscale("log")
    samples.yaxis.set_major_formatter("{x:,.0f}")
    samples.set_ylim(0.7, calibration.count.max() * 3)
    samples.set_ylabel("samples")
    samples.set_xlabel("confidence (probability of the predicted class)")
    samples.set_xlim(0, 1)
    for axes in (accuracy, samples):
        axes.grid(visible=True, axis="y")
        axes.set_axisbelow(True)
    return figure
