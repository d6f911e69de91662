"""Augmentations of light and colour: brightness, contrast and the directions of colours."""

from __future__ import annotations

import numpy as np

from cnnkit.components.checks import from_to, in_range
from cnnkit.components.contracts import Augmentation
from cnnkit.errors import ConfigError
from cnnkit.types import Array, Draws, Example


class Brightness(Augmentation):
    """Make an image brighter or darker: y = (1 + u) x, u uniform in -strength .. strength.

    Values may exceed the dataset's range: nothing is clipped. Raises ConfigError unless 0 <= strength < 1.
    Source: Howard (2014), Some Improvements on Deep Convolutional Neural Network Based Image Classification.
    """

    examples = (
        Example("Brightness(0.4)", (1, 28, 28)),
        Example("Brightness(0.4)", (3, 9, 14)),
    )

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

    examples = (
        Example("Contrast(0.4)", (1, 28, 28)),
        Example("Contrast(0.4)", (3, 9, 14)),
    )

    def __init__(self, strength: float) -> None:
        self.strength = in_range("strength", strength, 0, 1)

    def apply(self, x: Array, draws: Draws) -> Array:
        # In float32, which needs no buffer: NumPy would add up in pieces of a size that the engine changes.
        mean = x.reshape(len(x), -1).mean(axis=1)
        x += _each(draws.uniform(-self.strength, self.strength)) * (x - _each(mean))
        return x


class RotateColors(Augmentation):
    """Rotate the colours of an image about their mean: y = m + R (x - m), x and y (red, green, blue) of each pixel.

    R = cos(a) I + sin(a) K + (1 - cos(a)) u u^T,    K v = u x v

    m: the mean of all pixels; u: an axis in any direction of the space of colours; a: an angle from -degrees to
    degrees. With 180, any colour becomes any other one, light becomes dark, and what differs still differs as much: for
    images whose shapes have a meaning and whose colours have none. A few degrees change the light. Values may exceed
    the dataset's range: nothing is clipped. Raises ConfigError unless degrees are from 0 to 180, and for images
    without three channels.
    Source: Rodrigues (1840), for R; as an augmentation, a hue rotation about any axis.
    """

    examples = (
        Example("RotateColors(20)", (3, 28, 28)),
        Example("RotateColors(180.0)", (3, 9, 14)),
    )

    def __init__(self, degrees: float) -> None:
        self.degrees = from_to("degrees", degrees, 0, 180)

    def apply(self, x: Array, draws: Draws) -> Array:
        if x.shape[1] != 3:
            raise ConfigError(f"{self!r} needs images of three channels, red, green and blue, these have {x.shape[1]}")
        axis = draws.normal(3)
        axis /= np.maximum(np.sqrt((axis * axis).sum(axis=1, keepdims=True)), 1e-12)
        changes = _rotations(axis, np.radians(draws.uniform(-self.degrees, self.degrees))) - np.eye(3, dtype=np.float32)
        mean = x.reshape(*x.shape[:2], -1).mean(axis=2)[:, :, np.newaxis, np.newaxis]  # as of Contrast
        red, green, blue = (x - mean).swapaxes(0, 1)
        for channel in range(3):
            of_red, of_green, of_blue = changes[:, channel].T[..., np.newaxis, np.newaxis]
            x[:, channel] += of_red * red + of_green * green + of_blue * blue
        return x


def _rotations(axis: Array, angle: Array) -> Array:
    """About these axes, (N, 3), of length 1, by these angles in radians, (N,): (N, 3, 3) float32."""
    cos, sin = np.cos(angle)[:, np.newaxis, np.newaxis], np.sin(angle)[:, np.newaxis, np.newaxis]
    identity = np.eye(3)
    outer = axis[:, :, np.newaxis] * axis[:, np.newaxis, :]
    cross = np.cross(axis[:, np.newaxis, :], identity).swapaxes(1, 2)  # its columns are u x e_k
    return np.asarray(cos * identity + sin * cross + (1 - cos) * outer, np.float32)


def _each(factor: Array) -> Array:
    """One number for each image, (N,) -> (N, 1, 1, 1) float32."""
    return factor.astype(np.float32)[:, np.newaxis, np.newaxis, np.newaxis]
