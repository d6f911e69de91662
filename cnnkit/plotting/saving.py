"""Writing pictures as files, whole or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit.errors import PlotError
from cnnkit.plotting.style import look

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
    path = Path(path)
    check_target(path)
    data = encoded(figure, path.suffix.lower()[1:])
    target = Path(os.path.realpath(path))  # a link stays one
    temporary = target.parent / f".picture-{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise PlotError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):  # after the replacement it is gone; a failure above is already on its way
            temporary.unlink()
    return path


def check_target(path: Path) -> None:
    """Find out, before anything is drawn, that no picture could be written there. Raises PlotError."""
    if path.suffix.lower() not in UNDATED:
        raise PlotError(f"cannot write {path}: expected a name that ends in {', '.join(UNDATED)}")
    with contextlib.suppress(OSError):  # such as a name that is too long: writing says what is wrong
        if (path.exists() and not path.is_file()) or not path.absolute().parent.is_dir():
            raise PlotError(f"cannot write {path}: expected the name of a file in a folder that exists")


def encoded(figure: Figure, picture_format: str) -> bytes:
    """The bytes of a picture as "png", "svg" or "pdf"."""
    file = io.BytesIO()
    with look():
        figure.savefig(file, format=picture_format, metadata=UNDATED[f".{picture_format}"])
    return file.getvalue()
