"""Confusion matrix: which class is taken for which."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from cnnkit.errors import PlotError
from cnnkit.plotting.style import SMALL, class_names, new_figure, picture
from cnnkit.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_CLASSES = 1000
"""A picture of more has no point for a cell, and the matrix of a large model fills the memory."""
MAX_COUNTED = 30
"""With more classes, no cell has place for its count; the most frequent confusions stand beside the matrix then."""
MAX_NAMED = 25
"""Ticks of a matrix without counts, so that their names can be read."""
MAX_CELLS = 240
"""Rows and columns without counts: a cell of several points is never dropped when the picture is made."""
MAX_PAIRS = 16
LETTERS = 55
"""That have place beside each other below a matrix."""
WIDTH, HEIGHT = 777, 446
"""Points that a matrix with counts has at least, to fit the type into its cells."""
READABLE = 10
"""Points of the counts at least; where cells are too small for it, they become wider than high."""


@picture
def draw_confusion(matrix: Array, labels: Sequence[str], name: str) -> Figure:
    """Draw a confusion matrix: counts, coloured by their share of the samples of the true class.

    matrix: (K, K) counts, rows true, columns predicted; labels: K names, or none; name: of the model.
    Raises PlotError if it counts no samples, and for more than MAX_CLASSES classes.
    """
    from matplotlib.colors import PowerNorm

    check_classes(len(matrix))
    samples, right, classes = int(matrix.sum()), int(np.trace(matrix)), len(matrix)
    if not samples:
        raise PlotError("there is no confusion to show: there are no test samples")
    title = f"{name}: {right:,} of {samples:,} test samples right ({right / samples:.2%})"
    counted = classes <= MAX_COUNTED
    is_square = not counted or _size(matrix, HEIGHT) >= READABLE
    figure = new_figure(title, "compressed" if counted and is_square else "constrained")
    axes, *beside = figure.subplots(1, 1 if counted else 2, width_ratios=None if counted else [5, 2], squeeze=False)[0]
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    blocks, step = _blocks(share)
    scale = PowerNorm(0.35, 0, 1)  # rare errors must be told from none
    edges = (-0.5, len(blocks) * step - 0.5, len(blocks) * step - 0.5, -0.5)  # in classes, a block at the end in full
    aspect: Literal["equal", "auto"] = "equal" if is_square else "auto"
    shown = axes.imshow(blocks, cmap="Blues", norm=scale, aspect=aspect, interpolation="nearest", extent=edges)
    axes.set(xlim=(-0.5, classes - 0.5), ylim=(classes - 0.5, -0.5))
    if step > 1:
        figure.supxlabel(f"each point is the largest share of {step} x {step} classes", fontsize=SMALL)
    names = class_names(labels, classes, 16)
    _name_axes(axes, names)
    if counted:
        _write_counts(axes, matrix, share)
    else:
        _write_pairs(beside[0], matrix, names)
    figure.colorbar(shown, ax=axes, label="share of the true class", fraction=0.03, aspect=40, pad=0.02)
    return figure


def check_classes(classes: int) -> None:
    """Raise PlotError for more classes than a picture can show."""
    if classes > MAX_CLASSES:
        raise PlotError(f"the confusion of up to {MAX_CLASSES:,} classes can be shown, the model has {classes:,}")


def _blocks(share: Array) -> tuple[Array, int]:
    """The largest of each `step` x `step` shares: a point of the picture shows one cell, and would drop the others."""
    step = math.ceil(len(share) / MAX_CELLS)
    rest = -len(share) % step
    sides = (len(share) + rest) // step
    padded = np.pad(share, (0, rest)).reshape(sides, step, sides, step)
    return padded.max(axis=(1, 3)), step


def _name_axes(axes: Axes, names: list[str]) -> None:
    step = 1 if len(names) <= MAX_COUNTED else math.ceil(len(names) / MAX_NAMED)
    places = range(0, len(names), step)
    long = max(map(len, names)) * len(names) > LETTERS
    axes.set_xticks(places, names[::step], fontsize=SMALL, rotation=90 if long else 0)
    axes.set_yticks(places, names[::step], fontsize=SMALL)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _write_counts(axes: Axes, matrix: Array, share: Array) -> None:
    """The counts of all cells that have one; off the diagonal they are bold."""
    size = max(_size(matrix, HEIGHT), min(READABLE, _size(matrix, WIDTH)))
    for row, column in np.argwhere(matrix).tolist():
        axes.text(
            column,
            row,
            f"{matrix[row, column]:,}",
            ha="center",
            va="center",
            fontsize=size,
            color="white" if share[row, column] > 0.2 else "black",
            fontweight="normal" if row == column else "bold",
        )
    for edge in np.arange(len(matrix) - 1) + 0.5:
        axes.axhline(edge, color="#E0E0E0", linewidth=0.6)
        axes.axvline(edge, color="#E0E0E0", linewidth=0.6)


def _size(matrix: Array, width: int) -> float:
    """Points of the counts' type in a matrix of so many points."""
    digits = len(f"{matrix.max():,}")
    return min(14, width / len(matrix) / (0.68 * digits), HEIGHT / len(matrix) * 0.75)


def _write_pairs(axes: Axes, matrix: Array, names: list[str]) -> None:
    """The most frequent confusions as text."""
    wrong = matrix - np.diag(np.diagonal(matrix))
    places = np.argsort(-wrong, axis=None, kind="stable")[:MAX_PAIRS]
    pairs = [divmod(int(place), len(matrix)) for place in places if wrong.flat[place]]
    lines = [f"{wrong[pair]:,}  {names[pair[0]]} → {names[pair[1]]}" for pair in pairs]
    axes.set_axis_off()
    axes.set_title("most frequent\n(true → predicted)" if lines else "none is wrong", loc="left")
    axes.text(0, 0.98, "\n".join(lines), va="top", linespacing=1.6, fontsize=SMALL, transform=axes.transAxes)
