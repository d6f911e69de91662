"""Feature maps: what a layer makes of one sample."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from cnnkit.errors import PlotError
from cnnkit.plotting.filters import largest
from cnnkit.plotting.style import SLIDE, SMALL, diverging, new_figure, picture, plain
from cnnkit.plotting.tiles import GAP, VALUE, add_axes, check_images, frame, show_images, show_maps, unit
from cnnkit.types import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_MAPS = 40
EDGE, TOP, BETWEEN = 0.3, 0.95, 0.4
"""Inches beside, over and within the picture."""
ROOM = SLIDE[1] - TOP - 0.2
"""Inches from the title down."""
LEAST, LETTER, LINE = 3.0, 0.12, 0.28
"""Inches that a sample is wide at least, of a letter of its caption, and of a line."""
NUMBER, THICK, SCALE, BAR = 0.24, 0.18, 0.85, 1.4
"""Inches of a number over a map, of a colour bar, and of the whole bar with its label, below or beside."""


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
    figure = new_figure(title + more, None)
    shown = maps[:MAX_MAPS]
    lines = [plain(line) for line in caption.splitlines()]
    least = max(LEAST, LETTER * max(map(len, lines), default=0))  # so wide is the sample with its caption
    shape, room = shown.shape[1:], SLIDE[0] - 2 * EDGE - BETWEEN - BAR
    columns = max(range(1, len(shown) + 1), key=lambda c: unit(len(shown), c, shape, (room - least, ROOM), NUMBER))
    size = unit(len(shown), columns, shape, (room - least, ROOM), NUMBER)
    across, down = size * shape[1] + GAP, size * shape[0] + GAP + NUMBER
    rows = math.ceil(len(shown) / columns)
    above, below = LINE * len(lines), SCALE if len(image) == 1 else 0.0
    pixel = min((room - columns * across) / image.shape[2], (ROOM - above - below) / image.shape[1])
    high, wide = pixel * image.shape[1], pixel * image.shape[2]
    beside = max(wide, least)
    left = (SLIDE[0] - beside - BETWEEN - columns * across - BAR) / 2
    middle = TOP + ROOM / 2
    top = middle - (above + high + below) / 2 + above

    axes = add_axes(figure, left + (beside - wide) / 2, top, wide, high)
    axes.set_title("\n".join(lines))
    frame(axes)
    if pixels := show_images([axes], image[None]):
        scale = add_axes(figure, left + (beside - wide) / 2, top + high + GAP, wide, THICK)
        figure.colorbar(pixels, cax=scale, label=VALUE, orientation="horizontal")
    left, top = left + beside + BETWEEN, middle - rows * down / 2
    places = [
        add_axes(
            figure,
            left + number % columns * across,
            top + number // columns * down + NUMBER,
            across - GAP,
            size * shape[0],
        )
        for number in range(len(shown))
    ]
    for number, place in enumerate(places):
        frame(place)
        place.set_title(str(number), fontsize=SMALL, pad=3)
    limit = largest(shown)
    signed = bool((shown < 0).any())
    made = show_maps(places, shown, diverging() if signed else "viridis", -limit if signed else 0, limit)
    bar = add_axes(figure, left + columns * across + GAP, top + NUMBER, THICK, rows * down - NUMBER - GAP)
    figure.colorbar(made, cax=bar, label="output of the layer")
    return figure
