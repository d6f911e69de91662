"""CIFAR-10 and CIFAR-100: 60,000 colour images of 32x32 pixels, in the binary files of their authors.

Their archives for Python hold pickled objects instead: loading those runs whatever code is in them, so none is.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, ClassVar

import numpy as np

from cnnkit.components.checks import one_of
from cnnkit.data.datasets.cifar_names import COARSE, FINE
from cnnkit.data.downloading.published import PublishedDataset, class_indices, wanted
from cnnkit.data.formats.archives import read_tar
from cnnkit.data.formats.checked_files import Published, open_published
from cnnkit.errors import DataError
from cnnkit.types import Array, Data, Preprocessing, Samples

IMAGE = (3, 32, 32)


class CifarDataset(PublishedDataset):
    """Records of one or two labels and an image: red, green and blue, each row by row.

    x: (N, 3, 32, 32) uint8; y: (N,) int64. The archive is looked for in `data_dir`, and so is the folder that it holds,
    extracted; where neither is complete, the archive is downloaded.
    """

    folder = ""
    mirrors = (
        "https://www.cs.toronto.edu/~kriz/",
        "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/",
    )
    archive: ClassVar[Published]
    inside: ClassVar[str]
    """The folder in the archive."""
    train_files: ClassVar[tuple[Published, ...]]
    test_files: ClassVar[tuple[Published, ...]]
    pickled: ClassVar[tuple[str, str]]
    """The archive for Python, and the folder in it."""
    label_bytes: ClassVar[int]
    """Labels before each image."""
    preprocessing: ClassVar[Preprocessing]

    def load(self, data_dir: Path) -> Data:
        """Read the extracted files or the archive, downloading that if neither is there.

        Raises DataError for a damaged or different file, and if the archive cannot be downloaded.
        """
        if not self.is_complete(data_dir):
            others = [path for name in self.pickled if (path := data_dir / name).exists()]
            hint = f"\n{', '.join(map(str, others))}: {self._about_pickles()}" if others else ""
            self._download([wanted(self.archive)], data_dir, self.archive.name, hint)
        try:
            parts = dict(self._parts(data_dir))
        except DataError as error:
            raise self._advised(error, data_dir) from None
        train, test = (
            Samples(*(np.concatenate(arrays) for arrays in zip(*(parts.pop(file.name) for file in files), strict=True)))
            for files in (self.train_files, self.test_files)
        )
        return Data(train, test, labels=self._names(), preprocessing=self.preprocessing)

    def is_complete(self, data_dir: Path) -> bool:
        """Whether `load` would find all files, and so download nothing."""
        return (data_dir / self.archive.name).exists() or self._is_extracted(data_dir)

    def _names(self) -> tuple[str, ...]:
        """The names of the classes."""
        raise NotImplementedError  # derived classes define it

    def _column(self) -> int:
        """Which of the labels counts."""
        return 0

    def _is_extracted(self, data_dir: Path) -> bool:
        return all((data_dir / self.inside / file.name).exists() for file in (*self.train_files, *self.test_files))

    def _parts(self, data_dir: Path) -> Iterator[tuple[str, tuple[Array, Array]]]:
        """Images and labels by the name of their file, from the extracted files if they are complete."""
        files = (*self.train_files, *self.test_files)
        if self._is_extracted(data_dir):
            for published in files:
                path = data_dir / self.inside / published.name
                with self._open(path, published) as file:
                    yield published.name, self._records(file.read(), path)
            return
        path = data_dir / self.archive.name
        with self._open(path, self.archive) as file:
            for name, content in read_tar(file, path, {f"{self.inside}/{one.name}": one.size for one in files}):
                yield name.rpartition("/")[2], self._records(content, path / name)

    def _open(self, path: Path, published: Published) -> BinaryIO:
        try:
            return open_published(path, published)
        except DataError as error:
            if path.is_file() and _is_pickled(path):  # opening a pipe would wait forever
                raise DataError(f"{path}: {self._about_pickles()}") from error
            raise

    def _about_pickles(self) -> str:
        return (
            "this is the version for Python, whose pickled objects may run code when loaded, so they never are; "
            f"the binary version is {self.mirrors[0]}{self.archive.name}"
        )

    def _records(self, content: bytes, path: Path) -> tuple[Array, Array]:
        """Images and labels."""
        length = self.label_bytes + int(np.prod(IMAGE))
        if len(content) % length:
            raise DataError(f"{path}: expected records of {length:,} bytes, got {len(content):,} bytes")
        records = np.frombuffer(content, np.uint8).reshape(-1, length)
        images = records[:, self.label_bytes :].reshape(-1, *IMAGE)  # a copy: the labels are left out
        return images, class_indices(records[:, self._column()], path, len(self._names()), len(images))


def _is_pickled(path: Path) -> bool:
    """Whether a file that is not what was expected is one of the authors' pickled ones, or an archive of those."""
    try:
        with path.open("rb") as file:
            head = file.read(2**12)
        if head.startswith(b"\x1f\x8b"):
            first = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, 512)
            return first.startswith((b"cifar-10-batches-py", b"cifar-100-python"))
    except (OSError, zlib.error):
        return False
    return head.startswith(b"\x80")  # what every pickle since protocol 2 begins with


def _batch(name: str, records: int, length: int, sha1: str) -> Published:
    return Published(name, records * length, f"sha1:{sha1}")


class CIFAR10(CifarDataset):
    """Ten kinds of animals and vehicles, 50,000 to train and 10,000 to test on, looked for in `data_dir`.

    x: (N, 3, 32, 32) uint8, red, green and blue; y: (N,) int64, 0 (airplane) to 9 (truck). Preprocessing: divided by
    255, then the training set's mean of each channel subtracted and divided by its standard deviation.
    Source: Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images.
    """

    archive = Published(
        "cifar-10-binary.tar.gz",
        170_052_171,
        "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    )
    inside = "cifar-10-batches-bin"
    train_files = (  # hashes of what is in the archive, as MXNet knows them; its authors publish that of the archive
        _batch("data_batch_1.bin", 10_000, 3073, "aadd24acce27caa71bf4b10992e9e7b2d74c2540"),
        _batch("data_batch_2.bin", 10_000, 3073, "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795"),
        _batch("data_batch_3.bin", 10_000, 3073, "1dd00a74ab1d17a6e7d73e185b69dbf31242f295"),
        _batch("data_batch_4.bin", 10_000, 3073, "aab85764eb3584312d3c7f65fd2fd016e36a258e"),
        _batch("data_batch_5.bin", 10_000, 3073, "26e2849e66a845b7f1e4614ae70f4889ae604628"),
    )
    test_files = (_batch("test_batch.bin", 10_000, 3073, "67eb016db431130d61cd03c7ad570b013799c88c"),)
    pickled = ("cifar-10-python.tar.gz", "cifar-10-batches-py")
    label_bytes = 1
    preprocessing = Preprocessing(1 / 255, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))

    def _names(self) -> tuple[str, ...]:
        return ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class CIFAR100(CifarDataset):
    """A hundred kinds of things in 20 groups, 50,000 to train and 10,000 to test on, looked for in `data_dir`.

    x: (N, 3, 32, 32) uint8, red, green and blue; y: (N,) int64. Preprocessing as for `CIFAR10`.
    labels: "fine" for the hundred kinds, "coarse" for their groups. Raises ConfigError for any other.
    Source: Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images.
    """

    archive = Published(
        "cifar-100-binary.tar.gz",
        168_513_733,
        "sha256:58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    )
    inside = "cifar-100-binary"
    train_files = (_batch("train.bin", 50_000, 3074, "e207cd2e05b73b1393c74c7f5e7bea451d63e08e"),)
    test_files = (_batch("test.bin", 10_000, 3074, "8fb6623e830365ff53cf14adec797474f5478006"),)
    pickled = ("cifar-100-python.tar.gz", "cifar-100-python")
    label_bytes = 2
    preprocessing = Preprocessing(1 / 255, mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762))

    def __init__(self, labels: str = "fine") -> None:
        self.labels = one_of("labels", labels, ("fine", "coarse"))

    def _names(self) -> tuple[str, ...]:
        return FINE if self.labels == "fine" else COARSE

    def _column(self) -> int:
        return 1 if self.labels == "fine" else 0
