"""Samples of a dataset: a few images or signals of each class, as one picture."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cnnkit.class_indices import are_indices, indices_of
from cnnkit.components import Augmentation, Mixing
from cnnkit.errors import DataError
from cnnkit.network import Augmented
from cnnkit.plotting.saving import save
from cnnkit.plotting.style import CYCLE, DPI, SLIDE, TITLE, picture, plain, wrapped
from cnnkit.types import Array, Data

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_IMAGES = 240
MOST_CLASSES = 120
MOST_OF_A_CLASS = 16
MOST_UNNAMED, UNNAMED_ACROSS = 32, 8
"""Samples that have no class: how many are shown, and beside each other."""
EPOCHS = MOST_OF_A_CLASS - 1
"""In which an augmented sample is shown."""
WIDTH, HEIGHT = SLIDE
MOST_LETTERS = 18
"""Of the name of a class."""
LETTER = 0.25
"""The room that a letter takes, in images, at the size that is chosen."""
SIGNAL = 1.2
"""Width of a signal by its height."""
_INK = "#222222"


def write_samples(data: Data, path: str | Path, augmentations: Sequence[Augmentation | Mixing] = ()) -> Path:
    """Write a picture with a few training samples of each class; a file of that name is replaced.

    path: ends in .png, .svg or .pdf; augmentations: if there are any, one sample of each class is shown as it is, and
    then as it is in several epochs. Raises PlotError for a path that cannot be, or if matplotlib is missing, and
    DataError for inputs that are neither images nor signals.
    """
    images, labels = _augmented(data, augmentations) if augmentations else _chosen(data)
    names = data.labels if _has_classes(data) else ("",) * (int(labels.max(initial=0)) + 1)
    title = data.name
    if augmentations:
        title += f": as it is, and in {EPOCHS} epochs with {', '.join(map(repr, augmentations))}"
    return save(draw_samples(images, labels, names, title), path)


@picture
def draw_samples(images: Array, labels: Array, names: Sequence[str], title: str) -> Figure:
    """Draw images or signals grouped by class, each class beside its name.

    images: (N, C, H, W) with one channel, drawn in grey, or three, in colour, or signals (N, C, L), whose channels are
    lines; all are scaled alike, from their lowest value to their highest. labels: (N,) class indices; names: of the
    classes, by index, or none, to show the indices. Raises DataError for other inputs.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    are_signals = images.ndim == 3
    if not (are_signals or (images.ndim == 4 and images.shape[1] in (1, 3))) or not images.size:
        raise DataError(
            "expected images of shape (N, 1, H, W) or (N, 3, H, W), or signals of shape (N, C, L), to draw, got "
            f"{images.shape}"
        )
    groups = [(int(index), np.flatnonzero(labels == index)) for index in np.unique(labels)]
    across = max(len(members) for _, members in groups)
    shown = [plain(names[index] if index < len(names) else str(index), MOST_LETTERS) for index, _ in groups]
    room = 0.4 + LETTER * max(map(len, shown))
    columns, rows = _grid(len(groups), room + across)
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.91))
    axes.set_axis_off()
    axes.set_xlim(0, columns * (room + across))
    axes.set_ylim(rows, 0)
    axes.set_aspect("equal", anchor="C")
    size = min(15.0, 0.4 * 72 * min(HEIGHT * 0.91 / rows, WIDTH * 0.98 / (columns * (room + across))))
    figure.text(0.5, 0.955, wrapped(title), fontsize=TITLE, fontweight="bold", color=_INK, ha="center", va="center")
    values = _scaled(images)
    sides = (1, SIGNAL) if are_signals else images.shape[2:]
    high, wide = 0.47 * np.array(sides) / max(sides)  # half of an image, with a gap
    for place, (name, (_, members)) in enumerate(zip(shown, groups, strict=True)):
        left, top = place // rows * (room + across) + room, place % rows
        axes.text(left - 0.2, top + 0.5, name, fontsize=size, color=_INK, ha="right", va="center")
        for step, member in enumerate(members):
            box = (left + step + 0.5 - wide, left + step + 0.5 + wide, top + 0.5 + high, top + 0.5 - high)
            if are_signals:
                _draw_signal(axes, values[member], box)
            else:
                axes.imshow(values[member], cmap="gray", vmin=0, vmax=1, extent=box, interpolation="nearest", zorder=2)
    axes.set_xlim(0, columns * (room + across))  # imshow changes them
    axes.set_ylim(rows, 0)
    return figure


def _chosen(data: Data) -> tuple[Array, Array]:
    """The first training samples of each class, and their labels; of other targets some, in groups without a name."""
    x, y = data.train.x, indices_of(data.train.y)
    if not _has_classes(data):
        return x[:MOST_UNNAMED], np.arange(len(x[:MOST_UNNAMED])) // UNNAMED_ACROSS
    classes = np.unique(y)[:MOST_CLASSES]
    each = max(1, min(MOST_OF_A_CLASS, MOST_IMAGES // len(classes), 2 * len(classes) + 2))  # few classes, large images
    index = np.concatenate([np.flatnonzero(y == label)[:each] for label in classes])
    return x[index], y[index]


def _has_classes(data: Data) -> bool:
    """Whether each sample has one class; others have values, several labels, or classes of pixels."""
    y = indices_of(data.train.y)
    return y.ndim == 1 and are_indices(y)


def _augmented(data: Data, augmentations: Sequence[Augmentation | Mixing]) -> tuple[Array, Array]:
    """The first training sample of each class, and the same in several epochs; in the order of the epochs."""
    x, y = data.train.x, indices_of(data.train.y)
    is_class = _has_classes(data)
    classes = np.unique(y)[:MOST_CLASSES] if is_class else [None]
    first = np.array([0 if label is None else int(np.argmax(y == label)) for label in classes])
    samples = Augmented(x, y, augmentations, max(len(data.labels), int(y.max(initial=0)) + 1))
    epochs = [samples.at(first, 0, epoch).x for epoch in range(EPOCHS)]
    labels = y[first] if is_class else np.arange(len(first))
    return np.concatenate([x[first].astype(np.float32), *epochs]), np.tile(labels, 1 + EPOCHS)


def _grid(groups: int, across: float) -> tuple[int, int]:
    """The columns and rows that show the images largest."""

    def scale(columns: int) -> float:
        return min(WIDTH / (columns * across), HEIGHT * 0.91 / math.ceil(groups / columns))

    columns = max(range(1, groups + 1), key=scale)
    return columns, math.ceil(groups / columns)


def _draw_signal(axes: Axes, values: Array, box: tuple[float, float, float, float]) -> None:
    """A signal (C, L) of values from 0 to 1, in a frame."""
    left, right, bottom, top = box
    axes.plot([left, right, right, left, left], [bottom, bottom, top, top, bottom], color="#B0B0B0", linewidth=0.6)
    across = np.linspace(left, right, values.shape[1])
    for channel, colour in zip(values, itertools.cycle(CYCLE)):
        axes.plot(across, bottom + (0.05 + 0.9 * channel) * (top - bottom), color=colour, linewidth=1)


def _scaled(images: Array) -> Array:
    """Values from 0 to 1, (N, H, W) or (N, H, W, 3); of signals (N, C, L)."""
    values = images.astype(np.float64)
    low, high = values.min(), values.max()
    values = (values - low) / (high - low) if high > low else np.zeros_like(values)
    if values.ndim == 3:
        return values
    return values[:, 0] if values.shape[1] == 1 else values.transpose(0, 2, 3, 1)
