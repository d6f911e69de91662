"""In which units inputs are: the range of their values, compared with that of the training samples.

An array does not say whether its images go from 0 to 1 or to 255, and a network answers either. That the values of one
are a small part of the other's range, or far outside it, is noticed here, and said. Nothing is converted but image
files, whose white is known.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cnnkit import caller_warnings
from cnnkit.errors import UnitsWarning
from cnnkit.types import Array, Inputs, Preprocessing, Shape, blocks

Range = tuple[float, float]
"""The lowest and the highest value."""
NARROW = 8
"""Images whose highest value is less than this part of what it was in training may be in other units."""
BYTE = 255
WHITES = (1, 16, BYTE, 4095, 65535)
"""What white is of shares, of images with few levels, as the digits have, and of those with 8, 12 and 16 bits."""


class Units(NamedTuple):
    """What is known of the units of training samples."""

    range: Range
    are_pixels: bool
    """Whether they seem to be images, also where each is a row of pixels: a table may have a row of small numbers."""
    are_bytes: bool
    """Whether they are uint8."""


def units_of(known: Range, shape: Shape, scale: float, dtype: str | np.dtype[Any]) -> Units:
    """What the range of training samples, the shape of one, their preprocessing's scale and their dtype say."""
    return Units(known, len(shape) == 3 or scale != 1 or known == (0, BYTE), np.dtype(dtype) == np.uint8)


def bounds(x: Array) -> Range:
    """The lowest and the highest of at least one value; NaN if any is."""
    return float(x.min()), float(x.max())


def range_of(x: Inputs) -> Range:
    """The lowest and the highest value of inputs that may not be in memory, read in blocks."""
    lows, highs = zip(*(bounds(x[block]) for block in blocks(x)), strict=True)
    return float(np.min(lows)), float(np.max(highs))


def in_other_units(known: Units, given: Range, dtype: str | np.dtype[Any] = "float32") -> bool:
    """Whether values from `given`, of this dtype, can hardly be in the units of the training samples.

    They leave the known range by more than its width, or are negative where none was. Or they are images that use less
    than an eighth of it and end at 1, or at what is white in images of fewer levels; but bytes above 1 where bytes were
    known are dark images. Or they begin at 0 where -1 to 1 was known. A range of one value says nothing.
    """
    low, high = known.range
    if (width := high - low) == 0:
        return False
    if given[1] > high + width or given[0] < low - width or (low >= 0 and given[0] < -width / NARROW):
        return True
    if not known.are_pixels or given[1] <= 0:
        return False
    if low < 0:
        return -1 <= low < -0.5 and 0.5 < high <= 1 and 0 <= given[0] < 1 / NARROW
    if given[1] * NARROW > high:
        return False
    if given[1] <= 1:
        return True
    if known.are_bytes and np.dtype(dtype) == np.uint8:
        return False
    return any(given[1] <= fewer < more / 2 < high <= more for fewer in WHITES for more in WHITES)


def units_hint(known: Units | None, given: Range, dtype: str | np.dtype[Any]) -> str:
    """What to say of inputs that seem to be in other units than the training samples; "" if nothing."""
    if known is None or not in_other_units(known, given, dtype):
        return ""
    low, high = known.range
    return (
        f"values from {given[0]:.6g} to {given[1]:.6g}, and the model was trained on values from {low:.6g} to "
        f"{high:.6g}: these seem to be in other units; convert them to those of the training samples"
    )


def warn_of_units(known: Units | None, given: Range, dtype: str | np.dtype[Any]) -> None:
    """A `UnitsWarning` with what `units_hint` says, if it says anything."""
    if hint := units_hint(known, given, dtype):
        caller_warnings.warn(f"the inputs have {hint}", UnitsWarning)


class Scale(NamedTuple):
    """What black and white of an image file are to a model."""

    black: float
    white: float
    is_certain: bool


def scale_of_images(preprocessing: Preprocessing, known: Range | None, shape: Shape) -> Scale:
    """What black and white are to a model whose training inputs had the range `known`, None if it is not recorded.

    White is what the preprocessing divides by, unless the training inputs were in other units than that. Else it is 1
    or 255, if they end there, or near enough; black is 0, or -1 if they go from -1 to 1. Of anything else (numbers that
    were standardised, say) the lowest and the highest value are taken, and it is not certain.
    """
    white = 1 / preprocessing.scale
    units = units_of((0, white), shape, preprocessing.scale, "float32")
    if known is None or (preprocessing.scale != 1 and not in_other_units(units, known)):
        return Scale(0, white, True)
    if known[0] >= 0 and known[1] <= 1:
        return Scale(0, 1, True)
    if known[0] >= 0 and BYTE / 2 < known[1] <= BYTE:
        return Scale(0, BYTE, True)
    return Scale(*known, known == (-1, 1)) if known[0] < 0 else Scale(0, known[1], False)
