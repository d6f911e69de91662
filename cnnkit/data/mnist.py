"""MNIST and Fashion-MNIST: 70,000 grey images of 28x28 pixels in ten classes, in four IDX files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import numpy as np

from cnnkit.components.contracts import Dataset
from cnnkit.data.idx import read_idx
from cnnkit.errors import DataError
from cnnkit.types import Array, Data, Preprocessing, Samples


class IdxDataset(Dataset):
    """Images and labels in the four files of MNIST, each pinned by the hash of its uncompressed content.

    x: (N, 1, H, W) uint8; y: (N,) int64. A file may be raw or gzipped (`.gz`), in the dataset's own folder below
    `data_dir` or, if its content is right, in `data_dir` itself, which several datasets may share; those that are
    missing are downloaded into the former.
    """

    folder: ClassVar[str]
    mirrors: ClassVar[tuple[str, ...]]
    hashes: ClassVar[dict[str, str]]
    """For each file the hash of its uncompressed content, after the algorithm's name and a colon."""
    labels: ClassVar[tuple[str, ...]]
    preprocessing: ClassVar[Preprocessing]

    def load(self, data_dir: Path) -> Data:
        """Read the four files, downloading those that are missing.

        Raises DataError for a file that is damaged or another one, and if a missing one cannot be downloaded.
        """
        folder = data_dir / self.folder
        paths = self._paths(data_dir)
        missing = [name for name in self.hashes if name not in paths]
        if missing:
            self._download(missing, folder)
        paths |= {name: folder / f"{name}.gz" for name in missing}
        try:
            train, test = (
                self._pair(paths[f"{part}-images-idx3-ubyte"], paths[f"{part}-labels-idx1-ubyte"])
                for part in ("train", "t10k")
            )
        except DataError as error:
            raise DataError(
                f"{error}\ndelete the file to have it downloaded into {folder}, "
                "or name another folder with --data-dir or CNNKIT_DATA_DIR"
            ) from None
        return Data(train, test, labels=self.labels, preprocessing=self.preprocessing)

    def is_complete(self, data_dir: Path) -> bool:
        """Whether `load` would find all files, and so download nothing."""
        return self._paths(data_dir).keys() == self.hashes.keys()

    def _paths(self, data_dir: Path) -> dict[str, Path]:
        """Where the files are, by name, without those that are missing."""
        paths = {}
        for name in self.hashes:
            files = (f"{name}.gz", name)
            own = [data_dir / self.folder / file for file in files if os.path.exists(data_dir / self.folder / file)]
            if found := own or [data_dir / file for file in files if self._is_right(data_dir / file)]:
                paths[name] = found[0]
        return paths

    def _is_right(self, path: Path) -> bool:
        """Whether a file of the shared folder is this dataset's: others have files of the same names."""
        if not os.path.exists(path):
            return False
        try:
            self._read(path)
        except DataError:
            return False
        return True

    def _download(self, missing: list[str], folder: Path) -> None:
        from cnnkit.data.download import download  # imports pooch

        try:
            for name in missing:
                download(f"{name}.gz", self.mirrors, folder, self._read)
        except DataError as error:
            others = [path for name in missing for path in folder.parent.glob(f"{name}*")]
            passed_over = f"\nof another dataset, or damaged: {', '.join(map(str, others))}" if others else ""
            raise DataError(
                f"{self!r} needs {', '.join(missing)} (raw or .gz) in {folder}, and {error}{passed_over}\n"
                "put the files there, or name the folder that has them with --data-dir or CNNKIT_DATA_DIR"
            ) from None

    def _pair(self, images_path: Path, labels_path: Path) -> Samples:
        images, labels = self._read(images_path), self._read(labels_path)
        if len(images) != len(labels):
            raise DataError(
                f"{labels_path}: expected {len(images)} labels, one for each image of {images_path}, got {len(labels)}"
            )
        wrong = np.flatnonzero(labels >= len(self.labels))
        if len(wrong):
            first = wrong[0]
            raise DataError(
                f"{labels_path}: expected labels below {len(self.labels)}, got {labels[first]} at index {first}"
            )
        return Samples(images[:, np.newaxis], labels.astype(np.int64))  # (N, H, W) -> (N, 1, H, W)

    def _read(self, path: Path) -> Array:
        name = path.name.removesuffix(".gz")
        return read_idx(path, 3 if "idx3" in name else 1, self.hashes[name])


class MNIST(IdxDataset):
    """Handwritten digits, 60,000 to train and 10,000 to test on, looked for in `data_dir/mnist` and `data_dir`.

    x: (N, 1, 28, 28) uint8, 0 (paper) to 255 (ink); y: (N,) int64, the digit. Preprocessing: divided by 255, then
    the training set's mean 0.1307 taken off and divided by its standard deviation 0.3081.
    Source: LeCun, Cortes, Burges, The MNIST database of handwritten digits.
    """

    folder = "mnist"
    mirrors = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    hashes: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte": "sha256:ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "sha256:65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "sha256:0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "sha256:ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    }
    labels = tuple("0123456789")
    preprocessing = Preprocessing(scale=1 / 255, mean=(0.1307,), std=(0.3081,))


class FashionMNIST(IdxDataset):
    """Clothes, 60,000 to train and 10,000 to test on, looked for in `data_dir/fashion-mnist` and `data_dir`.

    x: (N, 1, 28, 28) uint8; y: (N,) int64, 0 (T-shirt/top) to 9 (Ankle boot). Preprocessing: divided by 255, then
    the training set's mean 0.2860 taken off and divided by its standard deviation 0.3530.
    Source: Xiao, Rasul, Vollgraf (2017), Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms, arXiv:1708.07747.
    """

    folder = "fashion-mnist"
    mirrors = (
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    )
    hashes: ClassVar[dict[str, str]] = {  # MD5 is all that its authors publish
        "train-images-idx3-ubyte": "md5:f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "md5:9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "md5:8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "md5:15d484375f8d13e6eb1aabb0c3f46965",
    }
    labels = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    preprocessing = Preprocessing(scale=1 / 255, mean=(0.2860,), std=(0.3530,))
