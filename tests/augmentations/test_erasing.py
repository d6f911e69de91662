"""Cutout and random erasing: where, how large, how often."""

from __future__ import annotations

import numpy as np

from cnnkit.augmentations import Cutout, Erase
from cnnkit.types import Array
from tests.augmentations.scripted import Scripted, draws, images

N = 3000
HOLE = -1.0


def sides(y: Array) -> tuple[Array, Array]:
    """Height and width of each hole; it is a rectangle, and the same in all channels."""
    hole = y == HOLE
    assert (hole == hole[:, :1]).all()
    rows, columns = hole[:, 0].any(axis=2), hole[:, 0].any(axis=1)
    assert (hole[:, 0] == rows[:, :, np.newaxis] & columns[:, np.newaxis]).all()
    for line in (rows, columns):
        assert (np.abs(np.diff(line, axis=1, prepend=False, append=False).astype(int)).sum(axis=1) <= 2).all()
    return rows.sum(axis=1), columns.sum(axis=1)


def test_cutout_hides_a_square_around_any_pixel() -> None:
    x = images(5, 2, 12, 16)
    for row, column in np.ndindex(12, 16):
        y = Cutout(4, fill=HOLE).apply(x.copy(), Scripted(5, (row + 0.5) / 12, (column + 0.5) / 16))
        expected = x.copy()
        expected[:, :, max(0, row - 2) : row + 2, max(0, column - 2) : column + 2] = HOLE
        np.testing.assert_array_equal(y, expected)


def test_cutout_is_where_it_may_be_equally_often() -> None:
    hidden = (Cutout(3, fill=HOLE).apply(images(N, 1, 10, 10), draws(N)) == HOLE)[:, 0].mean(axis=0)
    assert np.abs(hidden[1:-1, 1:-1] - 0.09).max() < 5 * np.sqrt(0.09 * 0.91 / N)
    assert np.abs(hidden[[0, 0, -1, -1], [0, -1, 0, -1]] - 0.04).max() < 5 * np.sqrt(0.04 * 0.96 / N)
    heights, widths = sides(Cutout(3, fill=HOLE).apply(images(N, 1, 10, 10), draws(N)))
    assert heights.min() == widths.min() == 2  # a centre at the border
    assert heights.max() == widths.max() == 3


def test_erasing_has_its_probability() -> None:
    hidden = (Erase(0.3, fill=HOLE).apply(images(N, 1, 20, 20), draws(N)) == HOLE).any(axis=(1, 2, 3)).mean()
    assert abs(hidden - 0.3) < 5 * np.sqrt(0.3 * 0.7 / N)


def test_erased_areas_and_ratios_are_in_their_ranges() -> None:
    heights, widths = sides(Erase(1.0, (0.1, 0.3), (0.5, 2.0), HOLE).apply(images(N, 2, 60, 60), draws(N)))
    area, ratio = heights * widths / 3600, heights / widths
    assert 0.095 < area.min() < 0.11 < 0.29 < area.max() < 0.31
    assert abs(area.mean() - 0.2) < 0.005
    assert 0.48 < ratio.min() < 0.55 < 1.85 < ratio.max() < 2.1
    assert abs(np.log(ratio).mean()) < 5 * np.log(2) / np.sqrt(3 * N)


def test_erased_rectangles_are_everywhere_inside() -> None:
    one = Erase(1.0, (0.25, 0.25), (1.0, 1.0), HOLE)
    holes = (one.apply(images(N, 1, 12, 12), draws(N)) == HOLE)[:, 0]
    assert (holes.sum(axis=(1, 2)) == 36).all()
    tops = holes.any(axis=2).argmax(axis=1)
    counts = np.bincount(tops)
    assert counts.size == 7
    assert ((counts - N / 7) ** 2 / (N / 7)).sum() < 6 + 5 * np.sqrt(12)


def test_a_rectangle_that_would_be_too_long_is_cut() -> None:
    heights, widths = sides(Erase(1.0, (0.5, 0.5), (20.0, 20.0), HOLE).apply(images(9, 1, 10, 10), draws(9)))
    assert (heights == 10).all()
    assert (widths == 2).all()
