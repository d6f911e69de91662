"""Predictions for each pixel as pictures: masks in the colours of their classes, and images."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnnkit.data.formats.input_files import STDIN
from cnnkit.errors import PlotError
from cnnkit.file_writing import check_target, write_whole
from cnnkit.network import Network
from cnnkit.plotting.style import class_colours
from cnnkit.png_encoding import png
from cnnkit.types import Array

WHITE = 255
MOST_CLASSES = 256
"""As many as a palette has room for."""
THERE = "there"
"""The name of the only label of a pixel, where the model has none."""


def check_pictures(model: Network) -> None:
    """Raise PlotError unless the model predicts each pixel, and a picture can show it."""
    count = model.output_shape[0]
    if len(model.output_shape) != 3:
        raise PlotError(f"the model gives {model.gives}: only predictions for each pixel can be written as a picture")
    if model.task.gives == "labels" and count > 1:
        raise PlotError(f"the model gives {model.gives}: a picture shows one label of a pixel, not several at once")
    if model.task.gives == "classes" and count > MOST_CLASSES:
        raise PlotError(f"the model gives {model.gives}: a mask has at most {MOST_CLASSES}")
    if model.task.gives == "values" and count not in (1, 3):
        raise PlotError(f"the model gives {model.gives}: a picture has 1 value, or 3 for red, green and blue")


def mask_labels(model: Network) -> tuple[str, ...]:
    """The classes of a mask by their index; where each pixel has one label, it is there or not."""
    if model.task.gives == "labels":
        return ("background", *(model.labels or (THERE,)))
    return model.labels or tuple(map(str, range(model.output_shape[0])))


def as_picture(model: Network, pixels: Array) -> tuple[Array, bytes]:
    """The predictions for the pixels as uint8: indices (H, W) with their palette, or (H, W) or (H, W, 3) without one.

    pixels: as of `Prediction`. Values are shown from 0 (black) to 1 (white), those beyond as these.
    """
    if model.task.gives == "values":
        image = np.rint(WHITE * pixels.clip(0, 1)).astype(np.uint8)
        return (image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))), b""
    names = mask_labels(model)
    mask = pixels[0] if model.task.gives == "labels" else pixels
    return mask.astype(np.uint8), b"".join(bytes.fromhex(colour[1:]) for colour in class_colours(names, len(names)))


def in_colours(picture: Array, palette: bytes) -> Array:
    """The picture of `as_picture` as a screen shows it: (3, H, W) uint8, or (1, H, W) in grey."""
    if palette:
        picture = np.frombuffer(palette, np.uint8).reshape(-1, 3)[picture]
    return picture[np.newaxis] if picture.ndim == 2 else picture.transpose(2, 0, 1)


class Answer(NamedTuple):
    """The predictions for the pixels of an input."""

    file: str
    place: int
    """Which of the inputs in the file."""
    pixels: Array
    """As of `Prediction`."""


def write_pictures(model: Network, answers: Sequence[Answer], path: str | os.PathLike[str]) -> list[Path]:
    """Write the mask or image of each input as a PNG file, in the size of the output; returns the files, in order.

    The pixels of a mask are the indices of their classes, and its palette has a colour for each. path: a file for one
    input if it ends in .png, else a folder, which is made, for files such as 0-mask.png, or 0-output.png of values.
    Raises PlotError for a path that cannot be written, that is one of the inputs, or is one file for several inputs.
    """
    check_pictures(model)
    path = Path(path)
    is_file = path.suffix.lower() == ".png" and not path.is_dir()
    if is_file and len(answers) != 1:
        raise PlotError(f"{path} is one file, and there are {len(answers)} pictures: give a folder")
    if not is_file:
        _make(path)
    inputs = _identities({answer.file for answer in answers})
    files: list[Path] = []
    for answer, name in zip(answers, _names(model, answers), strict=True):
        file = path if is_file else path / name
        if not inputs.isdisjoint(_identities({str(file)})):
            raise PlotError(f"{file} is one of the files to predict: choose another one for the picture")
        write_whole(file, png(*as_picture(model, answer.pixels)), PlotError)
        files.append(file)
    return files


def _identities(files: set[str]) -> set[tuple[int, int]]:
    """What two names of one file have in common; none for a file that does not exist, or cannot."""
    found = set()
    for file in files:
        with contextlib.suppress(OSError):  # what does not exist has no other name
            status = os.stat(file)
            found.add((status.st_dev, status.st_ino))
    return found


def check_path(path: Path) -> None:
    """Raise PlotError, before anything is predicted, if no picture can be written there."""
    if path.suffix.lower() == ".png" and not path.is_dir():
        check_target(path, PlotError)
    elif path.suffix or (path.exists() and not path.is_dir()) or not path.absolute().parent.is_dir():
        raise PlotError(f"cannot write {path}: expected a file that ends in .png, or a folder in one that exists")


def _make(folder: Path) -> None:
    check_path(folder)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as problem:
        raise PlotError(f"cannot write {folder}: {problem.strerror or problem}") from problem


def _names(model: Network, answers: Sequence[Answer]) -> Iterator[str]:
    """For each answer the name of a file of its own, after that of the input."""
    inputs = Counter(answer.file for answer in answers)
    kind = "output" if model.task.gives == "values" else "mask"
    taken: set[str] = set()
    last: dict[str, int] = {}
    for answer in answers:
        stem = Path(answer.file).stem if answer.file != STDIN else "stdin"
        if inputs[answer.file] > 1:
            stem += f"-{answer.place}"
        name = f"{stem}-{kind}.png"
        while name in taken:
            last[stem] = last.get(stem, 1) + 1
            name = f"{stem}-{last[stem]}-{kind}.png"
        taken.add(name)
        yield name
