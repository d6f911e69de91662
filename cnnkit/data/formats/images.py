"""Image files as network input: grey or colour as the model has it, its size, its units."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO, get_args

import numpy as np

from cnnkit.components.checks import one_of, pair, positive
from cnnkit.data.formats.jpeg import check_scans
from cnnkit.errors import CnnkitError, ConfigError, DataError
from cnnkit.kinds import IMAGES, seems
from cnnkit.types import Array, Resize

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff")
"""How the names of image files end, in small letters."""
MAX_PIXELS = 2**26
"""More than any camera but a few has: a file of some kilobytes can ask for any number of pixels."""
MAX_IMAGE_FILE_BYTES = 2**28
"""Most bytes of an image file: four for each of the most pixels."""
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


def read_image(
    source: str | os.PathLike[str] | BinaryIO,
    channels: int,
    size: int | tuple[int, int],
    full_scale: float,
    resize: Resize = "fit",
) -> Array:
    """One image as network input, its first frame if it has several.

    A picture is rotated as its EXIF data says. Grey is 0.299 R + 0.587 G + 0.114 B. It is resized bilinearly, with
    antialiasing. Transparent pixels become white or black, whichever is further from the mean of the visible ones.

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
    name, content = _content(source)
    picture = _resized(_decode(name, content, channels, max(height, width)), height, width, resize)
    pixels = np.asarray(picture, np.float64).reshape(picture.height, picture.width, -1)
    if pixels.shape[2] in (2, 4):
        pixels = _on_ground(pixels)
    padded = _padded(np.broadcast_to(pixels, (*pixels.shape[:2], channels)), height, width)
    return np.ascontiguousarray((padded * (full_scale / 255)).transpose(2, 0, 1), np.float32)  # (H, W, C) -> (C, H, W)


def read_grey(source: str | os.PathLike[str] | BinaryIO, needed: int) -> Array:
    """A whole image in grey, (H, W) float64, 0 (black) to 255 (white), in its own size.

    needed: pixels of each side that are of use: a larger JPEG file may be decoded to fewer, but to twice these.
    Raises what `read_image` raises.
    """
    name, content = _content(source)
    pixels = np.asarray(_decode(name, content, 1, needed), np.float64)
    return _on_ground(pixels)[..., 0] if pixels.ndim == 3 else pixels


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


def looks_inverted(image: Array, full_scale: float) -> bool:
    """Whether an image shows something dark on a light background.

    It does if the median m of its outermost pixels is above full_scale / 2, and the mean of its middle (half the
    height, half the width) is below m.
    image: (1, H, W), 0 (black) to full_scale (white).
    """
    level = image[0] / full_scale
    height, width = level.shape
    border = np.median(_border(level))
    middle = level[height // 4 : height - height // 4, width // 4 : width - width // 4]
    return bool(border > 0.5 and middle.mean() < border)


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


def _decode(name: str, content: bytes, channels: int, needed: int) -> Image:
    """The upright picture: L, LA, RGB or RGBA, or F with 0 to 255 for 16 bits.

    needed: pixels of each side; a JPEG file that has at least four times as many is decoded to fewer, but twice these.
    """
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
            picture.draft(None, (2 * needed, 2 * needed))  # of a photograph, most of the time goes into its decoding
            picture = ImageOps.exif_transpose(picture)
            if picture.mode in SIXTEEN_BITS:
                return Image.fromarray((np.asarray(picture) / 257).astype(np.float32))  # 65535 / 257 = 255
            picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
            return picture if channels == 3 else picture.convert("LA" if picture.mode == "RGBA" else "L")
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


def _on_ground(pixels: Array) -> Array:
    """Pixels (H, W, C and alpha) on white or black, whichever is further from their mean: (H, W, C)."""
    colour, alpha = pixels[..., :-1], pixels[..., -1:] / 255
    seen = (colour * alpha).sum() / max(alpha.sum() * colour.shape[2], 1e-9)
    ground = 255.0 if seen < 127.5 else 0.0
    on_ground: Array = colour * alpha + ground * (1 - alpha)
    return on_ground


def _padded(pixels: Array, height: int, width: int) -> Array:
    """Pixels (h, w, C) in the middle of (height, width, C) of their border's median colour."""
    if pixels.shape[:2] == (height, width):
        return pixels
    padded = np.empty((height, width, pixels.shape[2]))
    padded[...] = np.median(_border(pixels), axis=0)
    top, left = (height - pixels.shape[0]) // 2, (width - pixels.shape[1]) // 2
    padded[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return padded


def _border(pixels: Array) -> Array:
    """The outermost pixels of (H, W, ...) in one row."""
    return np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
