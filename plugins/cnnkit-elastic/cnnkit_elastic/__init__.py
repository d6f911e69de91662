"""Elastic distortions for cnnkit: training images that are bent by smooth random fields."""

from __future__ import annotations

import functools
import math

import numpy as np

from cnnkit.plugin import Array, Augmentation, Draws, Mixing, blocks, finite, hookimpl, in_range, positive, resample

__all__ = ["Elastic", "smoothing"]

TRUNCATE = 4.0
"""Standard deviations after which a Gaussian is taken to be 0."""


class Elastic(Augmentation):
    """Bend an image by a random field of displacements, smoothed with a Gaussian.

    y[c, i, j] = x[c, i + u[i, j], j + v[i, j]], bilinear;  u = alpha G_H U G_W^T, and v likewise from other numbers,
    U: (H, W) uniform in -1 .. 1; G: a Gaussian filter as a matrix, with zeros outside the image

    sigma: the standard deviation of the Gaussian, in pixels: the larger, the smoother; alpha: the strength. Inside the
    image, displacements have a standard deviation of about alpha / (6.1 sigma) pixels. Pixels from outside are
    `fill`, in the dataset's own units.
    Raises ConfigError unless 0 <= alpha < 1e6 and 0 < sigma < 1000.
    Source: Simard, Steinkraus, Platt (2003), Best Practices for Convolutional Neural Networks Applied to Visual
    Document Analysis, section 2; with its values for digits of 29 x 29 pixels as defaults.
    """

    def __init__(self, alpha: float = 34.0, sigma: float = 4.0, fill: float = 0.0) -> None:
        self.alpha = in_range("alpha", alpha, 0, 1e6)
        self.sigma = in_range("sigma", positive("sigma", sigma), 0, 1e3)
        self.fill = finite("fill", fill)

    def apply(self, x: Array, draws: Draws) -> Array:
        height, width = x.shape[2:]
        along, across = smoothing(height, self.sigma), smoothing(width, self.sigma).T
        along = np.float32(self.alpha) * along
        noise = draws.uniform(-1.0, 1.0, 2, height, width).astype(np.float32)
        places = np.indices((height, width), np.float32).reshape(2, 1, -1)
        y = np.empty_like(x)
        for part in blocks(x):
            # One product for each field: their size, and so the bits of the result, do not depend on the tile.
            fields = along @ noise[part] @ across  # (N, 2, H, W)
            rows, columns = fields.reshape(len(fields), 2, -1).swapaxes(0, 1) + places
            y[part] = resample(x[part], rows, columns, self.fill)
        return y


@functools.lru_cache(maxsize=16)
def smoothing(size: int, sigma: float) -> Array:
    """Gaussian smoothing of a line of `size` values as a matrix, (size, size) float32.

    G[i, j] = g(i - j) / sum of g,  g(d) = exp(-d^2 / (2 sigma^2)) up to d = 4 sigma, 0 beyond
    """
    radius = math.floor(TRUNCATE * sigma + 0.5)
    distances = np.arange(-radius, radius + 1)
    total = np.exp(-0.5 * (distances / sigma) ** 2).sum()
    apart = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    weights = np.exp(-0.5 * (np.minimum(apart, radius) / sigma) ** 2) / total
    matrix = np.where(apart <= radius, weights, 0).astype(np.float32)
    matrix.flags.writeable = False
    return matrix


@hookimpl
def cnnkit_augmentations() -> list[type[Augmentation | Mixing]]:
    """Elastic distortion."""
    return [Elastic]
