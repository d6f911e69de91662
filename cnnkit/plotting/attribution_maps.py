"""Attribution: an image beside the map of what in it speaks for an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cnnkit.errors import PlotError
from cnnkit.plotting.filters import largest
from cnnkit.plotting.style import BLACK, BLUE, LINES, SLIDE, SUBTITLE, VERMILION, new_figure, picture, plain
from cnnkit.plotting.tiles import VALUE, add_axes, check_images, frame, show_images, value_range
from cnnkit.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

EDGE, TOP, BELOW, BETWEEN, BAR, THICK = 0.35, 1.25, 1.0, 0.45, 1.45, 0.2
"""Inches beside, over and below the images, between them, for the bar with its numbers, and of a bar."""
LETTER = 0.12
"""Inches of a letter of a caption, of which there are as many as the image is wide."""
OUTLINE, WIDTH = "#404040", 1.2
"""Of the image over its map."""


@picture
def draw_attribution(
    image: Array, values: Array, title: str, *, caption: str = "", method: str = "", scale: str = "attribution"
) -> Figure:
    """An image, and beside it a map with the image's outline: orange speaks for the answer, blue against it.

    image: (C, H, W), 1 or 3 channels, in the dataset's own units; values: (H, W), or (C, H, W), which are added up for
    each pixel, as `attribute` gives them for the image; caption, method: what stands over the two; scale: what the
    numbers of the map are. A signal (C, L) has one picture: its curves before the map, (L,) or (C, L).
    Raises PlotError for what is neither, for a map that does not fit it, and for one without a finite value.
    """
    image, values = np.asarray(image), np.asarray(values)
    if image.ndim != 2:
        check_images(image[None])
    if values.shape not in (image.shape, image.shape[1:]):
        raise PlotError(f"expected a map of shape {image.shape[1:]} or {image.shape}, got {values.shape}")
    if not np.isfinite(values).any():
        raise PlotError("there is no map to show: none of its values is finite")
    shown = values.sum(axis=0) if values.ndim == image.ndim else values
    if image.ndim == 2:
        return _draw_signal(image, shown, title, f"{caption}: {method}".strip(": "), scale)
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
        axes.set_title(plain(text, int(across / LETTER)), fontsize=SUBTITLE, pad=8)
    if pixels := show_images([first], image[None]):
        bar = add_axes(figure, left, top + down + 0.15, across, THICK)
        figure.colorbar(pixels, cax=bar, label=VALUE, orientation="horizontal")
    made = _over(second, image, shown)
    bar = add_axes(figure, left + 2 * across + BETWEEN + 0.2, top, THICK, down)
    figure.colorbar(made, cax=bar, label=plain(scale))
    return figure


def _over(axes: Axes, image: Array, values: Array) -> ScalarMappable:
    """The map in the colours of the bar, with the outline of the image, halfway from its darkest to its lightest.

    Its own greys would make other colours of the map's.
    """
    scale = _scale(values)
    axes.imshow(_tint(scale, values), interpolation="nearest")
    low, high = value_range(image[None])
    lightness = np.nan_to_num(image.astype(np.float64), nan=low, posinf=high, neginf=low).mean(axis=0)
    darkest, lightest = float(lightness.min()), float(lightness.max())
    if darkest < lightest:  # else there is none
        height, width = lightness.shape
        x, y = np.arange(-1, width + 1), np.arange(-1, height + 1)
        beyond = np.pad(lightness, 1, "edge")  # pixels have their values in the middle: lines shall reach the frame
        axes.contour(x, y, beyond, levels=[(darkest + lightest) / 2], colors=OUTLINE, linewidths=WIDTH)
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    return scale


def _draw_signal(signal: Array, values: Array, title: str, caption: str, label: str) -> Figure:
    figure = new_figure(title)
    axes = figure.subplots()
    axes.set_title(plain(caption))
    low, high = value_range(signal[None])
    margin = 0.05 * (high - low)
    box = (-0.5, signal.shape[1] - 0.5, low - margin, high + margin)
    scale = _scale(values)
    axes.imshow(_tint(scale, values)[None], extent=box, aspect="auto", interpolation="nearest")
    for number, channel in enumerate(signal):
        axes.plot(channel, color=BLACK, linestyle=LINES[number % len(LINES)], linewidth=2, label=f"channel {number}")
    if len(signal) > 1:
        axes.legend(frameon=True)
    axes.set(xlabel="position", ylabel="value (units of the dataset)")
    figure.colorbar(scale, ax=axes, label=plain(label), fraction=0.03, pad=0.02)
    return figure


def _scale(values: Array) -> ScalarMappable:
    """White at 0, orange above and blue below; without blue for what is never below."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    limit, signed = largest(values), bool((values < 0).any())
    colours = LinearSegmentedColormap.from_list("for and against", [*([BLUE] if signed else []), "#FFFFFF", VERMILION])
    return ScalarMappable(Normalize(-limit if signed else 0, limit), colours)


def _tint(scale: ScalarMappable, values: Array) -> Array:
    """The colours of values, (..., 3); what is no number is white."""
    limit = largest(values)
    return np.asarray(scale.to_rgba(np.nan_to_num(values.astype(np.float64), posinf=limit, neginf=-limit))[..., :3])
