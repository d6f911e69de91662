"""Pictures: the PNG files are what Pillow reads, and their colours say what the numbers are."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from cnnkit.explanation.figures import as_channels, chosen
from cnnkit.explanation.png import BLUE, MAX_SIDE, MISSING, ORANGE, WHITE, plain, rectangle, shrunk, signed
from cnnkit.types import Array


def pixels(uri: str) -> Array:
    prefix = "data:image/png;base64,"
    assert uri.startswith(prefix)
    with Image.open(io.BytesIO(base64.b64decode(uri.removeprefix(prefix)))) as picture:
        return np.asarray(picture.convert("RGB"))


def test_blue_is_below_zero_and_orange_above() -> None:
    values = np.array([[-2.0, 0.0, 2.0], [np.nan, np.inf, -9.0]])
    found = pixels(signed(values, 2.0))
    expected = [[BLUE, WHITE, ORANGE], [MISSING, MISSING, BLUE]]
    assert found.tolist() == np.array(expected).tolist()
    half = pixels(signed(np.array([[1.0]]), 2.0))[0, 0]
    np.testing.assert_allclose(half, (np.array(WHITE) + np.array(ORANGE)) / 2, atol=1)


@pytest.mark.parametrize("limit", [0.0, 1e-310, 1e300])
def test_any_limit_is_drawn(limit: float) -> None:
    assert pixels(signed(np.zeros((2, 2)), limit)).tolist() == np.full((2, 2, 3), 255).tolist()


def test_grey_and_colour_images() -> None:
    grey = pixels(plain(np.array([[[0, 8, 16]]]), 0, 16))
    assert grey.tolist() == [[[0, 0, 0], [128, 128, 128], [255, 255, 255]]]
    colour = np.arange(12, dtype=np.uint8).reshape(3, 2, 2) * 20
    assert np.array_equal(pixels(plain(colour, 0, 255)), colour.transpose(1, 2, 0))


def test_large_arrays_are_means() -> None:
    values = np.random.default_rng(0).normal(size=(3 * MAX_SIDE - 1, 5))
    small = shrunk(values)
    assert (small.shape, rectangle(*values.shape)) == ((MAX_SIDE, 5), (3, 1))
    np.testing.assert_allclose(small[0], values[:3].mean(axis=0))
    np.testing.assert_allclose(small[-1], values[-2:].mean(axis=0))


def test_vectors_stand_in_rows() -> None:
    assert as_channels(np.arange(10.0)).shape == (1, 1, 10)
    assert as_channels(np.arange(144.0)).shape == (1, 3, 48)
    prime = as_channels(np.arange(131.0))
    assert prime.shape == (1, 3, 56)
    assert np.isnan(prime[0, 2, 19:]).all()
    assert as_channels(np.zeros((2, 3, 4, 5))).shape == (6, 4, 5)


@pytest.mark.parametrize("length", range(50, 140))
def test_signs_in_a_vector_never_cancel(length: int) -> None:
    values = np.where(np.arange(length) % 2, 1.0, -1.0)
    assert rectangle(*as_channels(values).shape[1:])[1] == 1
    assert np.array_equal(shrunk(as_channels(values)[0]).ravel()[:length], values)


def test_channels_that_must_be_shown_are() -> None:
    assert chosen(4, 8, ()) == [0, 1, 2, 3]
    assert chosen(512, 4, (300,)) == [0, 1, 2, 300]
    assert chosen(512, 1, (300,)) == [300]
