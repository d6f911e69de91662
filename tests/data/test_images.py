"""Images: right in every mode and format, exact where nothing must be scaled, refused where they are not images."""

from __future__ import annotations

import io
import struct
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from cnnkit.data.formats.images import read_image
from cnnkit.data.formats.pictures import FORMATS, MAX_PIXELS
from cnnkit.errors import CnnkitError, ConfigError, DataError
from cnnkit.types import Array

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (8, 10), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (8, 10, 3), dtype=np.uint8)
SIZE = (8, 10)
LUMA = np.array([0.299, 0.587, 0.114])


def encoded(picture: Image.Image | Array, kind: str = "PNG", **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(file, kind, **options)
    return io.BytesIO(file.getvalue())


def palette() -> Image.Image:
    picture = Image.new("P", (10, 8))
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.putdata((GREY % 4).ravel().tolist())
    return picture


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int) -> io.BytesIO:
    """A small file that says it has many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pieces = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(1000))), chunk(b"IEND", b"")]
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(pieces))


@pytest.mark.parametrize("full_scale", [255.0, 16.0, 1.0])
def test_pixels_of_the_right_size_keep_their_values_in_the_units_of_the_dataset(full_scale: float) -> None:
    image = read_image(encoded(GREY), 1, SIZE, full_scale)
    assert image.dtype == np.float32
    assert image.shape == (1, *SIZE)
    assert image.flags.c_contiguous
    assert_array_equal(image[0], (GREY * (full_scale / 255)).astype(np.float32))


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True})])
def test_formats_without_loss_give_the_same(kind: str, options: dict[str, Any]) -> None:
    assert_array_equal(read_image(encoded(COLOUR, kind, **options), 3, SIZE, 255), COLOUR.transpose(2, 0, 1))


def test_formats_with_loss_give_nearly_the_same() -> None:
    smooth = np.broadcast_to(np.linspace(0, 255, 10, dtype=np.uint8), SIZE)
    for kind in ("JPEG", "GIF", "WEBP"):
        assert_allclose(read_image(encoded(smooth, kind), 1, SIZE, 255)[0], smooth, atol=6)


@pytest.mark.parametrize(
    ("picture", "grey"),
    [
        (Image.fromarray(GREY), GREY),
        (Image.fromarray(COLOUR), COLOUR @ LUMA),
        (Image.fromarray(np.uint8(255) * (GREY > 99).astype(np.uint8)).convert("1"), 255 * (GREY > 99)),
        (palette(), np.array([0, 76.245, 149.685, 29.07])[GREY % 4]),
        (Image.fromarray(GREY.astype(np.uint16) * 257), GREY),
        (Image.fromarray(np.dstack([COLOUR, np.full(SIZE, 255, np.uint8)])), COLOUR @ LUMA),
        (Image.fromarray(np.dstack([GREY, np.full(SIZE, 255, np.uint8)])), GREY),
    ],
    ids=["grey", "colour", "bits", "palette", "16 bits", "opaque colour", "opaque grey"],
)
def test_grey_of_every_mode(picture: Image.Image, grey: Array) -> None:
    assert_allclose(read_image(encoded(picture), 1, SIZE, 255)[0], grey, atol=0.51)


def test_sixteen_bits_are_not_cut_to_eight() -> None:
    fine = np.arange(80, dtype=np.uint16).reshape(SIZE) * 800
    for kind in ("PNG", "TIFF"):
        assert_allclose(read_image(encoded(fine, kind), 1, SIZE, 65535)[0], fine, rtol=1e-6)


def test_grey_in_colour_and_cmyk_as_colour() -> None:
    assert_array_equal(read_image(encoded(GREY), 3, SIZE, 255), [GREY, GREY, GREY])
    inks = Image.new("CMYK", (10, 8), (0, 255, 255, 0))
    assert_allclose(read_image(encoded(inks, "TIFF"), 3, SIZE, 255)[:, 0, 0], [255, 0, 0], atol=1)


@pytest.mark.parametrize(("ink", "ground"), [(0, 255), (255, 0)])
def test_transparent_becomes_what_can_be_told_from_the_strokes(ink: int, ground: int) -> None:
    alpha = np.zeros(SIZE, np.uint8)
    alpha[2:6, 4], alpha[2:6, 5] = 255, 51
    image = read_image(encoded(np.dstack([np.full(SIZE, ink, np.uint8), alpha])), 1, SIZE, 255)[0]
    assert (image[3, 4], image[0, 0]) == (ink, ground)
    assert image[3, 5] == pytest.approx(0.2 * ink + 0.8 * ground)
    colour = np.dstack([np.full((*SIZE, 3), ink, np.uint8), alpha])
    assert_allclose(read_image(encoded(colour), 3, SIZE, 255), [image] * 3)


def test_a_transparent_colour_of_a_palette() -> None:
    image = read_image(encoded(palette(), transparency=0), 3, SIZE, 255)
    assert_array_equal(image[:, GREY % 4 == 0].T, np.tile([0, 0, 255], (18, 1)))  # the median of its visible border
    assert_array_equal(image[:, GREY % 4 == 1].T[0], [255, 0, 0])


def test_what_is_hidden_by_transparency_does_not_bleed_into_its_neighbours() -> None:
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[..., 0] = 255  # red, but unseen
    pixels[:, 16:] = (0, 0, 255, 255)
    image = read_image(encoded(pixels), 3, 8, 255)
    assert_allclose(image[0], image[1], atol=1)  # nowhere more red than green: white to blue


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_upright(orientation: int) -> None:
    upright = np.zeros((8, 8), np.uint8)
    upright[:4, :4], upright[:4, 4:] = 255, 128
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_image(encoded(np.ascontiguousarray(stored), "PNG", exif=exif), 1, 8, 255)
    assert_array_equal(image[0], upright)


def test_only_the_first_frame_counts() -> None:
    frames = [Image.new("L", (10, 8), level) for level in (255, 0)]
    for kind in ("GIF", "TIFF", "PNG"):
        file = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert_array_equal(read_image(file, 1, SIZE, 1), np.ones((1, *SIZE)))


def test_shrinking_is_antialiased() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    assert_allclose(read_image(encoded(stripes), 1, 8, 255), 127.5, atol=8)


def test_the_aspect_is_kept_and_the_rest_has_the_colour_of_the_border() -> None:
    wide = np.full((16, 64, 3), (200, 100, 50), np.uint8)
    wide[4:12, 24:40] = 0
    image = read_image(encoded(wide), 3, 16, 255)
    rows, columns = np.nonzero(image[0] < 100)  # a quarter of the size: 2x4 pixels in the middle
    assert set(rows.tolist()) == {7, 8}
    assert set(columns.tolist()) == {6, 7, 8, 9}
    assert_array_equal(image[:, 0, 0], [200, 100, 50])
    tall = read_image(encoded(np.ascontiguousarray(wide.transpose(1, 0, 2))), 3, 16, 255)
    assert_allclose(tall, image.transpose(0, 2, 1), atol=1)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (7, 8)])
def test_any_aspect_fits_any_size(shape: tuple[int, int]) -> None:
    for size in (8, (8, 10), (1, 1), (31, 2)):
        image = read_image(encoded(np.full(shape, 77, np.uint8)), 1, size, 255)
        assert_array_equal(image, np.full_like(image, 77))


def test_a_path_and_a_stream_give_the_same(tmp_path: Path) -> None:
    file = encoded(GREY)
    (tmp_path / "one.jpeg").write_bytes(file.getvalue())  # the content decides, not the name
    for path in (tmp_path / "one.jpeg", str(tmp_path / "one.jpeg")):
        assert_array_equal(read_image(path, 1, 5, 1), read_image(encoded(GREY), 1, 5, 1))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_that_is_cut_off_is_refused_or_has_all_its_pixels(kind: str) -> None:
    whole = encoded(COLOUR, kind).getvalue()
    expected = read_image(io.BytesIO(whole), 3, SIZE, 255)
    refused = 0
    for end in range(len(whole)):
        try:
            image = read_image(io.BytesIO(whole[:end]), 3, SIZE, 255)
        except DataError:
            refused += 1
        else:
            assert_array_equal(image, expected)
    assert len(whole) - refused <= 20  # checksums and marks of the end


def test_a_flipped_bit_in_a_png_is_refused_or_changes_nothing() -> None:
    whole = encoded(GREY).getvalue()
    refused = 0
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 16
        try:
            assert_array_equal(read_image(io.BytesIO(damaged), 1, SIZE, 255)[0], GREY)
        except DataError:
            refused += 1
    assert refused > 0.8 * len(whole)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"a,b\n1,2\n3,4\n", "a table as text (CSV)"),
        ("größe;länge\n1;2\n".encode(), "a table as text (CSV)"),
        (b"Hello, world.\nNo table.\n", "text"),
        (b"<!DOCTYPE html><html>", "a web page, as a download that failed leaves it: download the file again"),
        (b'<?xml version="1.0"?><svg>', "an SVG drawing"),
        (b"PK\x03\x04\0\0", "a zip archive, as .npz and office documents are"),
        (b"%PDF-1.7\n\0", "a PDF document"),
        (b"\x1f\x8b\x08\0", "a gzip archive"),
        (b"\x93NUMPY\x01\0", "a NumPy array (.npy)"),
        (b"\x89HDF\r\n\x1a\n\0", "an HDF5 file"),
        (b"cnnkit model\r\n\x1a\n\0", "a model file of cnnkit"),
        (b"\0\0\0\x18ftypheic\0", "an HEIC image: convert it to JPEG or PNG"),
        (b"\0\0\0\x18ftypmp42\0", "a video"),
        (b"\x89PNG\r\n\x1a\n", "a damaged PNG image"),
        (b"RIFF\0\0\0\0WAVE", "a sound or a video"),
        (bytes(100), "something else"),
    ],
)
def test_what_is_no_image_is_called_what_it_seems_to_be(tmp_path: Path, content: bytes, kind: str) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_image(path, 1, 8, 1)
    assert str(caught.value) == (
        f"{path}: expected an image (PNG, JPEG, GIF, BMP, WebP or TIFF), this seems to be {kind}"
    )


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "this is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "this is a pointer of Git LFS, not the data: run `git lfs pull`",
        ),
    ],
)
def test_what_is_certainly_no_image_is_called_so(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_image(path, 1, 8, 1)
    assert str(caught.value) == f"{path}: expected an image (PNG, JPEG, GIF, BMP, WebP or TIFF), {what}"


@pytest.mark.parametrize("side", [9_000, 12_000, 60_000])
def test_an_image_with_too_many_pixels_is_not_decoded(side: int) -> None:
    with pytest.raises(DataError, match=f"expected an image of at most {MAX_PIXELS:,} pixels, it has more"):
        read_image(png(side, side), 1, 8, 1)


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def test_a_jpeg_with_more_scans_than_anybody_needs_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them may cost a pass over all pixels."""
    jpeg = encoded(COLOUR, "JPEG", progressive=True).getvalue()
    first = jpeg.index(b"\xff\xda")
    scan = jpeg[first : jpeg.index(b"\xff", first + 2)]
    assert read_image(io.BytesIO(jpeg), 3, SIZE, 255).shape == (3, *SIZE)
    with monkeypatch.context() as patch:
        patch.setattr("PIL.ImageFile.ImageFile.load", None)  # calling it is an error
        for bomb, message in (
            (jpeg[:first] + 101 * scan + jpeg[first:], "expected a JPEG image of at most 100 scans, it has more"),
            (b"\xff\xd8" + 10_000 * segment(0xFE, b"") + jpeg[2:], "of at most 10,000 segments, it has more"),
        ):
            with pytest.raises(DataError, match=message):
                read_image(io.BytesIO(bomb), 3, SIZE, 255)


@pytest.mark.parametrize("restarts", [0, 1])
def test_what_looks_like_a_scan_and_is_none(restarts: int) -> None:
    """In the data of a segment, and behind the end, where telephones put films."""
    jpeg = encoded(COLOUR, "JPEG", progressive=True, restart_marker_blocks=restarts).getvalue()
    comment = segment(0xFE, 200 * b"\xff\xda")
    odd = jpeg[:2] + comment + jpeg[2:] + 200 * b"\xff\xda\x00\x02"
    assert_array_equal(read_image(io.BytesIO(odd), 3, SIZE, 255), read_image(io.BytesIO(jpeg), 3, SIZE, 255))


def test_the_limit_holds_where_pillow_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(DataError, match="it has more"):
        read_image(png(60_000, 60_000), 1, 8, 1)


def test_where_pillow_would_warn_of_a_bomb_the_image_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)
    with pytest.raises(DataError, match="it has more"):
        read_image(encoded(GREY), 1, 8, 1)


def test_a_file_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.data.formats.pictures.MAX_IMAGE_FILE_BYTES", 50)
    with pytest.raises(DataError, match="the image: expected an image of at most 50 bytes, it has more"):
        read_image(encoded(GREY), 1, 8, 1)


def test_other_formats_that_pillow_reads_are_refused() -> None:
    for kind in ("PPM", "ICO", "TGA"):
        with pytest.raises(DataError, match="expected an image"):
            read_image(encoded(GREY, kind), 1, 8, 1)


def test_values_without_a_white_are_refused() -> None:
    with pytest.raises(DataError, match="expected pixels of 8 or 16 bits, grey or colour, got an image of mode F"):
        read_image(encoded(GREY.astype(np.float32), "TIFF"), 1, 8, 1)


def test_pillow_warns_of_nothing_that_the_user_has_not_asked_for() -> None:
    broken_exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x0e\x01"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Image.open(encoded(GREY, "JPEG", exif=broken_exif)).getexif()
    assert caught
    read_image(encoded(GREY, "JPEG", exif=broken_exif), 1, SIZE, 255)


def test_without_pillow_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(CnnkitError, match=r'missing: pip install "cnnkit\[images\]"'):
        read_image(io.BytesIO(b"any"), 1, 8, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: read_image(encoded(GREY), 2, 8, 1), "channels must be 1 (grey) or 3 (RGB), got 2"),
        (lambda: read_image(encoded(GREY), 1, 0, 1), "size must be a whole number"),
        (lambda: read_image(encoded(GREY), 1, 8, 0), "full_scale must be a number above 0"),
    ],
)
def test_arguments(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        call()
    assert message in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*gone\.png: No such file or directory"):
        read_image(tmp_path / "gone.png", 1, 8, 1)


def test_transparent_corners_of_a_sheet_get_the_colour_of_its_border() -> None:
    sheet = np.full((*SIZE, 4), (200, 180, 90, 255), np.uint8)
    sheet[3:5, 4:6, :3] = 0
    sheet[0, 0], sheet[-1, -1] = 0, 0  # nothing, and black
    image = read_image(encoded(sheet), 3, SIZE, 255)
    for corner in ((0, 0), (-1, -1), (0, -1)):
        assert_array_equal(image[:, corner[0], corner[1]], [200, 180, 90])
