"""Augmentations that rotate, move, scale and shear by any amount, with one interpolation for all of it."""

from __future__ import annotations

import numpy as np

from cnnkit.augmentations.resampling import blocks, resample
from cnnkit.components.checks import finite, from_to, in_range, interval
from cnnkit.components.contracts import Augmentation
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError
from cnnkit.types import Array, Draws, Example

SMALLEST = 0.01
"""Scale; beyond, and above its inverse, an image is a dot or one pixel."""


class Rotate(Augmentation):
    """Rotate an image about its centre by an angle from -degrees to degrees, counterclockwise if positive.

    y[c, p] = x[c, q] with p - m = R(angle) (q - m), m the centre of the image, R a rotation; bilinear.

    Pixels from outside are `fill`, in the dataset's own units. Raises ConfigError unless degrees are
    from 0 to 180.
    Source: Shorten, Khoshgoftaar (2019), A survey on Image Data Augmentation for Deep Learning.
    """

    examples = (
        Example("Rotate(15)", (1, 28, 28)),
        Example("Rotate(180.0, fill=3.0)", (3, 9, 14)),
    )

    def __init__(self, degrees: float, fill: float = 0.0) -> None:
        self.degrees = from_to("degrees", degrees, 0, 180)
        self.fill = finite("fill", fill)

    def apply(self, x: Array, draws: Draws) -> Array:
        angle = np.radians(draws.uniform(-self.degrees, self.degrees))
        none = np.zeros(len(x))
        return _mapped(x, angle, none, none + 1, none, none, self.fill)


class Affine(Augmentation):
    """Rotate, scale, shear and move an image, all at random and as one map with one interpolation.

    y[c, p] = x[c, q] with p - m = t + s R(angle) S(shear) (q - m), m the centre of the image, R a rotation,
    S = [[1, tan(shear)], [0, 1]] on (right, down); bilinear.

    degrees: the angle is from -degrees to degrees, counterclockwise if positive; translate: t is up to this share
    of width and height, either way; scale: s is between these two; shear: from -shear to shear, in degrees. Pixels
    from outside are `fill`, in the dataset's own units.
    Raises ConfigError for degrees, translate or shear outside 0 .. 180, 0 .. 1 and 0 .. 90, and a scale that is not two
    numbers from 0.01 to 100 in order.
    Source: Simard, Steinkraus, Platt (2003), Best Practices for Convolutional Neural Networks Applied to Visual
    Document Analysis, section 2.
    """

    examples = (
        Example("Affine(degrees=10, translate=0.2, scale=(0.8, 1.2), shear=15, fill=2.0)", (1, 28, 28)),
        Example("Affine(scale=(0.01, 100))", (3, 9, 14)),
    )

    def __init__(
        self,
        degrees: float = 0.0,
        translate: float = 0.0,
        scale: tuple[float, float] = (1.0, 1.0),
        shear: float = 0.0,
        fill: float = 0.0,
    ) -> None:
        self.degrees = from_to("degrees", degrees, 0, 180)
        self.translate = in_range("translate", translate, 0, 1)
        self.scale = interval("scale", scale)
        if self.scale[0] < SMALLEST or self.scale[1] > 1 / SMALLEST:
            raise ConfigError(
                f"scale must be a pair of numbers from {SMALLEST} to {1 / SMALLEST:g}, got {shown(scale)}"
            )
        self.shear = in_range("shear", shear, 0, 90)
        self.fill = finite("fill", fill)

    def apply(self, x: Array, draws: Draws) -> Array:
        height, width = x.shape[2:]
        angle = np.radians(draws.uniform(-self.degrees, self.degrees))
        shear = np.radians(draws.uniform(-self.shear, self.shear))
        scale = draws.uniform(*self.scale)
        right, down = draws.uniform(-self.translate, self.translate, 2).T
        return _mapped(x, angle, shear, scale, right * width, down * height, self.fill)


def _mapped(x: Array, angle: Array, shear: Array, scale: Array, right: Array, down: Array, fill: float) -> Array:
    """The images under p - m = t + s R S (q - m); all arguments (N,): radians, and t in pixels.

    The inverse, q - m = S^-1 R^-1 (p - m - t) / s, gives the place of each pixel of y in x.
    """
    height, width = x.shape[2:]
    cos, sin, tan = np.cos(angle) / scale, np.sin(angle) / scale, np.tan(shear)
    across = cos - tan * sin, -sin - tan * cos  # of the column of q, for the column and the row of p
    along = sin, cos  # of its row
    middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
    first_column = middle_column - across[0] * right - across[1] * down
    first_row = middle_row - along[0] * right - along[1] * down
    p_column = np.tile((np.arange(width) - middle_column).astype(np.float32), height)
    p_row = np.repeat((np.arange(height) - middle_row).astype(np.float32), width)
    y = np.empty_like(x)
    for part in blocks(x):
        rows, columns = (
            _line(ratios[0][part], p_column, ratios[1][part], p_row, first[part])
            for ratios, first in ((along, first_row), (across, first_column))
        )
        y[part] = resample(x[part], rows, columns, fill)
    return y


def _line(a: Array, u: Array, b: Array, v: Array, c: Array) -> Array:
    """a u + b v + c, (N,) and (P,) -> (N, P) float32."""
    a, b, c = (one.astype(np.float32)[:, np.newaxis] for one in (a, b, c))
    line = a * u
    line += b * v
    line += c
    return line
