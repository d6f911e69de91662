"""Image files as pictures: decoded, upright, grey or colour, at their own size."""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from cnnkit.data.formats.jpeg import check_scans
from cnnkit.errors import CnnkitError, DataError
from cnnkit.file_kinds import IMAGES, seems
from cnnkit.types import Array

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 2**26
"""More than any camera but a few has: a file of some kilobytes can ask for any number of pixels."""
MAX_IMAGE_FILE_BYTES = 2**28
"""Most bytes of an image file: four for each of the most pixels."""
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
ORIENTATION, TURNED = 0x0112, range(5, 9)
"""The EXIF tag, and its values for images that lie on their side."""
WHITE = 255.0


@dataclass(frozen=True)
class Picture:
    """What is in an image file, upright."""

    image: Image
    """L, LA, RGB or RGBA, or F with 0 to 255 for 16 bits; a large JPEG file is decoded to fewer pixels."""
    size: tuple[int, int]
    """(height, width) in the file, upright."""
    highest: int | None = None
    """Of 16 bits: the highest value, of 65,535 for white."""

    def shrunk(self, longest: int) -> Image:
        """The image with no side longer than this."""
        if max(self.image.size) <= longest:
            return self.image
        from PIL.Image import Resampling

        scale = longest / max(self.image.size)
        width, height = (max(1, round(side * scale)) for side in self.image.size)
        return self.image.resize((width, height), Resampling.BILINEAR)

    def thumbnail(self, longest: int) -> Array:
        """(1 or 3, H, W) uint8 with no side longer than this, to be shown."""
        return np.rint(pixels_of(self.shrunk(longest)).transpose(2, 0, 1)).astype(np.uint8)


def open_picture(source: str | os.PathLike[str] | BinaryIO, channels: int, needed: int) -> Picture:
    """Decode an image file, its first frame if it has several, and turn it as its EXIF data says.

    Grey is 0.299 R + 0.587 G + 0.114 B.

    source: a PNG, JPEG, GIF, BMP, WebP or TIFF file, or a binary stream with its content; channels: 1 (grey) or 3
    (RGB); needed: pixels of each side; a JPEG file that has at least four times as many is decoded to fewer, but twice
    these.
    Raises DataError for a file that cannot be read, is damaged, has other content or more than 2^26 pixels, and
    CnnkitError without Pillow.
    """
    name, content = _content(source)
    return _decode(name, content, channels, needed)


def pixels_of(image: Image) -> Array:
    """A picture as (H, W, 1 or 3) float64, 0 to 255, with a ground in the place of what is transparent.

    That is the median colour of the border, where half of it can be seen: a sheet with round corners goes on. A
    drawing on nothing gets white or black, whichever is further from the mean of what can be seen.
    """
    pixels = np.asarray(image, np.float64).reshape(image.height, image.width, -1)
    if pixels.shape[2] not in (2, 4):
        return pixels
    colour, alpha = pixels[..., :-1], pixels[..., -1:] / WHITE
    outermost = border(pixels)
    visible = outermost[outermost[:, -1] > WHITE / 2, :-1]
    if 2 * len(visible) >= len(outermost):
        ground = np.median(visible, axis=0)
    else:
        seen = (colour * alpha).sum() / max(alpha.sum() * colour.shape[2], 1e-9)
        ground = np.array(WHITE if seen < WHITE / 2 else 0.0)
    on_ground: Array = colour * alpha + ground * (1 - alpha)
    return on_ground


def border(pixels: Array) -> Array:
    """The outermost pixels of (H, W, ...) in one row."""
    return np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])


def size_and_channels(path: Path) -> tuple[int, int, int] | None:
    """(height, width, channels) of an image file, as its first bytes say, 1 channel if it is grey; None for no image.

    Raises CnnkitError without Pillow.
    """
    pillow = _pillow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pillow.open(path, formats=FORMATS) as image:
                is_grey = image.mode in ("1", "L", "LA", *SIXTEEN_BITS)
                return image.height, image.width, 1 if is_grey else 3
    except Exception:  # as in `_decode`
        return None


def _content(source: str | os.PathLike[str] | BinaryIO) -> tuple[str, bytes]:
    """What to call it in a message, and its bytes."""
    if isinstance(source, str | os.PathLike):
        try:
            with open(source, "rb") as file:
                return _content(file)
        except OSError as error:
            raise DataError(f"cannot read {os.fspath(source)}: {error.strerror or error}") from None
    name, content = str(getattr(source, "name", "the image")), source.read(MAX_IMAGE_FILE_BYTES + 1)
    if len(content) > MAX_IMAGE_FILE_BYTES:
        raise DataError(f"{name}: expected an image of at most {MAX_IMAGE_FILE_BYTES:,} bytes, it has more")
    return name, content


def _pillow() -> ModuleType:
    try:
        from PIL import Image
    except ImportError:
        raise CnnkitError('image files need Pillow, which is missing: pip install "cnnkit[images]"') from None
    return Image


def _decode(name: str, content: bytes, channels: int, needed: int) -> Picture:
    _pillow()
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what else is in the file
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
            if picture.width * picture.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            if picture.mode not in (*EIGHT_BITS, *SIXTEEN_BITS):
                raise DataError(
                    f"{name}: expected pixels of 8 or 16 bits, grey or colour, got an image of mode {picture.mode}: "
                    "save it as one of these, or its values as a .npy file"
                )
            check_scans(name, content)
            size = picture.size if picture.getexif().get(ORIENTATION, 1) in TURNED else picture.size[::-1]
            picture.draft(None, (2 * needed, 2 * needed))  # of a photograph, most of the time goes into its decoding
            picture = ImageOps.exif_transpose(picture)
            if picture.mode in SIXTEEN_BITS:
                values = np.asarray(picture)
                return Picture(
                    Image.fromarray((values / 257).astype(np.float32)), size, int(values.max())
                )  # 65535 to 255
            picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
            mode = "LA" if picture.mode == "RGBA" else "L"
            return Picture(picture if channels == 3 else picture.convert(mode), size)
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(
            f"{name}: expected an image (PNG, JPEG, GIF, BMP, WebP or TIFF), {seems(content, *IMAGES)}"
        ) from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise DataError(f"{name}: expected an image of at most {MAX_PIXELS:,} pixels, it has more") from None
    except Exception as error:  # damaged content makes the decoders fail in many ways
        raise DataError(f"{name}: the image is damaged or truncated: {error} ({type(error).__name__})") from None
