"""Kernels of a convolution: what its filters look for, at the end of a training and on the way there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnnkit.errors import PlotError
from cnnkit.plotting.style import NORMAL, SLIDE, SMALL, diverging, new_figure, picture
from cnnkit.plotting.tiles import GAP, add_axes, frame, show_maps, tiles, unit
from cnnkit.types import Array
from cnnkit.wording import thinned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_FILTERS = 40
MAX_COLUMNS, MAX_ROWS = 32, 16
"""Filters and input channels that a grid shows."""
MAX_EPOCHS, MAX_HISTORIES, FEW_HISTORIES = 12, 16, 8
"""Epochs and filters that a history shows; the few if kernels would be smaller than SMALLEST otherwise."""
SMALLEST = 0.5
"""Inches of a kernel's shorter side."""
WEIGHT = "weight"
BAR, TOP, FILTER = 1.4, 1.75, 1.0
"""Inches of the colour bar of a history, of what is over its kernels, and of a filter's name."""
WIDTH, HEIGHT = SLIDE[0] - BAR - 0.4, SLIDE[1] - TOP - 0.3
"""Inches for the kernels and the names of the filters."""


@picture
def draw_filters(weight: Array, title: str, *, rgb: bool = False) -> Figure:
    """The kernels of a convolution, white where the weight is 0, on one scale.

    One input channel: an image for each filter; more: a grid with a column for each filter. All are counted from 0.
    weight: (out, in, kh, kw); rgb: whether 3 input channels are red, green and blue, so that each filter is one image.
    Raises PlotError unless it has 4 axes and a finite value.
    """
    _check(weight, 4, "weights of shape (out, in, kh, kw)")
    filters, channels = weight.shape[:2]
    if channels > 1 and not (rgb and channels == 3):
        return _draw_grid(weight, title)
    figure = new_figure(title + _cut("filter", filters, MAX_FILTERS))
    shown = weight[:MAX_FILTERS]
    places = tiles(figure, len(shown), shape=(1.2 * shown.shape[2], shown.shape[3]))
    for number, axes in enumerate(places):
        axes.set_title(str(number), fontsize=SMALL, pad=3)
    limit = largest(shown)
    if channels == 1:
        made = show_maps(places, shown[:, 0], diverging(), -limit, limit)
        figure.colorbar(made, ax=places, label=WEIGHT, fraction=0.02, aspect=40, pad=0.02)
        return figure
    for axes, kernel in zip(places, shown, strict=True):
        grey = np.nan_to_num(kernel.transpose(1, 2, 0) / limit, posinf=1, neginf=-1).clip(-1, 1)
        axes.imshow(0.5 + grey / 2, interpolation="nearest")
    figure.supxlabel(f"red, green and blue: grey is 0, full colour is ±{limit:.3g}")
    return figure


@picture
def draw_filter_history(weights: Array, title: str, *, epochs: Sequence[int] | None = None, channel: int = 0) -> Figure:
    """The kernels of a convolution through a training: a row for each filter, a column for each epoch, on one scale.

    Where they are larger then, the rows go on in other blocks of columns.

    weights: (epochs, out, in, kh, kw); epochs: their numbers, 1, 2, ... if None; channel: the input channel that is
    shown. Raises PlotError unless it has 5 axes and a finite value.
    """
    _check(weights, 5, "weights of shape (epochs, out, in, kh, kw)")
    numbers = list(range(1, len(weights) + 1)) if epochs is None else list(epochs)
    columns = thinned(len(weights), MAX_EPOCHS)
    count, kernel = len(columns), weights.shape[3:]

    def size(filters: int, blocks: int) -> float:
        room = WIDTH - blocks * (FILTER + count * GAP), HEIGHT
        return unit(filters, blocks, (kernel[0], kernel[1] * count), room, 0)

    filters = min(weights.shape[1], MAX_HISTORIES)
    if max(size(filters, blocks) for blocks in range(1, filters + 1)) * min(kernel) < SMALLEST:
        filters = min(filters, FEW_HISTORIES)
    shown = weights[columns, :filters, channel]  # (epochs, filters, kh, kw)
    figure = new_figure(title + _cut("filter", weights.shape[1], filters), None)
    blocks = max(range(1, filters + 1), key=lambda blocks: size(filters, blocks))
    rows = math.ceil(filters / blocks)
    across, down = (size(filters, blocks) * side + GAP for side in reversed(kernel))
    block = FILTER + count * across
    left, top = (SLIDE[0] - math.ceil(filters / rows) * block - BAR) / 2, TOP + (HEIGHT - rows * down) / 2
    grid = []
    for row in range(filters):
        start, above = left + row // rows * block + FILTER, top + row % rows * down
        made = [add_axes(figure, start + place * across, above, across - GAP, down - GAP) for place in range(count)]
        made[0].set_ylabel(f"filter {row}", rotation=0, ha="right", va="center", fontsize=NORMAL)
        if row % rows == 0:
            for axes, column in zip(made, columns, strict=True):
                axes.set_title(str(numbers[column]), fontsize=NORMAL)
            width = count * across - GAP
            figure.text((start + width / 2) / SLIDE[0], 1 - (top - 0.35) / SLIDE[1], "epoch", ha="center")
        grid += made
    for axes in grid:
        frame(axes)
    limit = largest(shown)
    maps = shown.transpose(1, 0, 2, 3).reshape(-1, *shown.shape[2:])
    scale = show_maps(grid, maps, diverging(), -limit, limit)
    bar = add_axes(figure, left + math.ceil(filters / rows) * block + GAP, top, 0.18, rows * down - GAP)
    figure.colorbar(scale, cax=bar, label=WEIGHT)
    return figure


def largest(values: Array) -> float:
    """The largest absolute value that is finite, so that a scale is as long on both sides of 0; 1 if all are 0."""
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max(initial=0.0)) or 1.0


def _draw_grid(weight: Array, title: str) -> Figure:
    filters, channels, height, width = weight.shape
    figure = new_figure(title + _cut("filter", filters, MAX_COLUMNS) + _cut("input channel", channels, MAX_ROWS))
    shown = weight[:MAX_COLUMNS, :MAX_ROWS]
    columns, rows = shown.shape[:2]
    limit = largest(shown)
    image = shown.transpose(1, 2, 0, 3).reshape(rows * height, columns * width)  # a kernel beside the other
    axes = figure.subplots()
    made = axes.imshow(image, cmap=diverging(), vmin=-limit, vmax=limit, interpolation="nearest")
    for place in range(1, columns):
        axes.axvline(place * width - 0.5, color="white", linewidth=4)
    for place in range(1, rows):
        axes.axhline(place * height - 0.5, color="white", linewidth=4)
    step = 1 if columns <= 20 else 2
    axes.set_xticks(
        [(i + 0.5) * width - 0.5 for i in range(0, columns, step)], [str(i) for i in range(0, columns, step)]
    )
    axes.set_yticks([(i + 0.5) * height - 0.5 for i in range(rows)], [str(i) for i in range(rows)])
    axes.tick_params(length=0, labelsize=SMALL)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("filter (output channel)")
    axes.set_ylabel("input channel")
    figure.colorbar(made, ax=axes, label=WEIGHT, fraction=0.02, aspect=40, pad=0.02, panchor=False)
    return figure


def _check(weights: Array, axes: int, expected: str) -> None:
    if weights.ndim != axes or not weights.size:
        raise PlotError(f"expected {expected}, got {weights.shape}")
    if not np.isfinite(weights).any():
        raise PlotError("there are no filters to show: none of the weights is finite")


def _cut(noun: str, count: int, most: int) -> str:
    return f", the first {most} of {count:,} {noun}s" if count > most else ""
