"""Datasets in files that others publish: found in the folder of data files, or else downloaded there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from cnnkit.components.contracts import Dataset
from cnnkit.data.formats.checked_files import Published, open_published
from cnnkit.errors import DataError
from cnnkit.types import Array, Preprocessing


class Wanted(NamedTuple):
    """A file to download."""

    name: str
    size: int | None
    check: Callable[[Path], object]
    """Raises DataError for wrong content."""


class PublishedDataset(Dataset):
    """A dataset whose missing files are downloaded into its folder."""

    folder: ClassVar[str]
    """Below the folder of data files."""
    mirrors: ClassVar[tuple[str, ...]]

    def _download(self, files: Iterable[Wanted], data_dir: Path, needs: str, hint: str = "") -> None:
        """Download files; needs: what the dataset cannot be without; hint: what else to say if that fails."""
        from cnnkit.data.downloading.download import download  # imports requests

        folder = data_dir / self.folder
        try:
            for name, size, check in files:
                download(name, self.mirrors, folder, check, size)
        except DataError as error:
            raise DataError(
                f"{self!r} needs {needs} in {folder}, and {error}{hint}\n"
                "put the files there, or name the folder that has them with --data-dir or CNNKIT_DATA_DIR"
            ) from None

    def _advised(self, error: DataError, data_dir: Path) -> DataError:
        """The error of a file that is there, with what to do."""
        return DataError(
            f"{error}\ndelete the file to have it downloaded into {data_dir / self.folder}, "
            "or name another folder with --data-dir or CNNKIT_DATA_DIR"
        )


def wanted(published: Published) -> Wanted:
    """A published file, to be checked by its size and hash."""
    return Wanted(published.name, published.size, lambda path: open_published(path, published).close())


def class_indices(labels: Array, path: Path, classes: int, images: int, first: int = 0) -> Array:
    """Labels from `first` on as class indices from 0 on, int64, one for each image. Raises DataError for any other."""
    if len(labels) != images:
        raise DataError(f"{path}: expected {images} labels, one for each image, got {len(labels)}")
    indices = labels.astype(np.int64) - first
    wrong = np.flatnonzero((indices < 0) | (indices >= classes))
    if len(wrong):
        raise DataError(
            f"{path}: expected labels from {first} to {first + classes - 1}, got {labels[wrong[0]]} at index {wrong[0]}"
        )
    return indices


def standardizing(x: Array) -> Preprocessing:
    """Preprocessing of grey images by mean and standard deviation of all their pixels, rounded to four digits.

    x: (N, 1, H, W) uint8. For datasets of which no such numbers are published, or several that differ.
    """
    counts = np.zeros(256, np.int64)
    for start in range(0, len(x), 10_000):  # bincount makes int64 of them, eight times as large
        counts += np.bincount(x[start : start + 10_000].ravel(), minlength=256)
    values = np.arange(256) / 255
    mean = float(counts @ values / counts.sum())
    std = float(np.sqrt(counts @ (values - mean) ** 2 / counts.sum()))
    return Preprocessing(scale=1 / 255, mean=(round(mean, 4),), std=(round(std, 4),))
