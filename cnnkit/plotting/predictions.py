"""What a model says about samples: the first of them, or those that it has wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnnkit.components.predicted_class import not_finite
from cnnkit.errors import PlotError
from cnnkit.plotting.style import GREY, NORMAL, SMALL, SUBTITLE, class_names, new_figure, picture
from cnnkit.plotting.tiles import VALUE, check_images, show_images, tiles
from cnnkit.types import Array, Inputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = ((4, 21, 1.05), (8, 18, 1.5), (math.inf, 15, 1.8))
"""Width of the longest label, how many samples are shown then, and the width of a tile, in widths of its image."""
LETTERS, WIDE = 12, 1.35
"""Of a label; and the width of a capital letter, an m or a w, beside that of another one."""
FEW = 3
"""Samples with room for larger letters."""
RIGHT, WRONG = "#00734F", "#B24A00"
"""Green and vermilion, dark enough for letters on white."""
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
    first = np.arange(min(len(images), _most(labels)[0]))
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
    most, _ = _most(labels)
    which = ", the most confident first" if len(wrong) > 1 else ""
    which = f", the {most} most confident of them" if len(wrong) > most else which
    return _grid(images, targets, probabilities, labels, order[:most], f"{name}: {share}{which}")


def _check_finite(probabilities: Array, name: str) -> None:
    if not np.isfinite(probabilities).all():
        raise PlotError(not_finite(name, "samples"))


def _most(labels: Sequence[str]) -> tuple[int, float]:
    """How many samples are shown, and the width of a tile, in widths of its image."""
    longest = max((sum(WIDE if one.isupper() or one in "mw" else 1 for one in label) for label in labels), default=0)
    return next((most, room) for width, most, room in MOST if longest <= width)


def _grid(
    images: Inputs, targets: Array, probabilities: Array, labels: Sequence[str], index: Array, title: str
) -> Figure:
    few = len(index) <= FEW
    figure = new_figure(title, "compressed" if few else "constrained")  # captions of several need their room
    names = class_names(labels, probabilities.shape[1], LETTERS)
    height, width = images.shape[2:]
    most, room = _most(labels)
    size = SUBTITLE if few else NORMAL if most == MOST[0][1] else SMALL
    places = tiles(figure, len(index), shape=(height + CAPTION * width, width * room))
    shown = show_images(places, images[index])
    for axes, at in zip(places, index.tolist(), strict=True):
        predicted, target = int(probabilities[at].argmax()), int(targets[at])
        axes.set_xlabel(f"sample {at:,}", fontsize=NORMAL if few else SMALL, labelpad=2, color=GREY)
        text = f"{names[predicted]}  {percent(probabilities[at, predicted])}"
        if predicted == target:
            axes.set_title(f"✓ {text}", color=RIGHT, fontsize=size)
        else:
            axes.set_title(f"✗ {text}\ntrue: {names[target]}", color=WRONG, fontweight="bold", fontsize=size)
    if shown:
        figure.colorbar(shown, ax=figure.axes, label=VALUE, fraction=0.02, aspect=40, pad=0.02)
    return figure


def percent(probability: float) -> str:
    """A probability as text; near 1, a decimal tells a confident model from an almost confident one."""
    if 0.9995 <= probability < 1:
        return ">99.9%"
    return f"{probability:.1%}" if 0.99 < probability < 1 else f"{probability:.0%}"
