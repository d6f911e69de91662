"""Augmentations that move whole pixels: flipping, shifting and cropping."""

from __future__ import annotations

import numpy as np

from cnnkit.components.checks import finite, fits_into, probability, whole
from cnnkit.components.contracts import Augmentation
from cnnkit.types import Array, Draws, Example


class Flip(Augmentation):
    """Mirror an image left to right, with probability `p`: y[c, i, j] = x[c, i, W - 1 - j].

    Raises ConfigError unless 0 <= p <= 1. Not for images whose mirror image means something else, such as digits.
    Source: Krizhevsky, Sutskever, Hinton (2012), ImageNet Classification with Deep Convolutional Neural Networks,
    section 4.1.
    """

    examples = (
        Example("Flip()", (1, 28, 28)),
        Example("Flip(p=1.0)", (3, 9, 14)),
    )

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability("p", p)

    def apply(self, x: Array, draws: Draws) -> Array:
        chosen = draws.uniform() < self.p
        x[chosen] = x[chosen, :, :, ::-1]
        return x


class Shift(Augmentation):
    """Move an image by up to `by` whole pixels along each axis: y[c, i, j] = x[c, i + a, j + b], a, b in -by .. by.

    Pixels from outside are `fill`, in the dataset's own units. Equal to cropping a random window of the old size
    out of the image with a border of `by` pixels of `fill` around it.
    Raises ConfigError for by < 0, and for images that are not larger than that.
    Source: He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, section 4.2.
    """

    examples = (
        Example("Shift(2)", (1, 28, 28)),
        Example("Shift(8, fill=-1.5)", (3, 9, 14)),
    )

    def __init__(self, by: int, fill: float = 0.0) -> None:
        self.by = whole("by", by, at_least=0)
        self.fill = finite("fill", fill)

    def apply(self, x: Array, draws: Draws) -> Array:
        fits_into(x, self.by, self)
        samples, channels, height, width = x.shape
        bordered = np.full((samples, channels, height + 2 * self.by, width + 2 * self.by), self.fill, x.dtype)
        bordered[:, :, self.by : self.by + height, self.by : self.by + width] = x
        return _cropped(bordered, x, draws)


class PadCrop(Augmentation):
    """Crop a random window of the old size out of the image with its mirror image, `padding` pixels wide, around it.

    y[c, i, j] = x[c, r(i + a), r(j + b)], a, b in -padding .. padding, r(-k) = k and r(H - 1 + k) = H - 1 - k

    No foreign pixels come in: for photographs, whose edges are rarely dark. With a constant border it is `Shift`.
    Raises ConfigError for padding < 0, and for images that are not larger than that.
    Source: He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, section 4.2 (with zeros around).
    """

    examples = (
        Example("PadCrop()", (1, 28, 28)),
        Example("PadCrop(padding=8)", (3, 9, 14)),
    )

    def __init__(self, padding: int = 4) -> None:
        self.padding = whole("padding", padding, at_least=0)

    def apply(self, x: Array, draws: Draws) -> Array:
        fits_into(x, self.padding, self)
        return _cropped(np.pad(x, [(0, 0), (0, 0), *[(self.padding,) * 2] * 2], mode="reflect"), x, draws)


def _cropped(bordered: Array, x: Array, draws: Draws) -> Array:
    """A window as large as x at a random place of each bordered image."""
    room = bordered.shape[2] - x.shape[2]
    tops, lefts = draws.integers(0, room + 1, 2).T
    height, width = x.shape[2:]
    for image, window, top, left in zip(x, bordered, tops.tolist(), lefts.tolist(), strict=True):
        image[...] = window[:, top : top + height, left : left + width]
    return x
