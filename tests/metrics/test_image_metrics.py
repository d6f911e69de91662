"""Metrics of images against plain loops, published behaviour, and bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnkit.components import Metric
from cnnkit.metrics import PSNR, SSIM
from cnnkit.types import Array


def value(metric: Metric, y: Array, t: Array) -> float:
    return metric.value(metric.sums(y, t))


def test_psnr_is_the_mean_over_the_images() -> None:
    rng = np.random.default_rng(0)
    y, t = rng.random((2, 5, 3, 4, 6)).astype(np.float32)
    expected = [10 * math.log10(4.0 / np.square(a.astype(float) - b).mean()) for a, b in zip(y, t, strict=True)]
    assert value(PSNR(2.0), y, t) == pytest.approx(np.mean(expected), rel=1e-12)


def test_an_image_without_error_counts_100_decibels() -> None:
    t = np.random.default_rng(0).random((3, 1, 4, 4))
    assert value(PSNR(), t, t) == pytest.approx(100)
    assert value(PSNR(), t + 0.1, t) == pytest.approx(20)


def plain_ssim(y: Array, t: Array, data_range: float) -> float:
    """Window by window, with the weights as a matrix."""
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    weights /= weights.sum()
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    images, channels, height, width = y.shape
    found = []
    for n, c, i, j in np.ndindex(images, channels, height - 10, width - 10):
        a, b = (one[n, c, i : i + 11, j : j + 11].astype(float) for one in (y, t))
        mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
        var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
        both = (weights * (a - mean_a) * (b - mean_b)).sum()
        over = (2 * mean_a * mean_b + c1) * (2 * both + c2)
        found.append(over / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)))
    return float(np.mean(found))


@pytest.mark.parametrize("shape", [(1, 1, 11, 11), (2, 3, 13, 12), (3, 1, 16, 20)])
@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_ssim_equals_a_plain_loop(shape: tuple[int, ...], data_range: float) -> None:
    rng = np.random.default_rng(1)
    t = rng.random(shape) * data_range
    y = t + rng.normal(0, 0.1 * data_range, shape)
    assert value(SSIM(data_range), y, t) == pytest.approx(plain_ssim(y, t, data_range), rel=1e-10)


def test_equal_images_have_a_similarity_of_1_and_negatives_a_negative_one() -> None:
    t = np.random.default_rng(2).random((2, 1, 15, 15))
    assert value(SSIM(), t, t) == pytest.approx(1)
    assert value(SSIM(), 1 - t, t) < 0
