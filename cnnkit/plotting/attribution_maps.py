"""Attribution: an image beside the map of what in it speaks for an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cnnkit.errors import PlotError
from cnnkit.plotting.filters import largest
from cnnkit.plotting.style import BLUE, SLIDE, SUBTITLE, VERMILION, new_figure, picture, plain
from cnnkit.plotting.tiles import VALUE, add_axes, check_images, frame, show_images, value_range
from cnnkit.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

EDGE, TOP, BELOW, BETWEEN, BAR, THICK = 0.35, 1.25, 1.0, 0.45, 1.45, 0.2
"""Inches beside, over and below the images, between them, for the bar with its numbers, and of a bar."""
FAINT = 0.2
"""The contrast that the image keeps below its map."""


@picture
def draw_attribution(
    image: Array, values: Array, title: str, *, caption: str = "", method: str = "", scale: str = "attribution"
) -> Figure:
    """An image, and beside it a map over the same image, faint: orange speaks for the answer, blue against it.

    image: (C, H, W), 1 or 3 channels, in the dataset's own units; values: (H, W), or (C, H, W), which are added up for
    each pixel, as `attribute` gives them for the image; caption, method: what stands over the two; scale: what the
    numbers of the map are.
    Raises PlotError for what is no image, for a map that does not fit it, and for one without a finite value.
    """
    image, values = np.asarray(image), np.asarray(values)
    check_images(image[None])
    if values.shape not in (image.shape, image.shape[1:]):
        raise PlotError(f"expected a map of shape {image.shape[1:]} or {image.shape}, got {values.shape}")
    if not np.isfinite(values).any():
        raise PlotError("there is no map to show: none of its values is finite")
    shown = values.sum(axis=0) if values.ndim == 3 else values
    figure = new_figure(title, None)
    height, width = shown.shape
    room = SLIDE[0] - 2 * EDGE - BETWEEN - BAR, SLIDE[1] - TOP - BELOW
    pixel = min(room[0] / (2 * width), room[1] / height)
    across, down = pixel * width, pixel * height
    left = (SLIDE[0] - 2 * across - BETWEEN - BAR) / 2
    top = TOP + (room[1] - down) / 2
    first = add_axes(figure, left, top, across, down)
    second = add_axes(figure, left + across + BETWEEN, top, across, down)
    for axes, text in ((first, caption), (second, method)):
        frame(axes)
        axes.set_title(plain(text), fontsize=SUBTITLE, pad=8)
    if pixels := show_images([first], image[None]):
        bar = add_axes(figure, left, top + down + 0.15, across, THICK)
        figure.colorbar(pixels, cax=bar, label=VALUE, orientation="horizontal")
    made = _over(second, image, shown)
    bar = add_axes(figure, left + 2 * across + BETWEEN + 0.2, top, THICK, down)
    figure.colorbar(made, cax=bar, label=plain(scale))
    return figure


def _over(axes: Axes, image: Array, values: Array) -> ScalarMappable:
    """The map over the faint image, whose ground is white, so that colours are those of the bar."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    low, high = value_range(image[None])
    grey = np.clip((np.nan_to_num(image.astype(np.float64), posinf=high, neginf=low) - low) / (high - low), 0, 1)
    lightness = grey.mean(axis=0)
    if len(image) == 1 and np.median(lightness) < 0.5:  # what is light on dark, as digits are
        lightness = 1 - lightness
    limit = largest(values)
    signed = bool((values < 0).any())
    colours = LinearSegmentedColormap.from_list("for and against", [*([BLUE] if signed else []), "#FFFFFF", VERMILION])
    norm = Normalize(-limit if signed else 0, limit)
    tint = colours(norm(np.nan_to_num(values.astype(np.float64), posinf=limit, neginf=-limit)))[..., :3]
    axes.imshow((1 - FAINT + FAINT * lightness)[..., None] * tint, interpolation="nearest")
    return ScalarMappable(norm, colours)
