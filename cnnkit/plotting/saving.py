"""Writing pictures as files, whole or not at all."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit import file_writing
from cnnkit.errors import PlotError
from cnnkit.file_writing import write_whole
from cnnkit.plotting.style import look
from cnnkit.user_folders import expanded

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNDATED: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}
"""The formats by suffix, with the metadata that would make the bytes depend on the time."""
FORMATS = tuple(suffix[1:] for suffix in UNDATED)


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a picture as PNG, SVG or PDF, by the suffix; a file of that name is replaced. Equal pictures, equal bytes.

    Raises PlotError if it cannot be written.
    """
    path = expanded(path)
    check_target(path)
    write_whole(path, encoded(figure, path.suffix.lower()[1:]), PlotError)
    return path


def check_target(path: Path) -> None:
    """Find out, before anything is drawn, that no picture could be written there. Raises PlotError."""
    if path.suffix.lower() not in UNDATED:
        raise PlotError(f"cannot write {path}: expected a name that ends in {', '.join(UNDATED)}")
    file_writing.check_target(path, PlotError)


def encoded(figure: Figure, picture_format: str) -> bytes:
    """The bytes of a picture as "png", "svg" or "pdf"."""
    file = io.BytesIO()
    with look():
        figure.savefig(file, format=picture_format, metadata=UNDATED[f".{picture_format}"])
    return file.getvalue()
