"""What a network really sees: images as they are in their files, beside the inputs that were made of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cnnkit.plotting.saving import save
from cnnkit.plotting.style import SMALL, legend_of_classes, new_figure, picture, plain
from cnnkit.plotting.tiles import tiles
from cnnkit.types import Array

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

GAP = 0.06
"""Between the two images, in widths of one."""
MOST_LETTERS = 24


@dataclass(frozen=True)
class Prepared:
    """One image, before and after."""

    picture: Array
    """(1 or 3, H, W) uint8, as it is in the file."""
    x: Array
    """(1 or 3, H, W), the input, in the dataset's own units."""
    black: float
    white: float
    """What they are in these units."""
    name: str
    said: str
    """What was done to the image, and what the network says of it."""
    answer: Array | None = None
    """(1 or 3, H, W) uint8, the predicted mask or image, if the network gives one."""


def write_prepared(images: Sequence[Prepared], path: str | os.PathLike[str], classes: Sequence[str] = ()) -> Path:
    """Write the picture of `draw_prepared`; a file of that name is replaced. Raises PlotError if it cannot be."""
    return save(draw_prepared(images, classes), path)


@picture
def draw_prepared(images: Sequence[Prepared], classes: Sequence[str] = ()) -> Figure:
    """Draw each image as it is in the file, the input that was made from it, and the mask or image predicted for it.

    classes: of the pixels, if the network gives classes, for a legend.
    """
    has_answer = images[0].answer is not None
    what = "In the file, as the network sees it, and its prediction"
    figure = new_figure(what if has_answer else "In the file, and as the network sees it")
    width_of_all = 3 + 2 * GAP if has_answer else 2 + GAP
    places = tiles(figure, len(images), shape=(1.35, width_of_all))
    for axes, one in zip(places, images, strict=True):
        pictures = [one.picture / 255, (one.x - one.black) / ((one.white - one.black) or 1)]
        pictures += [] if one.answer is None else [one.answer / 255]
        for place, pixels in enumerate(pictures):
            left = place * (1 + GAP)
            height, width = (side / max(pixels.shape[1:]) for side in pixels.shape[1:])
            box = (left + (1 - width) / 2, left + (1 + width) / 2, (1 - height) / 2, (1 + height) / 2)
            shown = np.clip(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0), 0, 1)
            axes.imshow(shown, cmap="gray", vmin=0, vmax=1, extent=box, interpolation="nearest")
        axes.set(xlim=(0, width_of_all), ylim=(0, 1))  # imshow changes them
        axes.spines[:].set(visible=False)
        axes.set_facecolor("#E4E4E4")
        axes.set_title(f"{plain(_end(one.name), MOST_LETTERS + 1)}\n{plain(one.said)}".rstrip(), fontsize=SMALL)
    if classes:
        legend_of_classes(figure, classes, range(len(classes)))
    return figure


def _end(name: str) -> str:
    """The end of a path, where files differ."""
    return name if len(name) <= MOST_LETTERS else f"…{name[-MOST_LETTERS + 1 :]}"
