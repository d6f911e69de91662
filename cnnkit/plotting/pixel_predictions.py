"""Predictions for each pixel, in rows below the inputs: classes as colours, or values as images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnnkit.errors import PlotError
from cnnkit.plotting.style import NORMAL, SMALL, SUBTITLE, class_colours, legend_of_classes, new_figure, picture
from cnnkit.plotting.tiles import check_images, frame, show_images, value_range
from cnnkit.types import Array, Inputs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROOM = (12.4, 5.7)
"""Inches for all rows of images together: width and height."""
MOST_COLUMNS = 10


def shown_columns(shape: Sequence[int]) -> int:
    """How many samples make three rows largest; shape: height and width of one."""
    height, width = shape[-2:]
    return int(max(1, min(MOST_COLUMNS, round(ROOM[0] / (ROOM[1] / 3 * width / height)))))


@picture
def draw_segments(images: Inputs, targets: Array, predicted: Array, labels: Sequence[str], name: str) -> Figure:
    """Samples in columns: the input, the true class of each pixel and the predicted one, as colours with a legend.

    images: (N, C, H, W), 1 or 3 channels, in the dataset's units; targets, predicted: (N, h, w) class indices, of which
    targets outside of 0 .. K - 1 are not shown; labels: K names. Raises PlotError unless inputs are images.
    """
    from matplotlib.colors import BoundaryNorm, ListedColormap

    check_images(images)
    count = min(len(images), shown_columns(images.shape))
    colours = class_colours(labels, len(labels))
    counted = (targets >= 0) & (targets < len(labels))
    figure = new_figure(f"{name}: classes of the pixels in the first {count} test samples", "compressed")
    rows = _rows(figure, ("input", "truth", "prediction"), count)
    show_images(rows[0], np.asarray(images[:count]))
    norm = BoundaryNorm(np.arange(len(labels) + 1) - 0.5, len(labels))
    cmap = ListedColormap(colours).with_extremes(bad="#FFFFFF")
    for row, maps in zip(rows[1:], (np.ma.masked_where(~counted, targets), predicted), strict=True):
        for axes, classes in zip(row, maps, strict=False):
            axes.imshow(classes, cmap=cmap, norm=norm, interpolation="nearest")
    for at, axes in enumerate(rows[-1]):
        right = (predicted[at] == targets[at])[counted[at]]
        said = f"{right.mean():.1%} right" if right.size else "nothing counted"
        axes.set_xlabel(said, fontsize=SMALL, labelpad=4)
    seen = np.union1d(targets[:count][counted[:count]], predicted[:count]).tolist()
    legend_of_classes(figure, labels, seen)
    return figure


@picture
def draw_image_outputs(images: Inputs, targets: Array, outputs: Array, name: str) -> Figure:
    """Samples in columns: the input, the image that the model gives, and the one that it should give.

    Where the input itself is the target, the last row is the difference. Under each output is its error, the root of
    the mean square. images: (N, C, H, W), in the dataset's units; targets, outputs: (N, c, h, w), with 1 or 3 channels.
    Raises PlotError for others.
    """
    from cnnkit.plotting.style import diverging

    check_images(images)
    check_images(outputs)
    count = min(len(images), shown_columns(images.shape))
    x, y, t = np.asarray(images[:count]), outputs[:count], targets[:count]
    is_input = _is_scaled(x, t)
    last = "difference" if is_input else "target"
    figure = new_figure(f"{name}: outputs for the first {count} test samples", "compressed")
    rows = _rows(figure, ("input", "output", last), count)
    show_images(rows[0], x)
    errors = np.sqrt(np.square(y.astype(np.float64) - t).mean(axis=(1, 2, 3)))
    if is_input:
        show_images(rows[1], y)
        difference = (y - t).mean(axis=1)
        most = float(np.abs(difference).max()) or 1.0
        for axes, values in zip(rows[2], difference, strict=True):
            shown = axes.imshow(values, cmap=diverging(), vmin=-most, vmax=most, interpolation="nearest")
        figure.colorbar(shown, ax=rows[2], label="output - input", fraction=0.02, aspect=14, pad=0.01)
    else:
        both = np.concatenate([y, t])
        low, high = value_range(t)  # of the targets: an output beyond them is as light as they are
        show_images([*rows[1], *rows[2]], both.clip(low, high))
    for axes, error in zip(rows[1], errors.tolist(), strict=True):
        axes.set_xlabel(f"RMSE {error:.3g}", fontsize=SMALL, labelpad=4)
    return figure


def as_segments(labels: Array) -> Array:
    """One label of each pixel, (N, 1, H, W) of 0 to 1, as two classes, (N, H, W)."""
    if labels.ndim != 4 or labels.shape[1] != 1:
        raise PlotError(f"{labels.shape[1]} labels for each pixel, several at once: a picture shows one of them")
    return (labels[:, 0] >= 0.5).astype(np.int64)


def _rows(figure: Figure, names: Sequence[str], count: int) -> list[list[Axes]]:
    grid = figure.subplots(len(names), count, squeeze=False).tolist()
    for name, row in zip(names, grid, strict=True):
        for axes in row:
            frame(axes)
        row[0].set_ylabel(name, fontsize=SUBTITLE, labelpad=8)
    for at, axes in enumerate(grid[0]):
        axes.set_title(f"sample {at}", fontsize=NORMAL)
    return list(grid)


def _is_scaled(x: Array, t: Array) -> bool:
    """Whether the targets are the inputs, in other units."""
    if x.shape != t.shape:
        return False
    high = float(np.abs(x).max()) / (float(np.abs(t).max()) or 1.0)
    return bool(np.allclose(x, t * high, rtol=0, atol=1e-3 * high))
