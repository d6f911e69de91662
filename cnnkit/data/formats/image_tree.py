"""Folders of images whose names are classes: which files there are, and of which class and part each is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cnnkit.data.formats.images import SUFFIXES, find_images
from cnnkit.errors import DataError

Part = Literal["train", "test", "validation", ""]
PARTS: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
}
"""What folders above the classes may be called."""
ORDER: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class ImageFile:
    """An image file: its path from the folder of the dataset, the class whose folder it is in, and its part."""

    path: str
    label: str
    part: Part
    """"" where no folder says so."""


def find_image_files(root: Path) -> list[ImageFile]:
    """The image files below a folder, by part and class, sorted.

    root: has a folder for each class, or the folders train and test, perhaps validation, with those of the classes.
    Hidden files and folders are skipped. Raises DataError for a folder that has neither, and for one without images.
    """
    inside = _folders(root)
    named = {PARTS[name.lower()]: name for name in inside if name.lower() in PARTS}
    if not named.keys() >= {"train", "test"} or len(named) < len(inside):
        return _images(root, root, inside, "")
    folders = [(part, root / named[part]) for part in ORDER if part in named]
    return [file for part, folder in folders for file in _images(root, folder, _folders(folder), part)]


def _images(root: Path, folder: Path, classes: list[str], part: Part) -> list[ImageFile]:
    loose = [path.name for path in folder.iterdir() if path.name.lower().endswith(SUFFIXES) and path.is_file()]
    if loose:
        raise DataError(
            f"{folder}: expected a folder for each class, with its images in it; there are images beside these "
            f"folders, such as {min(loose)}: move each into the folder of its class"
        )
    if len(classes) < 2 and part in ("", "train"):
        raise DataError(
            f"{folder}: expected a folder for each of at least two classes, with its images in it; there is "
            f"{f'only {classes[0]}' if classes else 'none'}"
        )
    return [
        ImageFile(path.relative_to(root).as_posix(), label, part)
        for label in classes
        for path in find_images(folder / label)
    ]


def _folders(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror}") from None
