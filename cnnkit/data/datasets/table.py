"""Your own numbers, from a table as text."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cnnkit.components import checks
from cnnkit.components.checks import whole
from cnnkit.components.contracts import Dataset
from cnnkit.components.value_description import shown
from cnnkit.data.formats.checked_files import find_given
from cnnkit.data.formats.text_tables import read_table
from cnnkit.data.split import legacy_seed, proper_fraction, split_validation
from cnnkit.data.targets import as_targets
from cnnkit.errors import ConfigError, DataError
from cnnkit.types import Array, Data, Preprocessing, Samples, Shape


class Table(Dataset):
    """A text file with a line for each sample: numbers in columns, and a column with the targets, such as a CSV file.

    x: (N, F) float32, the columns in their order; or (N, *image), uint8 if all values are whole numbers from 0 to 255,
    else float32. y: (N,) class indices, of whole numbers or of the sorted names; or (N, 1) float32 to regress, of
    numbers that are not all written as whole ones: 1.0 is a value. Preprocessing standardises columns with the mean and
    standard deviation of the training samples, y = (x - mean) / std, and divides images of uint8 by 255.
    path: below `data_dir` or the working directory, 1 GiB at most; target: the name of the targets' column in the first
    line, or its position, from 0, or from the end if it is negative; image: (C, H, W), if the columns are the pixels
    of an image, row by row; test: the share of the samples to test on, in which classes keep their proportions; seed:
    chooses which. Columns are separated by commas, semicolons, tabs or spaces; the first line is a header if a cell
    there is no number.
    Raises ConfigError for arguments; DataError, naming line and column, for a cell that is no finite number, and for a
    target that is missing.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        target: str | int,
        image: Sequence[int] | None = None,
        test: float = 0.2,
        seed: int = 0,
    ) -> None:
        if image is not None and (not isinstance(image, list | tuple) or len(image) != 3):
            raise ConfigError(f"image must be the shape (C, H, W) of an image, such as (1, 28, 28), got {shown(image)}")
        self.path = checks.path("path", path, 'the name of a file, such as "digits.csv"')
        column = 'the name or position of a column, such as "label" or -1'
        is_position = isinstance(target, int) and not isinstance(target, bool) and abs(target) <= checks.LARGEST
        self.target = target if is_position else checks.text("target", target, column)
        self.image = image if image is None else tuple(whole("image", length) for length in image)
        self.test = proper_fraction("test", test)
        self.seed = legacy_seed("seed", seed)

    def load(self, data_dir: Path) -> Data:
        """Read the file and check everything in it."""
        path = find_given(self.path, data_dir)
        table = read_table(path, self.target)
        x = table.numbers if self.image is None else _images(path, table.numbers, self.image)
        y, labels = as_targets(_values(table.targets), what=f"{path}: the column {self.target!r}")
        if y.dtype.kind == "i" and y.min() < 0:
            raise DataError(f"{path}: expected class indices from 0 on in the column {self.target!r}, got {y.min()}")
        train, test = split_validation(Samples(x, y), self.test, self.seed)
        return Data(train, test, labels=labels, preprocessing=self._preprocessing(np.asarray(train.x)))

    def _preprocessing(self, x: Array) -> Preprocessing:
        if self.image is not None:
            return Preprocessing(1 / 255 if x.dtype == np.uint8 else 1.0)
        mean, std = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
        return Preprocessing(1.0, tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist()))


def _images(path: Path, numbers: Array, shape: Shape) -> Array:
    if numbers.shape[1] != math.prod(shape):
        raise DataError(
            f"{path}: expected {math.prod(shape)} columns beside the target's for images of {shape}, "
            f"there are {numbers.shape[1]}"
        )
    images = numbers.reshape(-1, *shape)
    is_bytes = images.min() >= 0 and images.max() <= 255 and not np.any(images % 1)
    return images.astype(np.uint8) if is_bytes else images


def _values(cells: Array) -> Array:
    """Whole numbers if all are, else (N, 1) numbers if all are, else the text itself."""
    for dtype in (np.int64, np.float64):
        try:
            values = cells.astype(dtype)
        except (ValueError, OverflowError):
            continue
        return values if dtype is np.int64 else values.astype(np.float32)[:, np.newaxis]
    return cells
