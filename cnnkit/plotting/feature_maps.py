"""Feature maps: what a layer makes of one sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cnnkit.errors import PlotError
from cnnkit.plotting.filters import largest
from cnnkit.plotting.style import SMALL, diverging, new_figure, picture, plain
from cnnkit.plotting.tiles import VALUE, check_images, frame, show_images, show_maps, tiles
from cnnkit.types import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_MAPS = 40


@picture
def draw_feature_maps(image: Array, maps: Array, title: str, caption: str) -> Figure:
    """A sample beside the outputs of a layer for it, counted from 0, all on one scale.

    image: (C, H, W), 1 or 3 channels, in the dataset's units; maps: (channels, h, w); caption: what the sample is, on
    up to three lines. Raises PlotError for what is not an image, and for maps without a finite value.
    """
    check_images(image[None])
    if maps.ndim != 3:
        raise PlotError(f"expected feature maps of shape (channels, h, w), got {maps.shape}")
    if not np.isfinite(maps).any():
        raise PlotError("there are no feature maps to show: none of their values is finite")
    more = f", the first {MAX_MAPS} of {len(maps):,} channels" if len(maps) > MAX_MAPS else ""
    figure = new_figure(title + more, compressed=True)
    left, right = figure.subfigures(1, 2, width_ratios=[1, 2.6], squeeze=False)[0]
    axes = left.subplots()
    axes.set_title("\n".join(map(plain, caption.splitlines())))
    frame(axes)
    if pixels := show_images([axes], image[None]):
        left.colorbar(pixels, ax=axes, label=VALUE, location="bottom", pad=0.03)
    shown = maps[:MAX_MAPS]
    places = tiles(right, len(shown), shape=(1.15 * maps.shape[1], maps.shape[2]), area=1.2)
    for number, place in enumerate(places):
        place.set_title(str(number), fontsize=SMALL, pad=3)
    limit = largest(shown)
    signed = bool((shown < 0).any())
    made = show_maps(places, shown, diverging() if signed else "viridis", -limit if signed else 0, limit)
    right.colorbar(made, ax=places, label="output of the layer", fraction=0.03, aspect=40, pad=0.02)
    return figure
