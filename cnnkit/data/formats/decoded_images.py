"""Image files decoded once, into a file of rows that is kept and found again by the content of the images.

Rows are read when they are needed, so that the images may be many times larger than memory; see `rows.py` for why this
is no memory map.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnnkit.data.formats.images import read_image
from cnnkit.data.formats.rows import StoredFile, StoredRows, all_rows
from cnnkit.errors import DataError
from cnnkit.terminal import console, shows_progress
from cnnkit.types import Array, Resize, Shape
from cnnkit.user_folders import user_folder
from cnnkit.waiting_line import other_display

DECODER = 2
"""Of what `read_image` makes of a file; another number where that changes, so that nothing older is taken."""
KEPT_BYTES = 2**34
"""Of all decoded images together; those that were not used for the longest time are removed above that."""
WHITE = 255.0
ROWS, MOMENTS, UNREADABLE = "rows", "moments.npy", "unreadable.json"
TOGETHER = 2**23
"""Bytes of images that are decoded before their rows are written, if they are not too few for all cores."""


@dataclass(frozen=True)
class Form:
    """What image files become: uint8, 0 (black) to 255 (white)."""

    channels: int
    size: tuple[int, int]
    resize: Resize

    @property
    def shape(self) -> Shape:
        """(C, H, W) of one."""
        return (self.channels, *self.size)


@dataclass(frozen=True)
class Decoded:
    """Decoded images, each content once."""

    rows: StoredRows
    """(N, C, H, W) uint8."""
    moments: Array
    """(N, C, 2) int64: for each channel the sum of its values and of their squares."""
    position: dict[str, int]
    """Of each content, by its hash, in the rows."""
    unreadable: dict[str, str]
    """By its hash, why a content is no image."""


def cache_folder() -> Path | None:
    """Where decoded images are kept; None for a user without a home."""
    folder = user_folder("cache")
    return folder / "images" if folder else None


def decode(root: Path, paths: Mapping[str, str], form: Form) -> Decoded:
    """Decode image files, or find them decoded.

    paths: a file for each content, from `root`, by the sha256 of the content. Several processes may do so at once: each
    that finds nothing decodes for itself, and the first that is ready is kept. Raises DataError where there is no room
    on the disk.
    """
    hashes = sorted(paths)
    key = hashlib.sha256(json.dumps([DECODER, asdict(form), hashes]).encode()).hexdigest()
    folder = cache_folder()
    if folder is not None:
        try:
            found = _open(folder / key, hashes, form)
            os.utime(folder / key)
            return found
        except (OSError, ValueError, DataError):  # not there, just removed, or damaged
            shutil.rmtree(folder / key, ignore_errors=True)
    with _workplace(folder) as place:
        _decode_into(place, root, [paths[one] for one in hashes], hashes, form)
        if folder is None:
            return _open(place, hashes, form)
        with contextlib.suppress(OSError):  # another process was faster
            os.rename(place, folder / key)
        _remove_oldest(folder, key)
        return _open(folder / key, hashes, form)


@contextlib.contextmanager
def _workplace(folder: Path | None) -> Iterator[Path]:
    """A new folder, beside the kept ones where there are any, that is removed in the end if it is still there."""
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        place = Path(tempfile.mkdtemp(prefix=".", dir=folder))
    except OSError as error:
        raise DataError(f"no place to decode images: {error.strerror}: {error.filename}; set XDG_CACHE_HOME") from None
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _open(place: Path, hashes: Sequence[str], form: Form) -> Decoded:
    """What is in a folder. Raises OSError, ValueError or DataError if that is not all of it."""
    unreadable: dict[str, str] = json.loads((place / UNREADABLE).read_bytes())
    readable = [one for one in hashes if one not in unreadable]
    moments = np.load(place / MOMENTS, allow_pickle=False)
    file = StoredFile(place / ROWS)
    if file.size != len(readable) * math.prod(form.shape) or moments.shape != (len(readable), form.channels, 2):
        raise ValueError(f"{place} is not whole")
    rows = all_rows(file, 0, np.dtype(np.uint8), (len(readable), *form.shape))
    return Decoded(rows, moments, {one: place for place, one in enumerate(readable)}, unreadable)


def _decode_into(place: Path, root: Path, paths: Sequence[str], hashes: Sequence[str], form: Form) -> None:
    needed, free = len(paths) * math.prod(form.shape), shutil.disk_usage(place).free
    if needed > free:
        raise DataError(
            f"{len(paths):,} images of {form.size[0]}x{form.size[1]} need {needed:,} bytes in {place.parent}, where "
            f"{free:,} are free: choose a smaller size, or another folder with XDG_CACHE_HOME"
        )
    unreadable: dict[str, str] = {}
    moments: list[Array] = []
    cores = os.cpu_count() or 1
    together = max(2 * cores, TOGETHER // math.prod(form.shape))

    def pixels(path: str) -> Array | str:
        """uint8 (C, H, W), or why there are none."""
        try:
            return np.rint(read_image(root / path, form.channels, form.size, WHITE, form.resize)).astype(np.uint8)
        except DataError as error:
            return str(error).removeprefix(f"{root / path}: ")

    try:
        with (place / ROWS).open("wb") as file, ThreadPoolExecutor(cores) as pool, _bar(len(paths)) as advance:
            for start in range(0, len(paths), together):
                images = list(pool.map(pixels, paths[start : start + together]))
                for image, one in zip(images, hashes[start : start + together], strict=True):
                    if isinstance(image, str):
                        unreadable[one] = image
                        continue
                    file.write(image.data)
                    values = image.reshape(form.channels, -1).astype(np.int64)
                    moments.append(np.stack([values.sum(1), (values * values).sum(1)], 1))
                advance(len(images))
            file.flush()
            os.fsync(file.fileno())  # what is kept is whole, also after a crash of the system
        np.save(place / MOMENTS, np.array(moments, np.int64).reshape(-1, form.channels, 2))
        (place / UNREADABLE).write_text(json.dumps(unreadable))
    except OSError as error:
        raise DataError(f"cannot keep decoded images in {place.parent}: {error.strerror or error}") from error


def _remove_oldest(folder: Path, kept: str) -> None:
    """Make room where more than `KEPT_BYTES` are kept; who reads what is removed here keeps it open."""
    entries = []
    for entry in os.scandir(folder):
        with contextlib.suppress(OSError):  # another process has removed it
            if entry.name != kept and not entry.name.startswith(".") and entry.is_dir():
                size = os.stat(Path(entry.path, ROWS)).st_size
                entries.append((entry.stat().st_mtime, size, entry.path))
    total = sum(size for _, size, _ in entries)
    with contextlib.suppress(OSError):  # as above
        total += os.stat(folder / kept / ROWS).st_size
    for _, size, path in sorted(entries):
        if total <= KEPT_BYTES:
            return
        shutil.rmtree(path, ignore_errors=True)
        total -= size


@contextlib.contextmanager
def _bar(count: int) -> Iterator[Any]:
    """A progress bar on stderr, where that is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    shown = console(sys.stderr)
    columns = (
        TextColumn("reading images"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
    )
    with (
        Progress(*columns, console=shown, transient=True, disable=not shows_progress(shown)) as progress,
        other_display(),
    ):
        task = progress.add_task("", total=count)
        yield lambda done: progress.update(task, advance=done)
