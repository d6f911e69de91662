"""Rotation and affine maps against NumPy, SciPy and what can be read off in ramps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnkit.augmentations import Affine, Rotate, Shift, resample
from cnnkit.types import Array
from tests.augmentations.scripted import Scripted, draws, images, ramps

scipy: Any = pytest.importorskip("scipy", reason="scipy, which comes with scikit-learn, is not installed")


@pytest.mark.parametrize("size", [1, 2, 8, 9, 28])
@pytest.mark.parametrize("quarters", [-2, -1, 0, 1, 2])
def test_quarter_turns_are_those_of_numpy(size: int, quarters: int) -> None:
    x = images(3, 2, size, size)
    y = Rotate(180).apply(x.copy(), Scripted(3, 0.5 + quarters / 4))
    np.testing.assert_array_equal(y, np.rot90(x, quarters, axes=(2, 3)))


def test_a_positive_angle_turns_counterclockwise() -> None:
    x = np.zeros((1, 1, 9, 9), np.float32)
    x[0, 0, 4, 8] = 1  # right
    y = Rotate(45).apply(x, Scripted(1, 1.0))
    assert np.unravel_index(y[0, 0].argmax(), (9, 9)) == (1, 7)  # up and right


def by_scipy(x: Array, degrees: float, translate: Array, scale: float, shear: float, fill: float) -> Array:
    """The docstring's map, inverted as a matrix, on (row, column)."""
    a, b = np.radians([degrees, shear])
    turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])  # on (right, down)
    forward = scale * turn @ np.array([[1, np.tan(b)], [0, 1]])
    swap = np.array([[0, 1], [1, 0]])
    inverse = swap @ np.linalg.inv(forward) @ swap
    size = np.array(x.shape[2:])
    offset = (size - 1) / 2 - inverse @ ((size - 1) / 2 + translate[::-1] * size)
    result = [
        scipy.ndimage.affine_transform(plane, inverse, offset, order=1, mode="grid-constant", cval=fill)
        for plane in x.reshape(-1, *x.shape[2:])
    ]
    return np.stack(result).reshape(x.shape)


@pytest.mark.parametrize("case", range(20))
def test_affine_maps_are_those_of_scipy(case: int) -> None:
    rng = np.random.default_rng(case)
    angle, shear, scale = rng.uniform(-1, 1, 3)
    translate = rng.uniform(-0.3, 0.3, 2)
    one = Affine(180, 0.5, (0.5, 2.0), 60, fill=9.0)
    script = [(angle + 1) / 2, (shear + 1) / 2, (scale + 1) / 2, translate + 0.5]
    x = images(2, 2, 13, 10)
    expected = by_scipy(x, 180 * angle, translate, 0.5 + 1.5 * (scale + 1) / 2, 60 * shear, 9.0)
    np.testing.assert_allclose(one.apply(x.copy(), Scripted(2, *script)), expected, atol=0.01)
    other = by_scipy(x, 180 * angle, translate, 0.5 + 1.5 * (scale + 1) / 2, -60 * shear, 9.0)
    assert np.abs(other - expected).max() > 1  # a wrong sign would be seen


def test_moves_by_whole_pixels_are_shifts() -> None:
    x = images(4, 1, 10, 10)
    moved = Affine(translate=0.3, fill=5.0).apply(x.copy(), Scripted(4, 0.5, 0.5, 0.5, [5 / 6, 1 / 3]))
    shifted = Shift(2, fill=5.0).apply(x.copy(), Scripted(4, [0.7, 0.1]))  # 2 to the right, 1 up
    np.testing.assert_allclose(moved, shifted, atol=1e-3)


@pytest.mark.parametrize("size", [5, 28, 29])
def test_no_value_comes_from_elsewhere(size: int) -> None:
    one = Affine(180, 0.9, (0.2, 4.0), 80, fill=2.0)
    y = one.apply(np.full((300, 2, size, size), 7, np.float32), draws(300))
    assert 2 <= y.min() <= y.max() <= 7
    np.testing.assert_array_equal(one.apply(np.full((300, 2, size, size), 2, np.float32), draws(300)), 2)
    x = np.full((300, 1, size, size), 2, np.float32)
    x[1::2] = np.nan  # the neighbours in memory
    assert (one.apply(x, draws(300))[::2] == 2).all()


def test_places_between_pixels_are_interpolated() -> None:
    x = np.array([[[[1.0, 2.0], [3.0, 5.0]]]], np.float32)
    places = [(0, 0), (0.25, 0.5), (1, 1), (-0.5, 0), (-1, 0), (-7, 0), (1.5, 1), (9, 9)]
    for (row, column), value in zip(places, [1, 2.125, 5, 5.5, 10, 10, 7.5, 10], strict=True):
        at = np.full((1, 4), row, np.float32), np.full((1, 4), column, np.float32)
        np.testing.assert_allclose(resample(x, *at, 10.0), np.full((1, 1, 2, 2), value), rtol=1e-6)


def uniform(numbers: Array, low: float, high: float) -> bool:
    return bool(scipy.stats.kstest(numbers, "uniform", (low, high - low)).pvalue > 0.001)


def test_all_angles_are_equally_probable() -> None:
    n = 3000
    y = Rotate(25).apply(ramps(n, 9), draws(n))
    angles = np.degrees(
        np.arctan2(-y[:, 1, 5, 4], y[:, 1, 4, 5])
    )  # how fast columns change downwards, and to the right
    assert uniform(angles, -25, 25)
    assert not uniform(angles * 1.1, -25, 25)


def test_all_scales_shears_and_moves_are_equally_probable() -> None:
    n = 3000
    scaled = Affine(scale=(0.5, 2.0)).apply(ramps(n, 9), draws(n))
    assert uniform(1 / scaled[:, 1, 4, 5], 0.5, 2.0)
    sheared = Affine(shear=30).apply(ramps(n, 9), draws(n))
    assert uniform(np.degrees(np.arctan(-sheared[:, 1, 5, 4])), -30, 30)
    moved = Affine(translate=0.25).apply(ramps(n, 20), draws(n))[:, :, 9, 9] + 0.5
    assert uniform(-moved[:, 0], -5, 5)
    assert uniform(-moved[:, 1], -5, 5)
    assert abs(np.corrcoef(*moved.T).item(1)) < 5 / np.sqrt(n)
