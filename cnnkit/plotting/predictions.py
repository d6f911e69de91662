"""What a model says about samples: the first of them, or those that it has wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnnkit.components.predicted import not_finite
from cnnkit.errors import PlotError
from cnnkit.plotting.style import GREEN, GREY, NORMAL, SMALL, VERMILION, class_names, new_figure, picture
from cnnkit.plotting.tiles import VALUE, check_images, show_images, tiles
from cnnkit.types import Array, Inputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_SAMPLES, MAX_LONG = 21, 15
"""How many are shown, and how many if the labels are longer than SHORT."""
SHORT = 5
CAPTION = 0.6
"""Height of the two lines of text over a tile and the one below it, in heights of its image."""


@picture
def draw_predictions(images: Inputs, targets: Array, probabilities: Array, labels: Sequence[str], name: str) -> Figure:
    """The first samples, each with its predicted label and probability, and the true label where that is another.

    images: (N, C, H, W), 1 or 3 channels, in the dataset's units; targets: (N,) class indices; probabilities: (N, K);
    labels: K names, or none; name: of the model. Raises PlotError unless inputs are images, and for NaN
    probabilities.
    """
    check_images(images)
    _check_finite(probabilities, name)
    first = np.arange(min(len(images), _most(labels)))
    right = int((probabilities.argmax(axis=1) == targets)[first].sum())
    title = f"{name}: {right} of the first {len(first)} test samples right"
    return _grid(images, targets, probabilities, labels, first, title)


@picture
def draw_misclassified(
    images: Inputs, targets: Array, probabilities: Array, labels: Sequence[str], name: str
) -> Figure:
    """The samples that a model has wrong, those first of which it is most sure; arguments as of `draw_predictions`.

    Raises PlotError as that does, and if no prediction is wrong.
    """
    check_images(images)
    _check_finite(probabilities, name)
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != targets)
    if not len(wrong):
        raise PlotError(f"{name} has none of the {len(targets):,} test samples wrong: there is nothing to show")
    order = wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")]
    share = f"{len(wrong):,} of {len(targets):,} test samples wrong ({len(wrong) / len(targets):.2%})"
    most = _most(labels)
    which = "the most confident first" if len(wrong) <= most else f"the {most} most confident of them"
    return _grid(images, targets, probabilities, labels, order[:most], f"{name}: {share}, {which}")


def _check_finite(probabilities: Array, name: str) -> None:
    if not np.isfinite(probabilities).all():
        raise PlotError(not_finite(name, "samples"))


def _most(labels: Sequence[str]) -> int:
    return MAX_SAMPLES if max(map(len, labels), default=0) <= SHORT else MAX_LONG


def _grid(
    images: Inputs, targets: Array, probabilities: Array, labels: Sequence[str], index: Array, title: str
) -> Figure:
    figure = new_figure(title, compressed=len(index) == 1)  # captions of several need their room
    names = class_names(labels, probabilities.shape[1], 12)
    height, width = images.shape[2:]
    long = _most(labels) == MAX_LONG
    room = 1.8 if long else 1.05  # for the labels
    places = tiles(figure, len(index), shape=(height + CAPTION * width, width * room))
    shown = show_images(places, images[index])
    for axes, at in zip(places, index.tolist(), strict=True):
        predicted, target = int(probabilities[at].argmax()), int(targets[at])
        size = SMALL if long else NORMAL
        axes.set_xlabel(f"sample {at:,}", fontsize=SMALL, labelpad=2, color=GREY)
        text = f"{names[predicted]}  {percent(probabilities[at, predicted])}"
        if predicted == target:
            axes.set_title(f"✓ {text}", color=GREEN, fontsize=size)
        else:
            axes.set_title(f"✗ {text}\ntrue: {names[target]}", color=VERMILION, fontweight="bold", fontsize=size)
    if shown:
        figure.colorbar(shown, ax=figure.axes, label=VALUE, fraction=0.02, aspect=40, pad=0.02)
    return figure


def percent(probability: float) -> str:
    """A probability as text; near 1, a decimal tells a confident model from an almost confident one."""
    if 0.9995 <= probability < 1:
        return ">99.9%"
    return f"{probability:.1%}" if 0.99 < probability < 1 else f"{probability:.0%}"
