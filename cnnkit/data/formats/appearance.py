"""What an image looks like: whether it is dark on light, and framed as a dataset's images are."""

from __future__ import annotations

import numpy as np

from cnnkit.data.formats.crop_and_centre import PHOTOGRAPH, background
from cnnkit.data.formats.images import framed
from cnnkit.data.formats.pictures import Picture, border, pixels_of
from cnnkit.types import Array, Framing

SMALL = 64
"""Pixels of the longer side in which a photograph is looked at: the light on paper changes slowly."""
NEAR = 0.1
"""Part of its range by which a photograph differs from its background at most, where that can be seen."""
MOST = 0.8
"""Part of a photograph on which its background can be seen, if it is one of paper."""
FINE = 112
"""Pixels of the longer side, about, in which the place of a content is measured."""
STRONG = 1 / 3
"""Part of the range of an image by which its content differs from its ground."""
DARKEST = 0.1
"""Part of white up to which a ground is as dark as that of a dataset whose images were cropped to their content."""
SMALLEST, BEYOND = 0.6, 2
"""Of a content as long as the dataset's: the smallest part of it, and how many pixels it may be longer."""
OFF_CENTRE = 1 / 4
"""Of its length, by which it may be off the centre."""


def looks_inverted(image: Array, picture: Picture | None = None) -> bool:
    """Whether an image shows something dark on a light background, light and dark being those of the image itself.

    A photograph is judged by its file, where it shows paper: where a smooth surface, see `background`, lies on four
    fifths of it, what is far from that is dark if the cubes of all deviations add up to less than 0. That sees a stroke
    anywhere on it, in uneven light.
    Else the image is inverted if the median m of its outermost pixels is in the upper half of the values that it has,
    and the mean of its middle (half the height, half the width) is below m.
    image: (1, H, W), whose lowest value is dark; picture: what is in its file, if there is one.
    """
    if picture is not None and max(picture.size) >= max(PHOTOGRAPH, 2 * max(image.shape)):
        deviations = _from_paper(pixels_of(picture.shrunk(SMALL))[..., 0])
        if deviations is not None:
            return bool((deviations**3).sum() < 0)
    level = image[0]
    height, width = level.shape
    ground = np.median(border(level))
    middle = level[height // 4 : height - height // 4, width // 4 : width - width // 4]
    return bool(ground > (level.min() + level.max()) / 2 and middle.mean() < ground)


def is_framed(picture: Picture, shape: tuple[int, ...], framing: Framing, inverted: bool) -> bool:
    """Whether a picture, resized to the input of a network, has its content where the dataset's images have it.

    It does if its ground is as dark as theirs, and what stands out by a third of its range has about their size, and is
    in the middle as theirs is. An image that has the size already is taken as one of them.
    shape: (1, height, width); inverted: whether light and dark are swapped.
    """
    _, height, width = shape
    if picture.size == (height, width):
        return True
    scale = max(1, min(max(picture.image.size), FINE) // max(height, width))
    level = framed(picture, (1, scale * height, scale * width), 1.0, framing.resize)[0]
    level = level.max() - level if inverted else level
    ground = np.median(border(level))
    strength = np.abs(level - ground)
    strength[strength <= STRONG * np.ptp(level)] = 0
    rows, columns = (strength.sum(axis=axis) for axis in (1, 0))
    if ground > DARKEST or not rows.any():
        return False
    extents = [np.flatnonzero(line)[[0, -1]] for line in (rows, columns)]
    length = max(last + 1 - first for first, last in extents) / scale
    if not SMALLEST * framing.content <= length <= framing.content + BEYOND:
        return False
    centres = [
        (line * np.arange(len(line))).sum() / line.sum() if framing.centre == "mass" else (first + last + 1) / 2
        for line, (first, last) in zip((rows, columns), extents, strict=True)
    ]
    off = max(abs(centre - len(line) / 2) for centre, line in zip(centres, (rows, columns), strict=True))
    return bool(off <= OFF_CENTRE * framing.content * scale)


def _from_paper(grey: Array) -> Array | None:
    """How far each pixel is from the background, as a part of the range; None unless most of it can be seen."""
    reach = np.ptp(grey)
    if reach == 0:
        return None
    level = (grey - grey.min()) / reach
    deviations: Array = level - background(level)
    return deviations if (np.abs(deviations) < NEAR).mean() >= MOST else None
