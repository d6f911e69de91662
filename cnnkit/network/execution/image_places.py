"""Where the images are that a compiled prediction computes on its way, in one memory."""

from __future__ import annotations

from typing import NamedTuple

from cnnkit.layers.window import Axis
from cnnkit.types import Shape


class NoLoopError(Exception):
    """A step has no loop."""


class Place(NamedTuple):
    """Where an image (C, H, W) is; a vector is one of single pixels."""

    begin: int
    """Of its first pixel."""
    plane: int
    """From one channel to the next."""
    pitch: int
    """From one row to the next."""
    shape: tuple[int, int, int]

    @property
    def is_flat(self) -> bool:
        """Whether all numbers lie one after the other, in C order."""
        _, height, width = self.shape
        return self.pitch == width and self.plane == height * width

    def reshaped(self, shape: Shape) -> Place:
        """The same numbers, which are flat, as another image."""
        image = image_of(shape)
        return Place(self.begin, image[1] * image[2], image[2], image)

    def fields(self, name: str) -> dict[str, int]:
        """As steps call them."""
        return {name: self.begin, f"{name}_plane": self.plane, f"{name}_pitch": self.pitch}


def asked(axis: Axis) -> tuple[int, int]:
    """The zeros before and after an image that a convolution sees, or copies with what it sees."""
    if axis.before < 0:
        raise NoLoopError
    seen = (axis.positions - 1) * axis.stride + axis.size - 1 + axis.stride
    return axis.before, max(0, seen - axis.before - axis.length)


def image_of(shape: Shape) -> tuple[int, int, int]:
    """A shape as (C, H, W). Raises NoLoopError for signals."""
    match shape:
        case (channels,):
            return channels, 1, 1
        case (channels, height, width):
            return channels, height, width
    raise NoLoopError


def sizes(image: tuple[int, int, int]) -> dict[str, int]:
    """As steps call them."""
    return dict(zip(("channels", "height", "width"), image, strict=True))
