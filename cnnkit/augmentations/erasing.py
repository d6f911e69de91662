"""Augmentations that hide a part of an image, so that a network learns not to depend on it."""

from __future__ import annotations

import numpy as np

from cnnkit.components.checks import finite, fits_into, interval, probability, whole
from cnnkit.components.contracts import Augmentation
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError
from cnnkit.types import Array, Draws, Example


class Cutout(Augmentation):
    """Hide a square of size x size pixels whose centre is anywhere in the image, so that a part may be outside.

    y[c, i, j] = fill where the square is, x[c, i, j] elsewhere

    `fill` is in the dataset's own units. Raises ConfigError for size < 0, and for images smaller than that.
    Source: DeVries, Taylor (2017), Improved Regularization of Convolutional Neural Networks with Cutout.
    """

    examples = (
        Example("Cutout(5)", (1, 28, 28)),
        Example("Cutout(9, fill=7.0)", (3, 9, 14)),
    )

    def __init__(self, size: int, fill: float = 0.0) -> None:
        self.size = whole("size", size, at_least=0)
        self.fill = finite("fill", fill)

    def apply(self, x: Array, draws: Draws) -> Array:
        fits_into(x, self.size - 1, self)
        height, width = x.shape[2:]
        tops, lefts = (draws.integers(0, size) - self.size // 2 for size in (height, width))
        return filled(x, tops, lefts, tops + self.size, lefts + self.size, self.fill)


class Erase(Augmentation):
    """Hide a random rectangle inside the image, with probability `p` (random erasing).

    y[c, i, j] = fill where the rectangle is, x[c, i, j] elsewhere

    scale: its area is between these shares of the image's, uniformly; ratio: height / width is between these,
    uniformly in its logarithm. Sides are rounded to pixels, and cut to those of the image. `fill` is in the dataset's
    own units.
    Raises ConfigError unless 0 <= p <= 1, and for pairs that are not numbers from 0 on in order, a scale above 1, and a
    ratio of 0.
    Source: Zhong, Zheng, Kang, Li, Yang (2020), Random Erasing Data Augmentation.
    """

    examples = (
        Example("Erase()", (1, 28, 28)),
        Example("Erase(p=1.0, scale=(0.5, 1.0), ratio=(0.1, 10.0), fill=7.0)", (3, 9, 14)),
    )

    def __init__(
        self,
        p: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        fill: float = 0.0,
    ) -> None:
        self.p = probability("p", p)
        self.scale, self.ratio = interval("scale", scale), interval("ratio", ratio)
        if self.scale[1] > 1:
            raise ConfigError(f"scale must be a pair of numbers from 0 to 1, shares of the image, got {shown(scale)}")
        if self.ratio[0] == 0:
            raise ConfigError(f"ratio must be a pair of numbers above 0, got {shown(ratio)}")
        self.fill = finite("fill", fill)

    def apply(self, x: Array, draws: Draws) -> Array:
        height, width = x.shape[2:]
        chosen = draws.uniform() < self.p
        area = draws.uniform(*self.scale) * height * width
        ratio = np.exp(draws.uniform(*np.log(self.ratio)))
        tall = np.minimum(np.rint(np.sqrt(area * ratio)), height).astype(np.int64) * chosen
        wide = np.minimum(np.rint(np.sqrt(area / ratio)), width).astype(np.int64) * chosen
        tops = (draws.uniform() * (height - tall + 1)).astype(np.int64)
        lefts = (draws.uniform() * (width - wide + 1)).astype(np.int64)
        return filled(x, tops, lefts, tops + tall, lefts + wide, self.fill)


def filled(x: Array, tops: Array, lefts: Array, bottoms: Array, rights: Array, fill: float) -> Array:
    """The images with `fill` in a rectangle of each, (N,) pixels, cut to the image; in place."""
    corners = (np.maximum(edges, 0).tolist() for edges in (tops, bottoms, lefts, rights))
    for image, top, bottom, left, right in zip(x, *corners, strict=True):
        image[:, top:bottom, left:right] = fill
    return x
