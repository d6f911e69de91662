"""Images that the channels of a layer answer to most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnnkit.plotting.style import SMALL, new_figure, picture, plain
from cnnkit.plotting.tiles import VALUE, check_images, show_images, tiles
from cnnkit.types import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LETTERS = 12
"""Of a channel's name."""


@picture
def draw_maximisation(images: Array, names: Sequence[str], title: str) -> Figure:
    """Images, (N, C, H, W) with 1 or 3 channels, each under the name of its channel. Raises PlotError for others."""
    check_images(images)
    figure = new_figure(title)
    height, width = images.shape[2:]
    places = tiles(figure, len(images), shape=(height + 0.25 * width, width))
    shown = show_images(places, images)
    for axes, name in zip(places, names, strict=True):
        axes.set_title(plain(name, LETTERS), fontsize=SMALL, pad=3)
    if shown:
        figure.colorbar(shown, ax=places, label=VALUE, fraction=0.02, aspect=40, pad=0.02)
    return figure
