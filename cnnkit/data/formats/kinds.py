"""What a file seems to be, from its first bytes: for messages about files that are not what was expected."""

from __future__ import annotations

MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "a damaged PNG image"),
    (b"\xff\xd8\xff", "a damaged JPEG image"),
    (b"GIF8", "a damaged GIF image"),
    (b"BM", "a damaged BMP image"),
    (b"II*\0", "a damaged TIFF image"),
    (b"MM\0*", "a damaged TIFF image"),
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"PK\x03\x04", "a zip archive, as .npz and office documents are"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"cnnkit model", "a model file of cnnkit"),
    (b"%PDF", "a PDF document"),
    (b"8BPS", "a Photoshop image"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)
BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"avif": "AVIF"}
"""Of the containers that photographs of telephones come in, at byte 8."""
MARKUP = ((b"<svg", "an SVG drawing"), (b"<html", "a web page"), (b"<!doctype html", "a web page"))
SAMPLE = 4096


def kind_of(content: bytes) -> str:
    """What content seems to be, as text with its article."""
    start = content[:SAMPLE]
    if not content:
        return "empty"
    if start[4:8] == b"ftyp":
        image = BRANDS.get(start[8:12])
        return f"an {image} image: convert it to JPEG or PNG" if image else "a video"
    if start[:4] == b"RIFF":
        return "a damaged WebP image" if start[8:12] == b"WEBP" else "a sound or a video"
    named = next((kind for magic, kind in MAGIC if start.startswith(magic)), None)
    return _text(start) or named or "something else"


def _text(start: bytes) -> str | None:
    """The kind of text; None for what is not text."""
    lowered = start.lower()
    for tag, kind in MARKUP:
        if tag in lowered[:1024]:
            return kind
    text = start.decode("utf-8", "ignore")
    if len(text.encode()) < len(start) - 3 or any(ord(letter) < 32 and letter not in "\t\n\r\f" for letter in text):
        return None
    lines = text.splitlines()[:3]
    for separator in ",;\t":
        counts = {line.count(separator) for line in lines}
        if len(counts) == 1 and counts != {0}:
            return "a table as text (CSV)"
    return "text"
