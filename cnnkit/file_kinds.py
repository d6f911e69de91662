"""What a file seems to be, from its first bytes: for messages about files that are not what was expected."""

from __future__ import annotations

import re

ARRAY, ARRAYS = "a NumPy array (.npy)", "a NumPy archive (.npz)"
ZIP, GZIP = "a zip archive, as .npz and office documents are", "a gzip archive"
HDF5, IDX, MODEL, ONNX = "an HDF5 file", "an IDX file", "a model file of cnnkit", "an ONNX file"
TABLE, TEXT, EMPTY, UNKNOWN = "a table as text (CSV)", "text", "empty", "something else"
IMAGES = ("a PNG image", "a JPEG image", "a GIF image", "a BMP image", "a TIFF image", "a WebP image")
POINTER = "a pointer of Git LFS, not the data: run `git lfs pull`"
"""What Git LFS leaves in the place of a file."""
PAGE = "a web page, as a download that failed leaves it: download the file again"
ZIPS = ((b"archive/data.pkl", "a PyTorch file"), (b".npy", ARRAYS))
"""What the name of the first member of a zip archive tells."""

_POINTER = b"version https://git-lfs.github.com/spec/"
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", IMAGES[0]),
    (b"\xff\xd8\xff", IMAGES[1]),
    (b"GIF8", IMAGES[2]),
    (b"BM", IMAGES[3]),
    (b"II*\0", IMAGES[4]),
    (b"MM\0*", IMAGES[4]),
    (b"\x93NUMPY", ARRAY),
    (b"PK\x03\x04", ZIP),
    (b"\x1f\x8b", GZIP),
    (b"\x89HDF\r\n\x1a\n", HDF5),
    (b"cnnkit model", MODEL),
    (b"%PDF", "a PDF document"),
    (b"8BPS", "a Photoshop image"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"PAR1", "a Parquet table"),
    (b"MATLAB 5.0 MAT-file", "a MATLAB file"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
)
_PATTERNS = (
    (re.compile(rb"\0\0[\x08\x09\x0b-\x0e][\x01-\x08]"), IDX),
    (re.compile(rb"\x80[\x02-\x05][\x95\x80-\xff(}\]cK]"), "a Python pickle"),
    (re.compile(rb"\x08[\x01-\x1f][\x12\x1a\x22\x28\x32\x3a\x42]"), ONNX),  # ir_version, then another field of a model
    (re.compile(rb".{257}ustar", re.DOTALL), "a tar archive"),
)
_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"avif": "AVIF"}
"""Of the containers that photographs of telephones come in, at byte 8."""
_MARKUP = ((b"<!doctype html", PAGE), (b"<html", PAGE), (b"<svg", "an SVG drawing"), (b"<?xml", "an XML document"))
"""What content with such a tag is, if it begins with one; tables and other files may have them further on."""
_JSON = re.compile(rb"""\s*(\{\s*["}]|\[\s*([{\[]\s*[\[{}\]"\d-]|"([^"\\]|\\.)*"\s*,))""")
"""A table of TOML begins with brackets as well: [model], [[model.node]]."""
SAMPLE = 4096
"""Bytes from the beginning that are looked at."""


def kind_of(content: bytes) -> str:
    """What content seems to be, as text with its article."""
    start = bytes(content[:SAMPLE])
    if not start:
        return EMPTY
    if is_pointer(start):
        return POINTER
    if start[4:8] == b"ftyp":
        image = _BRANDS.get(start[8:12])
        return f"an {image} image: convert it to JPEG or PNG" if image else "a video"
    if start[:4] == b"RIFF":
        return IMAGES[5] if start[8:12] == b"WEBP" else "a sound or a video"
    named = next((kind for magic, kind in _MAGIC if start.startswith(magic)), None)
    named = named or next((kind for pattern, kind in _PATTERNS if pattern.match(start)), None)
    if named == ZIP:
        return next((kind for name, kind in ZIPS if name in start[30:100]), ZIP)
    return _text(start) or named or UNKNOWN


def is_pointer(content: bytes) -> bool:
    """Whether this is what Git LFS leaves in the place of a file."""
    return content[: len(_POINTER)] == _POINTER


def seems(content: bytes, *damaged: str) -> str:
    """What content is, as a clause; damaged: the kinds that it would be, if it were not damaged."""
    kind = kind_of(content)
    if kind in damaged:
        kind = re.sub("^an? ", "a damaged ", kind)
    return f"this {'is' if kind in (POINTER, EMPTY) else 'seems to be'} {kind}"


def foreign(content: bytes, *own: str) -> str:
    """What content is, as a clause, if it is of a known kind that is none of `own`; else ""."""
    return "" if kind_of(content) in (*own, UNKNOWN) else seems(content)


def is_no_table(content: bytes) -> bool:
    """Whether content is text, but surely none with columns: a web page or drawing, JSON, or a pointer of Git LFS."""
    return kind_of(content) not in (TABLE, TEXT, UNKNOWN, EMPTY)


def _text(start: bytes) -> str | None:
    """The kind of text; None for what is not text."""
    markup = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for tag, kind in _MARKUP if markup.startswith(b"<") else ():
        if tag in markup[:1024]:
            return kind
    text = start.decode("utf-8", "ignore")
    if len(text.encode()) < len(start) - 3 or any(ord(letter) < 32 and letter not in "\t\n\r\f" for letter in text):
        return None
    if _JSON.match(start):
        return "JSON"
    lines = text.splitlines()[:3]
    for separator in ",;\t":
        counts = {line.count(separator) for line in lines}
        if len(counts) == 1 and counts != {0}:
            return TABLE
    return TEXT
