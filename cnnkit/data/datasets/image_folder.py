"""Your own images, in a folder for each class."""

from __future__ import annotations

import copy
import hashlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast, get_args

import numpy as np

from cnnkit.class_indices import listed
from cnnkit.components import checks
from cnnkit.components.checks import one_of, pair
from cnnkit.components.contracts import Dataset
from cnnkit.components.value_description import shown
from cnnkit.data.formats.checked_files import find_given
from cnnkit.data.formats.content_hashes import content_hashes
from cnnkit.data.formats.decoded_images import WHITE, Decoded, Form, cache_folder, decode
from cnnkit.data.formats.image_selection import Contents, once, usable
from cnnkit.data.formats.image_tree import ImageFile, Part, find_image_files
from cnnkit.data.formats.rows import StoredRows
from cnnkit.data.split import legacy_seed, proper_fraction, split_validation
from cnnkit.errors import ConfigError, DataError
from cnnkit.types import Data, Framing, Preprocessing, Resize, Samples

FLAT = 1e-3
"""A standard deviation of a channel, from 0 to 1, that is none: a grey level of 8 bits is 1 / 255."""


class ImageFolder(Dataset):
    """Image files in folders whose names are the classes; or in train/CLASS, test/CLASS and perhaps validation/CLASS.

    x: (N, channels, *size) uint8, 0 (black) to 255 (white), read as `read_image` does; y: (N,) class indices, in the
    order of the sorted names. Preprocessing divides by 255, then standardises each channel with the mean and standard
    deviation of the training images: y = (x / 255 - mean) / std.
    path: the folder, below `data_dir` or the working directory; size: (height, width), or one number for both;
    channels: 3 (colour) or 1 (grey); resize: "fit" (the whole image, filled up), "crop" or "stretch"; test: the share
    of the images of each class to test on, where there are no folders train and test; seed: chooses which; on_error:
    "refuse" images that cannot be read, or "skip" them.
    Of files with the same content, the first counts if they are of one class and one part; a training warns of all
    that is left out. Images are decoded once and kept in the user's cache folder, by their content, 16 GiB at most;
    they may be larger than memory. Hidden files, and those that are no images by their names, are not looked at.
    Raises ConfigError for arguments; DataError for another folder, for images that cannot be read, all of them in one
    message, and for the same image in two classes; CnnkitError without Pillow.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        size: int | tuple[int, int] = (64, 64),
        channels: int = 3,
        resize: Resize = "fit",
        test: float = 0.2,
        seed: int = 0,
        on_error: str = "refuse",
    ) -> None:
        if type(channels) is not int or channels not in (1, 3):
            raise ConfigError(f"channels must be 1 (grey) or 3 (colour), got {shown(channels)}")
        self.path = checks.path("path", path, 'the name of a folder, such as "photos"')
        self.size = pair("size", size)
        self.channels = channels
        self.resize = cast(Resize, one_of("resize", resize, get_args(Resize)))
        self.test = proper_fraction("test", test)
        self.seed = legacy_seed("seed", seed)
        self.on_error = one_of("on_error", on_error, ("refuse", "skip"))

    def load(self, data_dir: Path) -> Data:
        """Find the files, decode those that are new, and cut them into parts."""
        root = find_given(self.path, data_dir)
        if not root.is_dir():
            raise DataError(f'{root}: expected a folder, this is a file; for arrays, write Arrays("{self.path}")')
        files = find_image_files(root)
        cache = cache_folder()
        index = cache and cache / f"{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()}.json"
        contents = dict(zip(files, content_hashes(root, [file.path for file in files], index), strict=True))
        first = {one: file.path for file, one in reversed(contents.items())}
        decoded = decode(root, first, Form(self.channels, self.size, self.resize))
        contents, refused = usable(contents, decoded.unreadable, self.path, self._skipping())
        contents, repeated = once(contents, self.path)
        labels = _labels(list(contents), root)
        parts = _parts(contents, labels, decoded)
        if "" in parts:
            parts["train"], parts["test"] = split_validation(parts[""], self.test, self.seed)
        return Data(
            parts["train"],
            parts["test"],
            parts.get("validation"),
            labels=labels,
            preprocessing=_preprocessing(parts["train"], decoded),
            files_digest=_files_digest(contents),
            framing=Framing(self.resize),
            warnings=(*refused, *repeated),
        )

    def _skipping(self) -> str:
        """The same dataset without what cannot be used, as an expression; "" if this is it."""
        if self.on_error == "skip":
            return ""
        other = copy.copy(self)
        other.on_error = "skip"
        return repr(other)


def _labels(files: Sequence[ImageFile], root: Path) -> tuple[str, ...]:
    """The classes of the training images. Raises DataError for fewer than two, and for others in the other parts."""
    labels = sorted({file.label for file in files if file.part in ("", "train")})
    if len(labels) < 2:
        raise DataError(f"{root}: expected images of at least two classes to train on, got {listed(labels) or 'none'}")
    if others := sorted({file.label for file in files} - set(labels)):
        raise DataError(f"{root}: expected training images of every class, there are none of {listed(others)}")
    return tuple(labels)


def _parts(contents: Contents, labels: Sequence[str], decoded: Decoded) -> dict[Part, Samples]:
    numbers = {label: number for number, label in enumerate(labels)}
    files: dict[Part, list[ImageFile]] = {}
    for file in contents:
        files.setdefault(file.part, []).append(file)
    return {
        part: Samples(
            decoded.rows.select(np.array([decoded.position[contents[file]] for file in found], np.int64)),
            np.array([numbers[file.label] for file in found], np.int64),
        )
        for part, found in files.items()
    }


def _preprocessing(train: Samples, decoded: Decoded) -> Preprocessing:
    """Of the training images; a channel without any contrast keeps its scale."""
    rows = cast(StoredRows, train.x)
    total, squares = decoded.moments[rows.rows].sum(axis=0, dtype=np.int64).T  # (C,) each
    count = len(rows) * math.prod(rows.row[1:])
    mean = total / count / WHITE
    std = np.sqrt(np.maximum(squares / count / WHITE**2 - mean**2, 0))
    return Preprocessing(1 / WHITE, tuple(mean.tolist()), tuple(np.where(std > FLAT, std, 1.0).tolist()))


def _files_digest(contents: Contents) -> str:
    """sha256 over the names of the files, which tell their classes and parts, and what is in them."""
    total = hashlib.sha256()
    for file, one in contents.items():
        total.update(f"{file.path}\0{one}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()
