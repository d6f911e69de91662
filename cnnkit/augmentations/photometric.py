"""Augmentations of light: brightness and contrast."""

from __future__ import annotations

import numpy as np

from cnnkit.components.checks import in_range
from cnnkit.components.contracts import Augmentation
from cnnkit.types import Array, Draws


class Brightness(Augmentation):
    """Make an image brighter or darker: y = (1 + u) x, u uniform in -strength .. strength.

    Values may exceed the dataset's range: nothing is clipped. Raises ConfigError unless 0 <= strength < 1.
    Source: Howard (2014), Some Improvements on Deep Convolutional Neural Network Based Image Classification.
    """

    def __init__(self, strength: float) -> None:
        self.strength = in_range("strength", strength, 0, 1)

    def apply(self, x: Array, draws: Draws) -> Array:
        x *= _each(1 + draws.uniform(-self.strength, self.strength))
        return x


class Contrast(Augmentation):
    """Make differences in an image larger or smaller: y = x + u (x - mean(x)), u uniform in -strength .. strength.

    The mean is that of all pixels and channels of the image. Values may exceed the dataset's range: nothing is
    clipped. Raises ConfigError unless 0 <= strength < 1.
    Source: Howard (2014), Some Improvements on Deep Convolutional Neural Network Based Image Classification.
    """

    def __init__(self, strength: float) -> None:
        self.strength = in_range("strength", strength, 0, 1)

    def apply(self, x: Array, draws: Draws) -> Array:
        # In float32, which needs no buffer: NumPy would add up in pieces of a size that the engine changes.
        mean = x.reshape(len(x), -1).mean(axis=1)
        x += _each(draws.uniform(-self.strength, self.strength)) * (x - _each(mean))
        return x


def _each(factor: Array) -> Array:
    """One number for each image, (N,) -> (N, 1, 1, 1) float32."""
    return factor.astype(np.float32)[:, np.newaxis, np.newaxis, np.newaxis]
