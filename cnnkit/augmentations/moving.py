"""Augmentations that move whole pixels: flipping and shifting."""

from __future__ import annotations

import numpy as np

from cnnkit.components.checks import finite, probability, whole
from cnnkit.components.contracts import Augmentation
from cnnkit.types import Array, Draws


class Flip(Augmentation):
    """Mirror an image left to right, with probability `p`: y[c, i, j] = x[c, i, W - 1 - j].

    Raises ConfigError unless 0 <= p <= 1. Not for images that mean something else in a mirror, such as digits.
    Source: Krizhevsky, Sutskever, Hinton (2012), ImageNet Classification with Deep Convolutional Neural Networks,
    section 4.1.
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability("p", p)

    def apply(self, x: Array, draws: Draws) -> Array:
        chosen = draws.uniform() < self.p
        x[chosen] = x[chosen, :, :, ::-1]
        return x


class Shift(Augmentation):
    """Move an image by up to `by` pixels along each axis: y[c, i, j] = x[c, i + a, j + b], a, b in -by .. by.

    What comes in from outside is `fill`, in the dataset's own units. Equal to cropping a random window of the old size
    out of the image with a border of `by` pixels around it.
    Raises ConfigError for by < 1.
    Source: He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, section 4.2.
    """

    def __init__(self, by: int, fill: float = 0.0) -> None:
        self.by = whole("by", by)
        self.fill = finite("fill", fill)

    def apply(self, x: Array, draws: Draws) -> Array:
        samples, channels, height, width = x.shape
        around = (samples, channels, height + 2 * self.by, width + 2 * self.by)
        bordered = np.full(around, self.fill, x.dtype)
        bordered[:, :, self.by : -self.by, self.by : -self.by] = x
        windows = np.lib.stride_tricks.sliding_window_view(bordered, (height, width), axis=(2, 3))  # (N, C, a, b, H, W)
        a, b = draws.integers(0, 2 * self.by + 1, 2).T
        return np.ascontiguousarray(windows[np.arange(samples), :, a, b])
