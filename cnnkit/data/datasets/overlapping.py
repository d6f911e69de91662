"""Two images of another dataset in one, to be told apart pixel by pixel, or named."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import numpy as np

from cnnkit.class_indices import are_indices, indices_of
from cnnkit.components.checks import one_of, whole
from cnnkit.components.contracts import Dataset
from cnnkit.data.datasets.light_images import BYTES, WHITE, as_bytes, check_size, load_images, source
from cnnkit.errors import DataError
from cnnkit.types import Array, Data, Preprocessing, Samples

Targets = Literal["pixels", "labels"]
BACKGROUND = "background"
LARGER, MULTIPLE = 1.4, 4
"""The side of the larger image, in sides of one of the two, and what it is a multiple of: a network halves it twice."""
SMALLEST = 3
"""Pixels of a side. Of 2 in a larger image of 4, two images could lie beside each other; 1 is rounded to nothing."""
REJECTED = 30
"""Rounds in which pairs of one class are drawn again: of ten classes alike in size, each leaves a tenth of them."""
BLOCK = 1000
"""Images that are made together."""
BYTE_AND_CLASS = 9
"""Bytes of a pixel: an input of uint8, and a class of int64."""


class Overlapping(Dataset):
    """Two images of another dataset, of different classes, at random places of a larger one, where they overlap.

    x = max(first, second) at each pixel,  side of x = 1.4 sides of an image, rounded to a multiple of 4

    Their places differ by about 0.4 sides at most, so the two always overlap: MNIST's images of 28x28 pixels share at
    least 16x16 of the 40x40, and 72 % of their area on average. What they show is light, the ground dark.

    x: (N, C, H, W) uint8, 0 (black) to 255 (white). Preprocessing divides by 255.
    y, by `targets`: "pixels": (N, H, W) int64, 1 + the class of the image that is lighter there, the first one if both
    are alike; 0 for the background, where both are less than half as light as white.
    "labels": (N, K) float32, 1 for the two classes in the image and 0 for the others.
    of: a dataset of images with classes, such as MNIST(): its training samples make those to train on, its test samples
    those to test on; its validation samples are not used. train, test: how many are made; seed: chooses images and
    places. All of it is in memory: 14,000 images of 40x40 pixels take 22 MB, and their "pixels" 179 MB.
    Raises ConfigError for more than 2 GiB, DataError for inputs that are not images from black to white of 3 x 3 pixels
    or more, and for targets that are not two or more classes.
    Source: Sabour, Frosst, Hinton (2017), Dynamic Routing Between Capsules, section 6 (MultiMNIST).
    """

    def __init__(
        self, of: Dataset, targets: Targets = "pixels", train: int = 12_000, test: int = 2_000, seed: int = 0
    ) -> None:
        self.of = source("Overlapping", of)
        self.targets = one_of("targets", targets, get_args(Targets))
        self.train = whole("train", train)
        self.test = whole("test", test)
        self.seed = whole("seed", seed, at_least=0)

    def load(self, data_dir: Path) -> Data:
        """Load the other dataset, and lay its images over each other."""
        data = load_images(self, self.of, data_dir)
        channels, *sides = data.input_shape
        if min(sides) < SMALLEST:
            raise DataError(
                f"{self!r} is made from images of {SMALLEST} x {SMALLEST} pixels or more, and those of {self.of!r} "
                f"have {sides[0]} x {sides[1]}: choose a dataset of larger ones"
            )
        height, width = (MULTIPLE * round(LARGER * side / MULTIPLE) for side in sides)
        check_size(self, self.train + self.test, (channels, height, width), BYTE_AND_CLASS)
        parts = [Samples(part.x, self._classes(part.y)) for part in (data.train, data.test)]
        lowest, highest = min(int(part.y.min()) for part in parts), max(int(part.y.max()) for part in parts)
        labels = data.labels or tuple(map(str, range(1 + highest)))
        if lowest < 0 or highest >= len(labels):
            raise DataError(
                f"{self!r} is made from images with classes from 0 to {len(labels) - 1}, and the targets of "
                f"{self.of!r} go from {lowest} to {highest}: correct them, or give each class a label"
            )
        train, test = (
            self._samples(part, data.preprocessing, (height, width), len(labels), number, count)
            for number, (part, count) in enumerate(zip(parts, (self.train, self.test), strict=True))
        )
        labels = (BACKGROUND, *labels) if self.targets == "pixels" else labels
        return Data(train, test, labels=labels, preprocessing=BYTES, warnings=data.warnings)

    def is_complete(self, data_dir: Path) -> bool | None:
        """As the dataset that it is made from."""
        return self.of.is_complete(data_dir)

    def _classes(self, y: Array) -> Array:
        """Class indices, (N,). Raises DataError for other targets, and for a single class."""
        classes = indices_of(y)
        if classes.ndim != 1 or not are_indices(classes) or len(np.unique(classes)) < 2:
            raise DataError(
                f"{self!r} is made from images of two or more classes, and {self.of!r} has targets of shape {y.shape}, "
                f"{y.dtype}: choose a dataset with classes"
            )
        return classes

    def _samples(
        self, part: Samples, preprocessing: Preprocessing, size: tuple[int, int], classes: int, number: int, count: int
    ) -> Samples:
        known = part.y
        rng = np.random.default_rng([self.seed, number])
        chosen = _pairs(known, count, rng)
        room = [1 + whole_side - side for whole_side, side in zip(size, part.x.shape[2:], strict=True)]
        places = np.stack([rng.integers(0, each, (count, 2)) for each in room], axis=2)
        x = np.empty((count, part.x.shape[1], *size), np.uint8)
        of_pixels = self.targets == "pixels"
        y = np.zeros((count, *size) if of_pixels else (count, classes), np.int64 if of_pixels else np.float32)
        for start in range(0, count, BLOCK):
            block = slice(start, min(start + BLOCK, count))
            pairs = chosen[block]
            images = as_bytes(part.x[pairs.ravel()], preprocessing, self).reshape(*pairs.shape, *part.x.shape[1:])
            laid = _laid(images, places[block], size)
            x[block] = laid.max(axis=1)
            if of_pixels:
                lightness = laid.max(axis=2)  # of the lightest channel
                lighter = np.where(
                    lightness[:, 0] >= lightness[:, 1], *(known[pairs[:, k], None, None] for k in (0, 1))
                )
                y[block] = np.where(lightness.max(axis=1) > WHITE // 2, 1 + lighter, 0)
            else:
                y[np.arange(block.start, block.stop)[:, None], known[pairs]] = 1
        return Samples(x, y)


def _pairs(classes: Array, count: int, rng: np.random.Generator) -> Array:
    """Indices of two samples of different classes, (count, 2): any first one, and any second one of another class.

    Pairs of one class are drawn again. Where nearly all samples are of one class, that could take as many rounds as
    there are samples: after a few, the rest is drawn from the other classes directly, which has the same distribution.
    """
    pairs = rng.integers(0, len(classes), (count, 2))
    for _ in range(REJECTED):
        alike = _of_one_class(classes, pairs)
        pairs[alike, 1] = rng.integers(0, len(classes), alike.size)
    alike = _of_one_class(classes, pairs)
    sorted_by_class = classes.argsort(kind="stable")
    _, number, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    own = number[pairs[alike, 0]]
    place = rng.integers(0, len(classes) - sizes[own])  # as if those of the same class were not there
    place += np.where(place >= (sizes.cumsum() - sizes)[own], sizes[own], 0)
    pairs[alike, 1] = sorted_by_class[place]
    return pairs


def _of_one_class(classes: Array, pairs: Array) -> Array:
    return np.flatnonzero(np.equal(*classes[pairs].T))


def _laid(images: Array, places: Array, size: tuple[int, int]) -> Array:
    """Images (n, 2, C, h, w) at their places (n, 2, 2), top and left, on black ground, (n, 2, C, *size)."""
    count, pair, channels, height, width = images.shape
    laid = np.zeros((count, pair, *size, channels), images.dtype)
    which, one = np.ogrid[:count, :pair]
    rows = places[:, :, 0, None, None] + np.arange(height)[:, None]
    columns = places[:, :, 1, None, None] + np.arange(width)
    laid[which[..., None, None], one[..., None, None], rows, columns] = images.transpose(0, 1, 3, 4, 2)
    return laid.transpose(0, 1, 4, 2, 3)
