"""Cutting out what is on paper: the background, the noise, the box, and the frame."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cnnkit.data.formats.crop_and_centre import Content, background, find_content, framed_content
from cnnkit.types import Array, Framing

MASS = Framing(content=20, centre="mass")
BOX = Framing(content=20)


def picture(level: Array) -> Array:
    """Its bytes, 0 to 255."""
    return np.round(255 * np.clip(level, 0, 1))


def drawing(height: int = 20, width: int = 12) -> Array:
    """Light on dark: an L of strokes 4 pixels wide, in an image of 28x28."""
    image = np.zeros((28, 28))
    image[4 : 4 + height, 8:12] = 1
    image[height : 4 + height, 8 : 8 + width] = 1
    return image


def lit(level: Array) -> Array:
    """In the light of a lamp to the right, at the back."""
    v, u = np.meshgrid(*(np.linspace(-1, 1, side) for side in level.shape), indexing="ij")
    return level * (0.6 + 0.2 * u - 0.1 * v - 0.1 * u * u)


def test_the_background_is_what_most_pixels_have() -> None:
    plain = lit(np.ones((90, 130)))
    assert_allclose(background(plain), plain, atol=1e-6)
    drawn = plain.copy()
    drawn[20:60, 30:70] = 0  # a seventh of it
    assert_allclose(background(drawn), plain, atol=0.01)


@pytest.mark.parametrize("is_dark", [True, False])
def test_the_same_is_found_on_paper_in_any_light_place_and_size(is_dark: bool) -> None:
    image = drawing()
    expected = framed_content(Content(image.astype(np.float32), 0.1, False), (28, 28), BOX)
    assert expected.sum() == pytest.approx(image.sum())
    for times, left, top in ((2, 40, 10), (3, 5, 90), (6, 20, 30)):
        sheet = np.zeros((200, 220))
        large = np.kron(image, np.ones((times, times)))
        sheet[top : top + len(large), left : left + len(large)] = large
        level = lit(1 - 0.6 * sheet) if is_dark else 0.2 + lit(0.6 * sheet)
        noise = np.random.default_rng(times).normal(0, 0.01, level.shape)
        found = find_content(picture(level + noise))
        assert found is not None
        assert found.is_dark == is_dark
        assert np.abs(framed_content(found, (28, 28), BOX) - expected).mean() < 0.03


def test_what_is_framed_already_stays_as_it_is() -> None:
    image = drawing()
    rows, columns = (image.sum(axis=axis) for axis in (1, 0))
    down, right = (round(14 - (line * np.arange(28)).sum() / line.sum()) for line in (rows, columns))
    centred = np.roll(image, (down, right), (0, 1))
    found = find_content(picture(centred))
    assert found is not None
    assert_allclose(framed_content(found, (28, 28), MASS), centred, atol=0.01)


def test_spots_are_left_out_that_are_fainter_than_a_stroke() -> None:
    sheet = np.zeros((120, 120))
    sheet[40:96, 40:96] = np.kron(drawing(), np.ones((2, 2)))
    clean = find_content(picture(sheet))
    spots = np.random.default_rng(0).integers((50, 70), (74, 79), (20, 2)).T  # inside of the L, and outside of its box
    spots = np.hstack([spots, [[10, 100, 30], [20, 110, 90]]])
    sheet[*spots] = np.maximum(sheet[*spots], 0.4)
    dirty = find_content(picture(sheet))
    assert clean is not None
    assert dirty is not None
    assert_allclose(framed_content(dirty, (28, 28), MASS), framed_content(clean, (28, 28), MASS), atol=1e-6)


@pytest.mark.parametrize(("value", "noise"), [(0.0, 0), (0.4, 0), (1.0, 0), (0.4, 0.02), (0.6, 0.05), (0.9, 0.05)])
def test_nothing_is_found_on_blank_paper(value: float, noise: float) -> None:
    level = lit(np.full((150, 120), value)) + np.random.default_rng(0).normal(0, noise, (150, 120))
    assert find_content(picture(level)) is None
