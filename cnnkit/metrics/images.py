"""Metrics of images that a network gives: how close they are to those that it should give."""

from __future__ import annotations

import functools
import math

import numpy as np

from cnnkit.components.checks import positive
from cnnkit.components.contracts import Metric
from cnnkit.errors import ShapeError
from cnnkit.types import Array, Example

LEAST_ERROR = 1e-10
"""Of the squared range: 100 dB, about what float32 can tell apart."""
WINDOW, SIGMA = 11, 1.5
"""Pixels along each axis that are looked at together, and the standard deviation of their weights."""
K1, K2 = 0.01, 0.03


class _ImageMetric(Metric):
    """The mean over the images of a number of each; sums = [sum of these numbers, number of images]."""

    def __init__(self, data_range: float = 1.0) -> None:
        self.data_range = positive("data_range", data_range)

    def sums(self, outputs: Array, targets: Array) -> Array:
        if targets.shape != outputs.shape or outputs.ndim != 4:
            raise ShapeError(
                f"{type(self).__name__} compares images: it needs outputs of shape (N, C, H, W) and targets of the "
                f"same shape, got {outputs.shape} and {targets.dtype} of shape {targets.shape}: remove {self!r} from "
                "the metrics"
            )
        each = self.of_each(outputs.astype(np.float64), targets.astype(np.float64))
        return np.array([each.sum(), len(each)])

    def value(self, total: Array) -> float:
        added, count = total.tolist()
        return added / count if count else math.nan

    def of_each(self, y: Array, t: Array) -> Array:
        """The number of each image, (N,); y, t: (N, C, H, W) float64."""
        raise NotImplementedError  # derived classes define it


class PSNR(_ImageMetric):
    """Peak signal-to-noise ratio of images, in decibels, averaged over the images.

    value = mean_n 10 log10(data_range^2 / mse_n),  mse_n = mean (y_n - t_n)^2

    An image without error would have no finite one: at most 100 dB are counted. data_range: between the lowest and the
    highest value that pixels may have. y, t: (N, C, H, W); value: NaN over no images. Raises ConfigError unless
    data_range > 0, ShapeError for other outputs and targets.
    Source: Huynh-Thu, Ghanbari (2008), Scope of Validity of PSNR in Image/Video Quality Assessment.
    """

    examples = (
        Example("PSNR()", (1, 4, 5), targets="values"),
        Example("PSNR(data_range=255.0)", (3, 2, 3), targets="values"),
    )

    def of_each(self, y: Array, t: Array) -> Array:
        share = np.square((y - t) / self.data_range).mean(axis=(1, 2, 3))
        return np.asarray(-10 * np.log10(np.maximum(share, LEAST_ERROR)))


class SSIM(_ImageMetric):
    """Structural similarity of images, averaged over windows, channels and images.

    value = mean (2 m_y m_t + c1) (2 s_yt + c2) / ((m_y^2 + m_t^2 + c1) (s_y^2 + s_t^2 + c2))

    m, s^2 and s_yt are means, variances and covariance in windows of 11 x 11 pixels with Gaussian weights of standard
    deviation 1.5, wherever a window is inside of the image; c1 = (0.01 data_range)^2 and c2 = (0.03 data_range)^2.

    data_range: between the lowest and the highest value that pixels may have. y, t: (N, C, H, W), at least 11 x 11
    pixels; value: -1 to 1, 1 for equal images, and NaN over no images. Raises ConfigError unless data_range > 0,
    ShapeError for other outputs and targets.
    Source: Wang, Bovik, Sheikh, Simoncelli (2004), Image Quality Assessment: From Error Visibility to Structural
    Similarity, section III.
    """

    examples = (
        Example("SSIM()", (1, 11, 13), targets="values"),
        Example("SSIM(data_range=2.0)", (2, 12, 11), targets="values"),
    )

    def of_each(self, y: Array, t: Array) -> Array:
        if min(y.shape[2:]) < WINDOW:
            raise ShapeError(
                f"SSIM looks at windows of {WINDOW} x {WINDOW} pixels, and the images have {y.shape[2]} x {y.shape[3]}:"
                f" remove {self!r} from the metrics"
            )
        c1, c2 = (K1 * self.data_range) ** 2, (K2 * self.data_range) ** 2
        mean_y, mean_t = _windowed(y), _windowed(t)
        both, of_y, of_t = mean_y * mean_t, np.square(mean_y), np.square(mean_t)
        covariance = _windowed(y * t) - both
        variances = _windowed(np.square(y)) + _windowed(np.square(t)) - of_y - of_t
        similarity = (2 * both + c1) * (2 * covariance + c2) / ((of_y + of_t + c1) * (variances + c2))
        return np.asarray(similarity.mean(axis=(1, 2, 3)))


def _windowed(x: Array) -> Array:
    """Weighted means of all windows inside of the images, along one axis after the other."""
    weights = np.exp(-0.5 * np.square((np.arange(WINDOW) - WINDOW // 2) / SIGMA))
    weights /= weights.sum()
    for axis in (2, 3):
        count = x.shape[axis] - WINDOW + 1
        slices = (x[(slice(None),) * axis + (slice(at, at + count),)] for at in range(WINDOW))
        x = functools.reduce(np.add, (weight * one for weight, one in zip(weights, slices, strict=True)))
    return x
