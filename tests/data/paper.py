"""Digits as if they were written on paper and photographed."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from PIL import Image, ImageFilter

from cnnkit.types import Array

DISTURBANCES = ("dim", "light", "position", "size", "slant", "stroke", "noise")
HEIGHT, WIDTH, DIGIT = 240, 320, 160
SCALE = 8


def on_paper(digit: Array, rng: np.random.Generator, disturbances: Collection[str] = ()) -> Array:
    """A photograph of a digit: dark ink on light paper, (240, 320) uint8.

    digit: (28, 28) uint8, light on dark; disturbances: little light ("dim"), uneven light, the place, size, slant and
    width of the stroke, and the noise of a camera.
    """
    image = Image.fromarray(digit).resize((digit.shape[1] * SCALE, digit.shape[0] * SCALE), Image.Resampling.BICUBIC)
    if "slant" in disturbances:
        by = rng.uniform(-0.35, 0.35)
        shear = (1, by, -by * image.height / 2, 0, 1, 0)
        image = image.transform(image.size, Image.Transform.AFFINE, shear, Image.Resampling.BICUBIC)
    if "stroke" in disturbances:
        wider = int(rng.integers(-3, 5))
        if wider:
            image = image.filter((ImageFilter.MaxFilter if wider > 0 else ImageFilter.MinFilter)(2 * abs(wider) + 1))
    side = int(DIGIT * rng.uniform(0.4, 1.3)) if "size" in disturbances else DIGIT
    ink = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR), np.float64) / 255
    top, left = (HEIGHT - side) // 2, (WIDTH - side) // 2
    if "position" in disturbances:
        top, left = int(rng.integers(HEIGHT - side + 1)), int(rng.integers(WIDTH - side + 1))
    dark, paper = (rng.uniform(20, 60), rng.uniform(90, 140)) if "dim" in disturbances else (30.0, 235.0)
    photo = np.full((HEIGHT, WIDTH), paper)
    photo[top : top + side, left : left + side] -= (paper - dark) * ink
    if "light" in disturbances:
        down, across = rng.uniform(-0.35, 0.35, 2)
        photo *= 1 + down * np.linspace(-1, 1, HEIGHT)[:, None] + across * np.linspace(-1, 1, WIDTH)
    if "noise" in disturbances:
        photo += rng.normal(0, 6, photo.shape)
    taken: Array = np.clip(photo, 0, 255).astype(np.uint8)
    return taken
