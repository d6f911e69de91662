"""EMNIST: handwritten letters and digits in the format of MNIST, in six divisions of one archive."""

from __future__ import annotations

import string
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cnnkit.components.checks import one_of
from cnnkit.data.downloading.published import PublishedDataset, class_indices, standardizing, wanted
from cnnkit.data.formats.archives import read_zip
from cnnkit.data.formats.checked_files import Published, open_published
from cnnkit.data.formats.idx import parse_idx
from cnnkit.errors import DataError
from cnnkit.types import Array, Data, Framing, Samples

_MERGED = (*string.digits, *string.ascii_uppercase, *"abdefghnqrt")
"""Of the small letters only those that do not look like the capital ones."""
LABELS: dict[str, tuple[str, ...]] = {
    "balanced": _MERGED,
    "byclass": (*string.digits, *string.ascii_uppercase, *string.ascii_lowercase),
    "bymerge": _MERGED,
    "letters": tuple(string.ascii_uppercase),
    "digits": tuple(string.digits),
    "mnist": tuple(string.digits),
}
FRAMING = Framing(content=26)
"""Its authors cut each character out, put a border of 2 pixels around it, and scaled that, some 64 pixels, to 28."""


class EMNIST(PublishedDataset):
    """Handwritten letters and digits, up to 814,255 in 62 classes, looked for in `data_dir/emnist/gzip.zip`.

    x: (N, 1, 28, 28) uint8, 0 (paper) to 255 (ink), upright: the files have each image with rows and columns exchanged;
    y: (N,) int64. Preprocessing: divided by 255, then the training set's mean subtracted and divided by its standard
    deviation.
    split, with samples to train and to test on: "balanced" (112,800 and 18,800 in 47 classes), "byclass" (697,932 and
    116,323 in 62), "bymerge" (the same in 47), "letters" (124,800 and 20,800 in 26, capital and small ones together),
    "digits" (240,000 and 40,000 in 10), "mnist" (60,000 and 10,000 in 10).
    Raises ConfigError for any other split.
    Source: Cohen, Afshar, Tapson, van Schaik (2017), EMNIST: an extension of MNIST to handwritten letters,
    arXiv:1702.05373.
    """

    folder = "emnist"
    mirrors = (
        "https://biometrics.nist.gov/cs_links/EMNIST/",
        "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/",
    )
    archive = Published(
        "gzip.zip", 561_753_746, "sha256:fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e"
    )

    def __init__(self, split: str = "balanced") -> None:
        self.split = one_of("split", split, LABELS)

    def load(self, data_dir: Path) -> Data:
        """Read the archive, downloading it if it is missing.

        Raises DataError if it is a damaged or different file, and if it cannot be downloaded.
        """
        path = self._path(data_dir)
        if not path.exists():
            self._download([wanted(self.archive)], data_dir, self.archive.name)
        try:
            with open_published(path, self.archive) as file:
                train, test = (self._samples(file, path, part) for part in ("train", "test"))
        except DataError as error:
            raise self._advised(error, data_dir) from None
        preprocessing = standardizing(np.asarray(train.x))
        return Data(train, test, labels=LABELS[self.split], preprocessing=preprocessing, framing=FRAMING)

    def is_complete(self, data_dir: Path) -> bool:
        """Whether `load` would find the archive, and so download nothing."""
        return self._path(data_dir).exists()

    def _path(self, data_dir: Path) -> Path:
        return data_dir / self.folder / self.archive.name

    def _samples(self, file: BinaryIO, path: Path, part: str) -> Samples:
        def member(kind: str, axes: int) -> tuple[Path, Array]:
            name = f"gzip/emnist-{self.split}-{part}-{kind}-ubyte.gz"
            return path / name, parse_idx(read_zip(file, path, name), path / name, axes)

        _, images = member("images-idx3", 3)
        where, labels = member("labels-idx1", 1)
        first = 1 if self.split == "letters" else 0
        y = class_indices(labels, where, len(LABELS[self.split]), len(images), first)
        upright = np.ascontiguousarray(images.transpose(0, 2, 1))
        return Samples(upright[:, np.newaxis], y)  # (N, W, H) -> (N, 1, H, W)
