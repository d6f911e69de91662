"""The dataset for a file or a folder that a user names in the place of a recipe."""

from __future__ import annotations

from pathlib import Path

from cnnkit.components.contracts import Dataset
from cnnkit.data.datasets.arrays import Arrays
from cnnkit.data.datasets.image_folder import ImageFolder
from cnnkit.data.datasets.table import Table
from cnnkit.data.formats.image_tree import find_image_files
from cnnkit.data.formats.pictures import size_and_channels
from cnnkit.data.formats.text_tables import first_line
from cnnkit.errors import DataError

ARRAYS, TABLES = (".npz", ".h5", ".hdf5"), (".csv", ".tsv", ".txt")
TARGETS = ("label", "target", "class", "y")
"""Columns of a table that hold its targets if nobody says otherwise, in small letters."""
USUAL = 96
"""Pixels: images of one size, up to that, keep it; others are brought to it."""
LOOKED_AT = 100
"""Images whose size and colours are looked at."""


def is_data(path: Path) -> bool:
    """Whether a path names data to train on, by its ending or because it is a folder; it need not be there."""
    return path.suffix.lower() in ARRAYS + TABLES or path.is_dir()


def dataset_at(path: Path) -> Dataset:
    """The dataset in a folder of images, a file of arrays, or a table.

    Images keep their size if they have one of at most 96 pixels, and become 96x96 if not; they are grey if all are;
    what is no image is left out. Raises DataError for anything else, and for a table that does not say where its
    targets are.
    """
    if path.is_dir():
        return _images(path)
    if not path.exists():
        raise DataError(f"cannot read {path}: there is no such file or folder")
    kind = path.suffix.lower()
    if kind in ARRAYS:
        return Arrays(path)
    if kind in TABLES:
        return Table(path, _target(path))
    raise DataError(
        f"{path}: expected a folder of images, a file of arrays ({', '.join(ARRAYS)}) or a table ({', '.join(TABLES)})"
    )


def _images(path: Path) -> ImageFolder:
    files = find_image_files(path)
    looked_at = files[:: -(-len(files) // LOOKED_AT)]
    found = [about for file in looked_at if (about := size_and_channels(path / file.path))]
    sizes = {about[:2] for about in found}
    size = sizes.pop() if len(sizes) == 1 else (USUAL, USUAL)
    channels = max((about[2] for about in found), default=3)
    return ImageFolder(path, size if max(size) <= USUAL else (USUAL, USUAL), channels, on_error="skip")


def _target(path: Path) -> str:
    names = first_line(path)
    found = [name for name in names if name.lower() in TARGETS]
    if len(found) != 1:
        example = f'Table("{path.name}", "{names[-1]}")'
        raise DataError(
            f"{path}: expected one column named {', '.join(TARGETS[:-1])} or {TARGETS[-1]}, found {len(found)}: give "
            f"the table with the column of its targets, as in '{example}'"
        )
    return found[0]
