"""Which axis of an array is which, and what to write where one is missing or in another place.

Images are (N, C, H, W), signals (N, C, L). TensorFlow, matplotlib and Pillow have the channels last, and grey images
often have no axis for them. Nothing stops a network from taking the rows of pixels for channels. So what seems to have
its channels last is refused, and the message says what to write: if it does, to bring them to the front; if it does
not, to turn it.
"""

from __future__ import annotations

import math

from cnnkit.errors import ShapeError
from cnnkit.types import Shape

MOST_CHANNELS = 4
"""Of what is taken for an image: grey, grey or colour with transparency, colour."""
MOST_LEADS, SAMPLES_PER_LEAD = 31, 16
"""A signal of shape (leads, samples, 1) has at most this many leads, and at least this many times as many samples."""


def seems_channels_last(shape: Shape) -> bool:
    """Whether one input of this shape seems to be (H, W, C): the last axis alone is as short as channels are.

    A signal of several leads, (12, 1000, 1), is none: no image is that wide and that low.
    """
    if len(shape) != 3 or not shape[2] <= MOST_CHANNELS < min(shape[:2]):
        return False
    is_signal = shape[2] == 1 and shape[0] <= MOST_LEADS and shape[1] >= SAMPLES_PER_LEAD * shape[0]
    return not is_signal


def refuse_channels_last(shape: Shape) -> None:
    """Raise ShapeError for an input_shape that seems to be (H, W, C)."""
    if seems_channels_last(shape):
        raise ShapeError(f"input_shape {about_channels_last(shape)}")


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
        return _flattening(some) if len(some) > 1 and math.prod(some) == size else ""
    if len(expected) == 2:
        return _of_signals(given, expected)
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


def _of_signals(given: Shape, expected: Shape) -> str:
    """As `conversion`, for signals (channels, length)."""
    one, some = given, given[1:]
    channels, length = expected
    ways = {
        "x.swapaxes(1, 2)": some == (length, channels),
        "x.T[None]": one == (length, channels),
        "x[:, None]": channels == 1 and some == (length,),
        "x[None, None]": channels == 1 and one == (length,),
    }
    return next((way for way, fits in ways.items() if fits), "")


def _flattening(some: Shape) -> str:
    """The expression that makes a row of each input; colours can be in two orders there."""
    plain = "x.reshape(len(x), -1)"
    if len(some) != 3 or 1 in (some[0], some[2]):
        return plain
    channels_last = some[2] <= MOST_CHANNELS < some[0]
    other = f"x.transpose({'0, 3, 1, 2' if channels_last else '0, 2, 3, 1'}).reshape(len(x), -1)"
    channels, pixels = (other, plain) if channels_last else (plain, other)
    return f"{channels} where each channel is in one piece, and {pixels} where each pixel is"
