"""What an image shows is found on any ground, and placed as the images of a dataset are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from benchmarks.handwriting_on_paper import DISTURBANCES, photograph, sheet_of
from cnnkit import Registry
from cnnkit.data import load_dataset
from cnnkit.data.formats.crop_and_centre import LONGEST, find_content, framed_content
from cnnkit.data.formats.pictures import Picture, open_picture, pixels_of
from cnnkit.errors import ConfigError, DataError
from cnnkit.evaluation.predict import predict_files
from cnnkit.network import Sequential
from cnnkit.types import Array, Framing

RNG = np.random.default_rng(0)
MASS = Framing(content=20, centre="mass")
BOX = Framing(content=20)
REGISTRY = Path(__file__).parents[2] / "registry"
real_data = pytest.mark.skipif(
    not os.environ.get("CNNKIT_DATA_DIR"), reason="CNNKIT_DATA_DIR does not name a folder with MNIST"
)


def strokes(ground: float = 0.0, ink: float = 255.0, size: tuple[int, int] = (120, 160)) -> Array:
    """A letter L, 60 pixels high and 30 wide, with its corner at (90, 40)."""
    image = np.full(size, ground)
    image[30:90, 40:48] = image[82:90, 40:70] = ink
    return image


def framed(grey: Array, size: tuple[int, int], framing: Framing) -> Array | None:
    small = Picture(Image.fromarray(grey.astype(np.float32)), grey.shape).shrunk(LONGEST)
    found = find_content(pixels_of(small)[..., 0])
    return None if found is None else framed_content(found, size, framing)


def required(image: Array | None) -> Array:
    assert image is not None
    return image


def test_the_longer_side_has_its_length_and_the_box_is_in_the_middle() -> None:
    image = required(framed(strokes(), (28, 28), BOX))
    rows, columns = (np.flatnonzero(image.max(axis=axis) > 0.3) for axis in (1, 0))
    assert (rows[0], rows[-1]) == (4, 23)
    assert (columns[0], columns[-1]) == (9, 18)
    assert image.max() == 1


def test_the_centre_of_mass_is_in_the_middle() -> None:
    image = required(framed(strokes(), (28, 28), MASS))
    for axis in (0, 1):
        assert abs(image.sum(axis=1 - axis) @ np.arange(28) / image.sum() - 14) <= 0.5


@pytest.mark.parametrize(("ground", "ink"), [(0, 255), (150, 10), (120, 60), (20, 35), (100, 130)])
@pytest.mark.parametrize(("down", "across"), [(0.0, 0.0), (0.3, -0.3)])
def test_ground_and_light_make_no_difference(ground: float, ink: float, down: float, across: float) -> None:
    light = 1 + down * np.linspace(-1, 1, 120)[:, None] ** 2 + across * np.linspace(-1, 1, 160)
    image = required(framed(np.clip(strokes(ground, ink) * light, 0, 255), (28, 28), BOX))
    assert_allclose(image, required(framed(strokes(), (28, 28), BOX)), atol=0.25)


def test_noise_is_no_content() -> None:
    noise = RNG.normal(0, 10, (120, 160))
    assert framed(128 + noise, (28, 28), BOX) is None
    image = required(framed(strokes(200, 60) + noise, (28, 28), BOX))
    assert_allclose(image, required(framed(strokes(), (28, 28), BOX)), atol=0.5)


@pytest.mark.parametrize("image", [np.zeros((28, 28)), np.full((5, 400), 77.0), np.linspace(0, 255, 90).reshape(9, 10)])
def test_what_shows_nothing_is_blank(image: Array) -> None:
    assert framed(image, (28, 28), BOX) is None


@pytest.mark.parametrize("size", [(1, 1), (1, 60), (3, 2), (2000, 30)])
def test_any_size_of_image_is_taken(size: tuple[int, int]) -> None:
    image = np.zeros(size)
    image.flat[image.size // 2] = 255
    found = framed(image, (28, 28), MASS)
    assert found is None or (found.shape == (28, 28) and np.isfinite(found).all())


def test_what_stands_at_the_edge_stays_inside() -> None:
    image = np.zeros((40, 40))
    image[:, -1] = 255  # all of its mass is on one side
    image[0, 10:] = 80
    found = required(framed(image, (20, 20), MASS))
    assert found.shape == (20, 20)
    assert (found[:, 14] > 0.5).sum() >= 15


def test_transparent_ink_is_read(tmp_path: Path) -> None:
    rgba = np.zeros((120, 160, 4), np.uint8)
    rgba[..., 3] = strokes()
    Image.fromarray(rgba).save(tmp_path / "drawn.png")
    image = required(framed(pixels_of(open_picture(tmp_path / "drawn.png", 1, 320).image)[..., 0], (28, 28), BOX))
    assert_allclose(image, required(framed(strokes(), (28, 28), BOX)), atol=0.05)


def test_predictions_for_files_that_cannot_be_fitted_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((30, 30), 90, np.uint8)).save(tmp_path / "blank.png")
    model = Sequential(["Flatten()", "Dense(2)"], (1, 28, 28), framing=MASS)
    with pytest.raises(DataError, match=r"blank.png: expected something that stands out from its background"):
        predict_files(model, [tmp_path / "blank.png"], fit=True)
    with pytest.raises(ConfigError, match="remove --invert"):
        predict_files(model, [tmp_path / "blank.png"], fit=True, invert=True)
    for others, why in (
        (Sequential(["Flatten()", "Dense(2)"], (1, 28, 28)), "the dataset of this model does not say how its images"),
        (Sequential(["Flatten()", "Dense(2)"], (3, 28, 28), framing=MASS), "this model does not take grey images, but"),
    ):
        with pytest.raises(ConfigError, match=rf"{why}.*: remove --fit"):
            predict_files(others, [tmp_path / "blank.png"], fit=True)
    with pytest.raises(ConfigError, match="--fit needs room for 20 pixels"):
        predict_files(Sequential(["Flatten()", "Dense(2)"], (1, 8, 8), framing=MASS), [], fit=True)


@real_data
def test_digits_on_paper_are_recognised(tmp_path: Path) -> None:
    """Of 200, with every disturbance at once; without --fit, next to none are."""
    model, test = Registry(REGISTRY).load("mnist-compact-reference@1"), load_dataset("MNIST()").test
    model.framing = load_dataset("MNIST()").framing
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(test), 200, replace=False)
    for at in chosen:
        photograph(np.asarray(test.x)[at, 0], sheet_of(tuple(DISTURBANCES), rng), rng).save(tmp_path / f"{at:05}.png")

    def right(**options: Any) -> float:
        found = predict_files(model, [tmp_path], level=0.13, **options)
        return float(np.mean([int(one.labels[0]) == test.y[int(Path(one.file).stem)] for one in found]))

    assert right(fit=True) >= 0.93
    assert right(invert=False) < 0.3
    assert right() < 0.6


@real_data
def test_clean_digits_lose_nothing() -> None:
    model, test = Registry(REGISTRY).load("mnist-compact-reference@1"), load_dataset("MNIST()").test
    x = np.asarray(test.x)[:1000]
    fitted = np.stack([required(framed(image.astype(float), (28, 28), MASS)) for image in x[:, 0]])[:, None] * 255
    kept = np.mean(model.predict(fitted.astype(np.float32)) == model.predict(x))
    assert kept >= 0.99
