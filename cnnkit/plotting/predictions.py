"""What a model says about samples, their class or labels: the first of them, or those that it has wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cnnkit.components.predicted_class import not_finite
from cnnkit.errors import PlotError
from cnnkit.plotting.style import GREY, NORMAL, SMALL, SUBTITLE, class_names, new_figure, picture
from cnnkit.plotting.tiles import VALUE, check_images, show_images, show_signals, tiles
from cnnkit.types import Array, Inputs
from cnnkit.wording import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = ((4, 21, 1.05), (8, 18, 1.5), (math.inf, 15, 1.8))
"""Width of the longest label, how many samples are shown then, and the width of a tile, in widths of its image."""
LETTERS, WIDE = 12, 1.35
"""Of a label; and the width of a capital letter, an m or a w, beside that of another one."""
MOST_LABELS = 3
"""Of one sample that are named."""
FEW = 3
"""Samples with room for larger letters."""
RIGHT, WRONG = "#00734F", "#B24A00"
"""Green and vermilion, dark enough for letters on white."""
CAPTION = 0.6
"""Height of the two lines of text over a tile and the one below it, in heights of its image."""


class Caption(NamedTuple):
    """What is written at a sample."""

    sample: int
    text: str
    """What the model says."""
    wrong: str
    """What is wrong about it, "" if nothing is."""


@picture
def draw_predictions(images: Inputs, targets: Array, probabilities: Array, labels: Sequence[str], name: str) -> Figure:
    """The first samples, each with its predicted label and probability, and the true label where that is another.

    images: (N, C, H, W), 1 or 3 channels, or signals (N, C, L), in the dataset's units; targets: (N,) class indices;
    probabilities: (N, K); labels: K names, or none; name: of the model. Raises PlotError unless inputs are images or
    signals, and for NaN probabilities.
    """
    _check_inputs(images)
    _check_finite(probabilities, name)
    first = np.arange(min(len(images), _most(labels)[0]))
    right = int((probabilities.argmax(axis=1) == targets)[first].sum())
    title = f"{name}: {right} of the first {len(first)} test samples right"
    return _grid(images, _of_classes(targets, probabilities, labels, first), labels, title)


@picture
def draw_misclassified(
    images: Inputs, targets: Array, probabilities: Array, labels: Sequence[str], name: str
) -> Figure:
    """The samples that a model has wrong, those first of which it is most sure; arguments as of `draw_predictions`.

    Raises PlotError as that does, and if no prediction is wrong.
    """
    _check_inputs(images)
    _check_finite(probabilities, name)
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != targets)
    if not len(wrong):
        raise PlotError(f"{name} has none of the {len(targets):,} test samples wrong: there is nothing to show")
    order = wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")]
    share = f"{len(wrong):,} of {len(targets):,} test samples wrong ({len(wrong) / len(targets):.2%})"
    most, _ = _most(labels)
    which = ", the most confident first" if len(wrong) > 1 else ""
    which = f", the {most} most confident of them" if len(wrong) > most else which
    return _grid(images, _of_classes(targets, probabilities, labels, order[:most]), labels, f"{name}: {share}{which}")


@picture
def draw_labels(images: Inputs, targets: Array, probabilities: Array, labels: Sequence[str], name: str) -> Figure:
    """The first samples, each with the labels that the model says are there, and the true ones where they are others.

    images: as of `draw_predictions`; targets: (N, K), 1 for a label that is there, else 0; probabilities: (N, K), a
    label is said to be there from 1/2 on; labels: K names, or none. Raises PlotError as `draw_predictions` does.
    """
    _check_inputs(images)
    _check_finite(probabilities, name)
    first = range(min(len(images), _most(labels)[0]))
    names = class_names(labels, probabilities.shape[1], LETTERS)
    captions = []
    for at in first:
        said, there = probabilities[at] >= 0.5, targets[at] >= 0.5
        wrong = f"true: {_listed(names, there)}" if (said != there).any() else ""
        captions.append(Caption(at, _listed(names, said), wrong))
    right = sum(not caption.wrong for caption in captions)
    return _grid(
        images, captions, labels, f"{name}: all labels right in {right} of the first {len(first)} test samples"
    )


def _listed(names: Sequence[str], which: Array) -> str:
    """The names of the labels that are there, a few of many."""
    places = np.flatnonzero(which).tolist()
    more = f" +{len(places) - MOST_LABELS}" if len(places) > MOST_LABELS else ""
    return ", ".join(names[place] for place in places[:MOST_LABELS]) + more or "none"


def _of_classes(targets: Array, probabilities: Array, labels: Sequence[str], index: Array) -> list[Caption]:
    names = class_names(labels, probabilities.shape[1], LETTERS)
    captions = []
    for at in index.tolist():
        predicted, target = int(probabilities[at].argmax()), int(targets[at])
        text = f"{names[predicted]}  {percent(probabilities[at, predicted])}"
        captions.append(Caption(at, text, "" if predicted == target else f"true: {names[target]}"))
    return captions


def _check_inputs(inputs: Inputs) -> None:
    if inputs.ndim != 3 or not len(inputs):
        check_images(inputs)


def _check_finite(probabilities: Array, name: str) -> None:
    if not np.isfinite(probabilities).all():
        raise PlotError(not_finite(name, "samples"))


def _most(labels: Sequence[str]) -> tuple[int, float]:
    """How many samples are shown, and the width of a tile, in widths of its image."""
    longest = max((sum(WIDE if one.isupper() or one in "mw" else 1 for one in label) for label in labels), default=0)
    return next((most, room) for width, most, room in MOST if longest <= width)


def _grid(images: Inputs, captions: Sequence[Caption], labels: Sequence[str], title: str) -> Figure:
    """One sample for each caption, an image or a signal, with what is said of it above; labels: which set the room."""
    few = len(captions) <= FEW
    figure = new_figure(title, "compressed" if few else "constrained")  # captions of several need their room
    are_signals = images.ndim == 3
    height, width = (1, 1.7) if are_signals else images.shape[2:]
    most, room = _most(labels)
    size = SUBTITLE if few else NORMAL if most == MOST[0][1] else SMALL
    places = tiles(figure, len(captions), shape=(height + CAPTION * (height if are_signals else width), width * room))
    inputs = images[np.array([caption.sample for caption in captions])]
    shown = None if are_signals else show_images(places, inputs)
    if are_signals:
        show_signals(places, inputs)
    for axes, caption in zip(places, captions, strict=True):
        axes.set_xlabel(f"sample {caption.sample:,}", fontsize=NORMAL if few else SMALL, labelpad=2, color=GREY)
        if caption.wrong:
            axes.set_title(f"✗ {caption.text}\n{caption.wrong}", color=WRONG, fontweight="bold", fontsize=size)
        else:
            axes.set_title(f"✓ {caption.text}", color=RIGHT, fontsize=size)
    if shown:
        figure.colorbar(shown, ax=figure.axes, label=VALUE, fraction=0.02, aspect=40, pad=0.02)
    return figure
