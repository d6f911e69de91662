"""In which units inputs are: the range of their values, compared with that of the training samples.

An array does not say whether its images go from 0 to 1 or to 255, and a network answers either. That the values of one
are a small part of the other's range, or far outside it, is noticed here, and said. Nothing is converted but image
files, whose white is known.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from cnnkit.errors import UnitsWarning
from cnnkit.types import Array, Inputs, Preprocessing, Shape, blocks

Range = tuple[float, float]
"""The lowest and the highest value."""
NARROW = 8
"""Images whose highest value is less than this part of what it was in training may be in other units."""
LEVELS, BYTE = 16, 255
"""What white is where images have few levels, as the digits have, and where they have 8 bits."""


def bounds(x: Array) -> Range:
    """The lowest and the highest of at least one value; NaN if any is."""
    return float(x.min()), float(x.max())


def range_of(x: Inputs) -> Range:
    """The same of inputs that may not be in memory, read in blocks."""
    lows, highs = zip(*(bounds(x[block]) for block in blocks(x)), strict=True)
    return float(np.min(lows)), float(np.max(highs))


def in_other_units(known: Range, given: Range, shape: Shape) -> bool:
    """Whether values from `given` can hardly be in the units of those from `known`; shape: of one input.

    They leave the known range by more than its width, or are negative where none was; or they are images that end at 1,
    or at 16 where 255 was white, and so use less than an eighth of it. A range of one value says nothing.
    """
    low, high = known
    if (width := high - low) == 0:
        return False
    if given[1] > high + width or given[0] < low - width or (low >= 0 and given[0] < -width / NARROW):
        return True
    if len(shape) != 3 or low < 0 or not 0 < given[1] * NARROW <= high:
        return False
    return given[1] <= 1 or (given[1] <= LEVELS and BYTE / 2 < high <= BYTE)


def units_hint(known: Range | None, given: Range, shape: Shape) -> str:
    """What to say of inputs that seem to be in other units than the training samples; "" if nothing."""
    if known is None or not in_other_units(known, given, shape):
        return ""
    return (
        f"values from {given[0]:.6g} to {given[1]:.6g}, and the model was trained on values from {known[0]:.6g} to "
        f"{known[1]:.6g}: these seem to be other units; bring them to those of the training samples"
    )


def warn_of_units(known: Range | None, given: Range, shape: Shape) -> None:
    """A `UnitsWarning` with what `units_hint` says, if it says anything."""
    if hint := units_hint(known, given, shape):
        warnings.warn(f"the inputs have {hint}", UnitsWarning, stacklevel=2)


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
    if known is None or (preprocessing.scale != 1 and not in_other_units((0, white), known, shape)):
        return Scale(0, white, True)
    if known[0] >= 0 and known[1] <= 1:
        return Scale(0, 1, True)
    if known[0] >= 0 and BYTE / 2 < known[1] <= BYTE:
        return Scale(0, BYTE, True)
    return Scale(*known, known == (-1, 1)) if known[0] < 0 else Scale(0, known[1], False)
