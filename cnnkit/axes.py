"""Which axis of an array is which, and what to write where one is missing or in another place.

Images are (N, C, H, W). TensorFlow, matplotlib and Pillow have the channels last, and grey images often have no axis
for them. A network can be built for either, with rows of pixels for channels: so what seems to have its channels last
is refused, with what to write if it has, and what if it has not.
"""

from __future__ import annotations

import math

from cnnkit.types import Shape

MOST_CHANNELS = 4
"""Of what is taken for an image: grey, grey or colour with transparency, colour."""


def seems_channels_last(shape: Shape) -> bool:
    """Whether one input of this shape seems to be (H, W, C): the last axis alone is as short as channels are."""
    return len(shape) == 3 and shape[2] <= MOST_CHANNELS < min(shape[:2])


def about_channels_last(shape: Shape, x: str = "x") -> str:
    """What an input of shape (H, W, C) seems to be, and what to write; x: what the inputs are called."""
    height, width, channels = shape
    return (
        f"{shape} seems to be (height, width, channels), and channels come first: write {x}.transpose(0, 3, 1, 2), "
        f"which gives {(channels, height, width)}; if these really are {height} channels of {width} x {channels} "
        f"pixels, turn the images with {x}.swapaxes(2, 3), which gives {(height, channels, width)}"
    )


def conversion(given: Shape, expected: Shape) -> str:
    """The expression that makes inputs x of shape `expected`, without the batch axis, of `given`; "" if none does."""
    one, some = given, given[1:]
    size = math.prod(expected)
    if one == expected:
        return "x[None]"
    if len(expected) == 1:
        return "x.reshape(len(x), -1)" if len(some) > 1 and math.prod(some) == size else ""
    if len(expected) != 3:
        return ""
    channels, height, width = expected
    ways = {
        "x.transpose(0, 3, 1, 2)": some == (height, width, channels),
        "x.transpose(2, 0, 1)[None]": one == (height, width, channels),
        "x[:, None]": channels == 1 and some == (height, width),
        "x[None, None]": channels == 1 and one == (height, width),
        f"x.reshape{(-1, *expected)}": channels == 1 and some == (size,),
        f"x.reshape{(-1, *expected)} where each channel is in one piece, and "
        f"x.reshape{(-1, height, width, channels)}.transpose(0, 3, 1, 2) where each pixel is": channels > 1
        and some == (size,),
    }
    return next((way for way, fits in ways.items() if fits), "")
