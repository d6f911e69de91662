"""Brightness, contrast and colours."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit.augmentations import Brightness, Contrast, RotateColors
from cnnkit.errors import ConfigError
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


def test_colours_rotate_about_their_mean() -> None:
    x = images(channels=3)
    mean = x.mean(axis=(2, 3), keepdims=True)
    y = RotateColors(180).apply(x.copy(), Scripted(5, [0.0, 0.0, 2.0], 0.75))  # by 90 degrees about blue
    red, green, blue = (x - mean).swapaxes(0, 1)
    np.testing.assert_allclose(y, np.stack([-green, red, blue], 1) + mean, atol=1e-3)
    y = RotateColors(180).apply(x.copy(), Scripted(5, [1.0, 1.0, 1.0], 5 / 6))  # by 120 degrees about grey
    np.testing.assert_allclose(y, np.stack([blue, red, green], 1) + mean, atol=1e-3)


def test_colours_that_differ_still_do() -> None:
    x = images(1000, channels=3)
    y = RotateColors(180).apply(x.copy(), draws(1000))
    np.testing.assert_allclose(y.mean(axis=(2, 3)), x.mean(axis=(2, 3)), rtol=1e-4)
    before, after = (np.square(one[:, :, 1:] - one[:, :, :-1]).sum(axis=1) for one in (x, y))
    np.testing.assert_allclose(after, before, rtol=1e-2)
    red = (y - y.mean(axis=(2, 3), keepdims=True))[:, 0, 0, 0]
    assert abs((red > 0).mean() - 0.5) < 0.1


def test_colours_need_three_channels() -> None:
    with pytest.raises(ConfigError, match=r"RotateColors\(20\) needs images of three channels, .*, these have 1"):
        RotateColors(20).apply(images(channels=1), draws(5))
