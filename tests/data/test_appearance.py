"""How images look: dark on light, wherever that is on a photograph, and framed as a dataset's images or not."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnkit import load_dataset
from cnnkit.data.formats.appearance import is_framed, looks_inverted
from cnnkit.data.formats.images import framed
from cnnkit.data.formats.pictures import Picture, open_picture
from cnnkit.types import Array, Framing

MASS = Framing(content=20, centre="mass")


def picture(grey: Array, kind: str = "png", **written: object) -> Picture:
    content = io.BytesIO()
    Image.fromarray(np.rint(grey).clip(0, 255).astype(np.uint8)).save(content, kind, **written)
    content.seek(0)
    return open_picture(content, 1, 28)


def sheet(top: int, left: int, side: int = 60) -> Array:
    """A photograph of a ring on paper, in light that comes from the right."""
    down, right = np.mgrid[:200, :260]
    far = np.hypot(down - top - side / 2, right - left - side / 2)
    photo = np.where(np.abs(far - side / 2 + 6) < 6, 40.0, 150.0) * np.linspace(0.6, 1.4, 260)
    return photo + np.random.default_rng(0).normal(0, 3, photo.shape)


def test_dark_on_light_looks_inverted() -> None:
    dark = np.zeros((1, 8, 8), np.float32)
    dark[0, 1:7, 3:5] = 16
    assert not looks_inverted(dark)
    assert looks_inverted(16 - dark)
    for level in (0, 16):
        assert not looks_inverted(np.full((1, 8, 8), level, np.float32))  # nothing is on it
    assert not looks_inverted(np.zeros((1, 1, 1), np.float32))


@pytest.mark.parametrize(("ground", "ink", "is_inverted"), [(7, 0, True), (3, 9, False), (5, 4, True), (15, 16, False)])
def test_light_and_dark_are_those_of_the_image_itself(ground: float, ink: float, is_inverted: bool) -> None:
    dim = np.full((1, 8, 8), ground, np.float32)
    dim[0, 3:5, 3:5] = ink
    assert looks_inverted(dim) == is_inverted


@pytest.mark.parametrize(("top", "left"), [(70, 100), (0, 0), (0, 199), (139, 0), (139, 199)])
def test_a_stroke_anywhere_on_paper_is_dark_whatever_the_light_is(top: int, left: int) -> None:
    photo = sheet(top, left)
    for grey, expected in ((photo, True), (255 - photo, False)):
        taken = picture(grey)
        assert looks_inverted(framed(taken, (1, 28, 28), 255.0, "fit"), taken) == expected


def test_what_fills_a_photograph_is_judged_by_its_border_and_its_middle() -> None:
    grey = np.full((200, 200), 20.0)
    grey[40:160, 40:160] = 230
    for level, expected in ((grey, False), (255 - grey, True)):
        taken = picture(level)
        assert looks_inverted(framed(taken, (1, 28, 28), 255.0, "fit"), taken) == expected


def test_the_size_of_a_picture_is_that_of_its_file_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = picture(np.full((480, 640), 90.0), "jpeg", exif=exif)
    assert lying.size == (640, 480)
    assert max(lying.image.size) < 200  # decoded to fewer pixels
    assert picture(np.full((30, 50), 90.0)).size == (30, 50)


def test_a_content_as_large_as_the_datasets_and_in_the_middle_is_framed() -> None:
    grey = np.zeros((280, 280))
    grey[40:240, 100:180] = 255
    assert is_framed(picture(grey), (1, 28, 28), MASS, False)
    assert is_framed(picture(255 - grey), (1, 28, 28), MASS, True)
    assert is_framed(picture(grey[60:88, 60:88]), (1, 28, 28), MASS, False)  # an image of the right size is one of them


@pytest.mark.parametrize(
    ("rows", "columns", "ground"),
    [
        (slice(100, 180), slice(120, 160), 0),  # small
        (slice(5, 275), slice(120, 160), 0),  # large
        (slice(0, 140), slice(100, 180), 0),  # too far up
        (slice(40, 240), slice(190, 270), 0),  # too far to the right
        (slice(40, 240), slice(100, 180), 60),  # on grey
        (slice(0, 0), slice(0, 0), 0),  # nothing
    ],
)
@pytest.mark.parametrize("centre", ["box", "mass"])
def test_another_size_place_or_ground_is_not(rows: slice, columns: slice, ground: int, centre: Any) -> None:
    grey = np.full((280, 280), float(ground))
    grey[rows, columns] = 255
    assert not is_framed(picture(grey), (1, 28, 28), Framing(content=20, centre=centre), False)


def test_larger_copies_of_the_datasets_own_images_are_framed() -> None:
    data = load_dataset("Digits()")
    for digit in np.asarray(data.test.x)[:50, 0]:
        large = np.asarray(Image.fromarray((digit * 15.9).astype(np.uint8)).resize((160, 160)), np.float64)
        assert is_framed(picture(large), (1, 8, 8), data.framing, False)
