"""Image files as network input: grey or colour as the model has it, its size, its units."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, get_args

import numpy as np

from cnnkit.components.checks import one_of, pair, positive
from cnnkit.data.formats.pictures import WHITE, Picture, border, open_picture, pixels_of
from cnnkit.errors import ConfigError, DataError
from cnnkit.types import Array, Resize

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff")
"""How the names of image files end, in small letters."""


def read_image(
    source: str | os.PathLike[str] | BinaryIO,
    channels: int,
    size: int | tuple[int, int],
    full_scale: float,
    resize: Resize = "fit",
) -> Array:
    """One image as network input, its first frame if it has several.

    A picture is rotated as its EXIF data says. Grey is 0.299 R + 0.587 G + 0.114 B. It is resized bilinearly, with
    antialiasing. Transparent pixels get the median colour of the border; where most of that is transparent, white or
    black, whichever is further from the mean of the visible ones.

    source: a PNG, JPEG, GIF, BMP, WebP or TIFF file, or a binary stream with its content; channels: 1 (grey) or 3
    (RGB); size: (height, width) in pixels; full_scale: the value of white, black is 0; resize: "fit" shows the whole
    image in its aspect, and fills what is left of the size evenly on both sides with the median colour of its border;
    "crop" fills the size in the image's aspect, and cuts off evenly what is left of it; "stretch" changes the aspect.
    Returns (channels, *size) float32. Pixels of an image that has the size already keep their values exactly.
    Raises DataError for a file that cannot be read, is damaged, has other content or more than 2^26 pixels, and
    CnnkitError without Pillow.
    """
    if channels not in (1, 3):
        raise ConfigError(f"channels must be 1 (grey) or 3 (RGB), got {channels!r}")
    height, width = pair("size", size)
    positive("full_scale", full_scale)
    one_of("resize", resize, get_args(Resize))
    return framed(open_picture(source, channels, max(height, width)), (channels, height, width), full_scale, resize)


def framed(picture: Picture, shape: tuple[int, ...], full_scale: float, resize: Resize) -> Array:
    """A picture as `read_image` gives it; shape: (channels, height, width)."""
    channels, height, width = shape
    pixels = pixels_of(_resized(picture.image, height, width, resize))
    padded = _padded(np.broadcast_to(pixels, (*pixels.shape[:2], channels)), height, width)
    return np.ascontiguousarray(
        (padded * (full_scale / WHITE)).transpose(2, 0, 1), np.float32
    )  # (H, W, C) -> (C, H, W)


def find_images(folder: str | os.PathLike[str]) -> list[Path]:
    """The image files in a folder and the folders in it, by their endings, sorted; hidden ones are skipped.

    Links to folders are not followed. Raises DataError for a folder that cannot be read, or has no image.
    """

    def refuse(error: OSError) -> None:
        raise DataError(f"cannot read {error.filename}: {error.strerror}") from None

    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        named = [Path(place, name) for name in files if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
        found += filter(Path.is_file, named)  # opening a pipe would wait forever
    if not found:
        raise DataError(f"{folder}: expected images in this folder, files ending in {', '.join(SUFFIXES)}; found none")
    return sorted(found)


def _resized(picture: Image, height: int, width: int, resize: Resize) -> Image:
    """The picture in this size, or for "fit" in the largest that is inside of it."""
    from PIL.Image import Resampling

    across, down = width / picture.width, height / picture.height
    box = None
    if resize == "fit":
        scale = min(across, down)
        width, height = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    elif resize == "crop":
        scale = max(across, down)
        left, top = (picture.width - width / scale) / 2, (picture.height - height / scale) / 2
        box = (left, top, picture.width - left, picture.height - top)
    if picture.size == (width, height):
        return picture
    return picture.resize((width, height), Resampling.BILINEAR, box)  # widens its kernel to shrink, and heeds alpha


def _padded(pixels: Array, height: int, width: int) -> Array:
    """Pixels (h, w, C) in the middle of (height, width, C) of their border's median colour."""
    if pixels.shape[:2] == (height, width):
        return pixels
    padded = np.empty((height, width, pixels.shape[2]))
    padded[...] = np.median(border(pixels), axis=0)
    top, left = (height - pixels.shape[0]) // 2, (width - pixels.shape[1]) // 2
    padded[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return padded
