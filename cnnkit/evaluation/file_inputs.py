"""Files as inputs of a model: in its units, light on dark as it was trained, and framed as its dataset."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cnnkit.data.formats.appearance import is_framed, looks_inverted
from cnnkit.data.formats.crop_and_centre import LONGEST, find_content, framed_content
from cnnkit.data.formats.images import framed
from cnnkit.data.formats.input_files import read_inputs
from cnnkit.data.formats.pictures import Picture, pixels_of
from cnnkit.errors import ConfigError, DataError
from cnnkit.input_units import bounds, scale_of_images, units_hint
from cnnkit.network import Network
from cnnkit.types import Array, Preprocessing

Invert = Literal["auto"] | bool
"""Swap light and dark in an image: where it looks inverted, always, or never."""
FileName = str | os.PathLike[str]

DARK = 0.5
"""Mean lightness of training images below which one that is dark on light may be inverted."""
LIGHT_ON_DARK = 1 / 3
"""Mean lightness below which it is: what is drawn covers the smaller part. Photographs are lighter."""
BLANK = 0.02
"""Part of white by which the pixels of a blank image differ at most."""
TWELVE_BITS = 4095
THUMBNAIL = 320
"""Pixels of the longer side of what is kept of a picture to be shown."""

INVERTED = "looks inverted: dark on light, but the model was trained on light on dark; try --fit or --invert on"
UNCERTAIN = "the range of the training samples, which does not tell what white is; if that is wrong, give a .npy file"
MISPLACED = (
    "shows something larger, smaller, off the centre or on a lighter ground than the images that the model was trained "
    "on: try --fit; --show FILE of `cnnkit predict` draws what the network sees"
)
TURNED = "looks inverted by --invert on: now it is dark on a light background; remove it"
EMPTY = "seems to be blank: nothing in it stands out, so the answer means nothing"


@dataclass(frozen=True)
class FileInputs:
    """What is in a file, in the units of the training samples as far as that is certain."""

    file: str
    x: Array
    is_image: bool
    hints: tuple[str, ...]
    """Why it may not be what the model expects."""
    inverted: bool = False
    """Whether light and dark of the image were swapped."""
    picture: Array | None = None
    """(1 or 3, H, W) uint8: the image as it is in the file, at most 320 pixels wide and high, if it was to be kept."""


@dataclass(frozen=True)
class Reading:
    """How image files become inputs."""

    invert: Invert = "auto"
    fit: bool = False
    """Cut out what the image shows, light on dark, and frame it as the images of the model's dataset are."""
    level: float | None = None
    """Mean lightness of the training images, 0 (black) to 1 (white); None if it is not known."""

    def __post_init__(self) -> None:
        if self.invert != "auto" and not isinstance(self.invert, bool):
            raise ConfigError(f"invert must be 'auto', True or False, got {self.invert!r}")
        if self.fit and self.invert != "auto":
            raise ConfigError("--fit finds out for each image whether it is light on dark: remove --invert")

    def swaps(self, is_dark_on_light: bool) -> bool:
        """Whether light and dark of such an image are swapped."""
        if self.invert == "auto":
            return is_dark_on_light and self.level is not None and self.level < LIGHT_ON_DARK
        return self.invert

    def hint(self, is_dark_on_light: bool) -> str:
        """What to say of an image that looked so; nothing unless the training images are known to be dark."""
        if self.level is None or self.level >= DARK or self.swaps(is_dark_on_light) == is_dark_on_light:
            return ""
        return INVERTED if is_dark_on_light else TURNED


def trained_level(preprocessing: Preprocessing) -> float | None:
    """How light training images were, 0 (black) to 1 (white): the mean that is taken off; None if none is."""
    level = float(np.mean(preprocessing.mean))
    return level if level != 0 else None


def check_fit(model: Network) -> None:
    """Raise ConfigError unless the model knows how its dataset cuts out and frames what an image shows."""
    if len(model.input_shape) != 3 or model.input_shape[0] != 1:
        raise ConfigError(
            "--fit cuts out what a grey image shows, and this model does not take grey images, but inputs of shape "
            f"{model.input_shape}: remove --fit"
        )
    if not model.framing.content:
        raise ConfigError(
            "--fit places what an image shows as the training images were placed, and the dataset of this model does "
            "not say how its images were cut out; those of MNIST, EMNIST, FashionMNIST and Digits do: remove --fit, "
            "and give images that are cut out like the training images"
        )
    if not _can_fit(model):
        raise ConfigError(f"--fit needs room for {model.framing.content} pixels, the model takes {model.input_shape}")


def _can_fit(model: Network) -> bool:
    """Whether it is known how the images of the model's dataset were cut out, and that fits into its input."""
    shape, content = model.input_shape, model.framing.content
    return len(shape) == 3 and shape[0] == 1 and 0 < content <= min(shape[1:])


def read_file(
    file: FileName, model: Network, reading: Reading | None = None, *, keep_picture: bool = False
) -> FileInputs:
    """The inputs in an image file or a .npy file, or on standard input ("-").

    An image is resized as the images were that the model was trained on. Raises DataError for a file that cannot be
    used, and with `fit` for a blank one, ConfigError for `fit` of a model whose framing is not known, CnnkitError for
    an image file without Pillow.
    """
    reading = reading or Reading()
    if reading.fit:
        check_fit(model)
    found = read_inputs(file, model.input_shape, LONGEST if reading.fit else 0)
    name = os.fspath(file)
    if isinstance(found, Picture):
        return _image(name, found, model, reading, keep_picture)
    if reading.invert is True:
        raise DataError(f"{name}: --invert on inverts image files, and this is an array: remove one of them")
    hint = units_hint(model.units, bounds(found), found.dtype) if len(found) else ""
    return FileInputs(name, found, False, (f"has {hint}",) if hint else ())


def _image(name: str, picture: Picture, model: Network, reading: Reading, keep_picture: bool) -> FileInputs:
    scale = scale_of_images(model.preprocessing, model.input_range, model.input_shape)
    full_scale = scale.white - scale.black
    hints = []
    if reading.fit:
        content = find_content(pixels_of(picture.shrunk(LONGEST))[..., 0])
        if content is None:
            raise DataError(f"{name}: expected something that stands out from its background, the image is blank")
        height, width = model.input_shape[1:]
        inverted = content.is_dark
        image = full_scale * framed_content(content, (height, width), model.framing)[np.newaxis]
    else:
        image = framed(picture, model.input_shape, full_scale, model.framing.resize)
        is_dark_on_light = len(image) == 1 and looks_inverted(image, picture)
        inverted = reading.swaps(is_dark_on_light)
        image = image.max() - image if inverted else image  # the lightest that it has becomes black
        if float(image.max() - image.min()) < BLANK * full_scale:
            hints.append(EMPTY)
        elif len(image) == 1 and (hint := reading.hint(is_dark_on_light)):
            hints.append(hint)
        elif _can_fit(model) and not is_framed(picture, model.input_shape, model.framing, inverted):
            hints.append(MISPLACED)
    if picture.highest is not None and 0 < picture.highest <= TWELVE_BITS and not reading.fit:
        hints.append(_few_bits(picture.highest))
    if not scale.is_certain:
        hints.append(f"is assumed to range from {scale.black:.6g} (black) to {scale.white:.6g} (white): {UNCERTAIN}")
    x = (image + scale.black if scale.black else image).astype(np.float32)[np.newaxis]
    return FileInputs(name, x, True, tuple(hints), inverted, picture.thumbnail(THUMBNAIL) if keep_picture else None)


def _few_bits(highest: int) -> str:
    bits, factor = (8, 257) if highest < 256 else (12, 16)
    return (
        f"has 16 bits, of which white is 65535, and no value above {highest}: if its values have {bits} bits, multiply "
        f"them by {factor} and save it again"
    )
