"""Brightness and contrast."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit.augmentations import Brightness, Contrast
from tests.augmentations.scripted import Scripted, draws, images


def test_brightness_multiplies() -> None:
    x = images()
    y = Brightness(0.4).apply(x.copy(), Scripted(5, 0.75))
    np.testing.assert_allclose(y, 1.2 * x, rtol=1e-6)


def test_contrast_moves_away_from_the_mean() -> None:
    x = images()
    mean = x.mean(axis=(1, 2, 3), keepdims=True)
    y = Contrast(0.4).apply(x.copy(), Scripted(5, 0.75))
    np.testing.assert_allclose(y, mean + 1.2 * (x - mean), atol=1e-3)


@pytest.mark.parametrize("kind", [Brightness, Contrast])
def test_factors_are_uniform(kind: type[Brightness | Contrast]) -> None:
    x = np.tile(np.array([0, 2], np.float32), (4000, 1, 1, 1))
    y = kind(0.5).apply(x.copy(), draws(4000))
    factors = (y[:, 0, 0, 1] - y[:, 0, 0, 0]) / 2
    counts = np.histogram(factors, 20, (0.5, 1.5))[0]
    assert counts.sum() == 4000
    assert ((counts - 200) ** 2 / 200).sum() < 19 + 5 * np.sqrt(38)
