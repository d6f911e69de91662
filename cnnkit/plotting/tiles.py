"""Many small images in one picture, as large as they can be."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, cast

import numpy as np

from cnnkit.errors import PlotError
from cnnkit.plotting.style import CYCLE, SLIDE
from cnnkit.types import Array, Inputs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure, FigureBase

GAP = 0.1
"""Inches between tiles that are given their places."""
VALUE = "pixel value (units of the dataset)"


def tiles(figure: FigureBase, count: int, *, shape: tuple[float, float] = (1, 1), area: float = 16 / 8) -> list[Axes]:
    """Axes without ticks in as many columns as make each of them largest.

    shape: height and width of a tile, in any unit; area: width of the place for all of them, for a height of 1. The
    last row is filled as far as that makes no tile smaller.
    """

    def size(columns: int) -> float:
        return min(area / (columns * shape[1]), 1 / (math.ceil(count / columns) * shape[0]))

    columns = max(range(1, count + 1), key=size)
    rows = math.ceil(count / columns)
    columns = math.ceil(count / rows)
    grid: list[Axes] = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in grid[:count]:
        frame(axes)
    for axes in grid[count:]:
        axes.set_axis_off()
    return grid[:count]


def unit(count: int, columns: int, shape: tuple[float, float], room: tuple[float, float], caption: float) -> float:
    """Inches of a unit of tiles in so many columns.

    shape: height and width of a tile, in units; room: width and height for all of them, in inches; caption: inches over
    each tile. There is a GAP beside each.
    """
    rows = math.ceil(count / columns)
    return min((room[0] / columns - GAP) / shape[1], (room[1] / rows - GAP - caption) / shape[0])


def add_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes of a size, in inches from the left and from the top of a slide."""
    across, down = SLIDE
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def frame(axes: Axes) -> None:
    """A thin frame, which shows where an image ends that is white at its edge, and no ticks."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(visible=True, color="#B0B0B0", linewidth=0.8)


def check_images(images: Inputs) -> None:
    """Raise PlotError unless these are images (N, C, H, W) that a screen can show."""
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise PlotError(f"images of 1 or 3 channels can be shown, inputs of shape {images.shape[1:]} cannot")
    if not len(images):
        raise PlotError("there are no samples to show: the test set is empty")


def show_images(places: list[Axes], images: Array) -> ScalarMappable | None:
    """One image in each place: (N, C, H, W) in the dataset's units, grey or RGB on one scale.

    Returns what a colour bar needs; None for RGB, which has no one scale.
    """
    low, high = value_range(images)
    if images.shape[1] == 3:
        for axes, image in zip(places, images, strict=True):
            shown = np.clip((image.astype(np.float64) - low) / (high - low), 0, 1)
            axes.imshow(shown.transpose(1, 2, 0), interpolation="nearest")
        return None
    return show_maps(places, images[:, 0], "gray", low, high)


def show_signals(places: list[Axes], signals: Array) -> None:
    """One signal in each place: (N, C, L) in the dataset's units, its channels as lines, all on one scale."""
    low, high = value_range(signals)
    margin = 0.05 * (high - low)
    for axes, signal in zip(places, signals, strict=True):
        for channel, colour in zip(signal, itertools.cycle(CYCLE)):
            axes.plot(channel, color=colour, linewidth=1.4)
        axes.set(xlim=(0, max(1, signals.shape[2] - 1)), ylim=(low - margin, high + margin))


def show_maps(places: list[Axes], maps: Array, colours: str | Colormap, low: float, high: float) -> ScalarMappable:
    """One map (H, W) in each place, all on one scale."""
    made = [
        axes.imshow(values, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
        for axes, values in zip(places, maps, strict=True)
    ]
    return cast("ScalarMappable", made[-1])


def value_range(images: Array) -> tuple[float, float]:
    """The scale on which images are shown, the same for all of them: 0 to 255 for RGB of uint8, else 0 to 1 if all
    values are in it, else from the lowest, or 0 if that is lower, to the highest: uint8 may be 0 to 16, as in Digits.
    """
    finite = images[np.isfinite(images)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if images.shape[1] == 3 and images.dtype == np.uint8:
        return 0.0, 255.0
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    low = min(0.0, low)
    return low, high if high > low else low + 1.0
