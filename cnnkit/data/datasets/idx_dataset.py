"""What MNIST and the datasets in its format have in common: four IDX files."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from cnnkit.data.downloading.published import PublishedDataset, Wanted, class_indices, standardizing
from cnnkit.data.formats.idx import read_idx
from cnnkit.errors import DataError
from cnnkit.types import FITTED, Array, Data, Framing, Preprocessing, Samples

MAX_IDX_BYTES = 16 + 60_000 * 28 * 28
"""Bytes of the largest file, uncompressed: nobody needs to see more of one in order to refuse it."""
PARTS = ("train", "t10k")


class IdxDataset(PublishedDataset):
    """Images and labels in the four files of MNIST, each pinned by a hash.

    x: (N, 1, H, W) uint8; y: (N,) int64. The files are in the dataset's own folder below `data_dir` or, if their
    content is right, in `data_dir` itself, which several datasets may share; those that are missing are downloaded into
    the former.
    """

    hashes: ClassVar[dict[str, str]]
    """For each file the hash that is published, after the algorithm's name and a colon.

    A name without .gz stands for the uncompressed content, and the file may be raw or gzipped in any way; one with .gz
    stands for that very file, where no hash of its content is known.
    """
    sizes: ClassVar[dict[str, int]] = {}
    """The bytes of the files to download, by their names in `hashes`, as far as they are known."""
    labels: ClassVar[tuple[str, ...]]
    preprocessing: ClassVar[Preprocessing | None]
    """None: mean and standard deviation of the training images."""
    framing: ClassVar[Framing] = FITTED

    def load(self, data_dir: Path) -> Data:
        """Read the four files, downloading those that are missing.

        Raises DataError for a damaged or different file, and if a missing one cannot be downloaded.
        """
        paths = self._paths(data_dir)
        missing = [name for name in self.hashes if name not in paths]
        if missing:
            self._download_files(missing, data_dir)
        paths |= {name: data_dir / self.folder / _gzipped(name) for name in missing}
        try:
            train, test = (self._samples(part, paths) for part in PARTS)
        except DataError as error:
            raise self._advised(error, data_dir) from None
        preprocessing = standardizing(np.asarray(train.x)) if self.preprocessing is None else self.preprocessing
        return Data(train, test, labels=self.labels, preprocessing=preprocessing, framing=self.framing)

    def is_complete(self, data_dir: Path) -> bool:
        """Whether `load` would find all files, and so download nothing."""
        return self._paths(data_dir).keys() == self.hashes.keys()

    def _paths(self, data_dir: Path) -> dict[str, Path]:
        """Where the files are, by their names in `hashes`, without those that are missing."""
        paths = {}
        for name in self.hashes:
            files = dict.fromkeys((_gzipped(name), name))
            own = [data_dir / self.folder / file for file in files if os.path.exists(data_dir / self.folder / file)]
            if found := own or [data_dir / file for file in files if self._is_right(name, data_dir / file)]:
                paths[name] = found[0]
        return paths

    def _is_right(self, name: str, path: Path) -> bool:
        """Whether a file of the shared folder is this dataset's: others have files of the same names."""
        if not os.path.exists(path):
            return False
        try:
            self._read(name, path)
        except DataError:
            return False
        return True

    def _download_files(self, missing: list[str], data_dir: Path) -> None:
        others = [path for name in missing for path in data_dir.glob(f"{name}*")]
        self._download(
            (Wanted(_gzipped(name), self.sizes.get(name), partial(self._read, name)) for name in missing),
            data_dir,
            ", ".join(missing) + ("" if missing[0].endswith(".gz") else " (raw or .gz)"),
            f"\nfrom another dataset, or damaged: {', '.join(map(str, others))}" if others else "",
        )

    def _samples(self, part: str, paths: dict[str, Path]) -> Samples:
        images, labels = (
            (paths[name], self._read(name, paths[name]))
            for kind in ("images-idx3", "labels-idx1")
            for name in self.hashes
            if name.removesuffix(".gz") == f"{part}-{kind}-ubyte"
        )
        y = class_indices(labels[1], labels[0], len(self.labels), len(images[1]))
        return Samples(images[1][:, np.newaxis], y)  # (N, H, W) -> (N, 1, H, W)

    def _read(self, name: str, path: Path) -> Array:
        axes = 3 if "idx3" in name else 1
        if name.endswith(".gz"):
            return read_idx(path, axes, file_hash=self.hashes[name], most=MAX_IDX_BYTES)
        return read_idx(path, axes, content_hash=self.hashes[name], most=MAX_IDX_BYTES)


def _gzipped(name: str) -> str:
    return name if name.endswith(".gz") else f"{name}.gz"
