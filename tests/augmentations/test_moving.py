"""Flipping, shifting and cropping: whole pixels, at random places that are equally probable."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit.augmentations import Flip, PadCrop, Shift
from tests.augmentations.scripted import Scripted, draws, images, ramps


def test_a_flip_mirrors_left_and_right() -> None:
    x = images()
    np.testing.assert_array_equal(Flip(1.0).apply(x.copy(), draws(5)), x[:, :, :, ::-1])


def test_flips_have_their_probability() -> None:
    x = images(4000, 1, 2, 2)
    flipped = (Flip(0.3).apply(x.copy(), draws(4000)) != x).any(axis=(1, 2, 3)).mean()
    assert abs(flipped - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 4000)


def test_a_shift_brings_in_fill_and_keeps_the_rest() -> None:
    x = images()
    for a, b in np.ndindex(5, 5):
        y = Shift(2, fill=-1.0).apply(x.copy(), Scripted(5, [(a + 0.5) / 5, (b + 0.5) / 5]))
        expected = np.full_like(x, -1)
        for i, j in np.ndindex(9, 7):
            if 0 <= i + a - 2 < 9 and 0 <= j + b - 2 < 7:
                expected[:, :, i, j] = x[:, :, i + a - 2, j + b - 2]
        np.testing.assert_array_equal(y, expected)


def test_a_padded_crop_brings_in_the_mirror_image() -> None:
    x = images()
    reflected = np.pad(x, [(0, 0), (0, 0), (3, 3), (3, 3)], mode="reflect")
    for a, b in np.ndindex(7, 7):
        y = PadCrop(3).apply(x.copy(), Scripted(5, [(a + 0.5) / 7, (b + 0.5) / 7]))
        np.testing.assert_array_equal(y, reflected[:, :, a : a + 9, b : b + 7])


@pytest.mark.parametrize("one", [Shift(2), PadCrop(2)], ids=repr)
def test_all_moves_are_equally_probable(one: Shift | PadCrop) -> None:
    n = 5000
    rows, columns = one.apply(ramps(n, 15), draws(n))[:, :, 7, 7].astype(int).T
    counts = np.bincount(5 * (rows + 2) + columns + 2)
    assert counts.size == 25
    assert ((counts - n / 25) ** 2 / (n / 25)).sum() < 24 + 5 * np.sqrt(48)
