"""Images as targets: a network learns to remove noise from its inputs, or to give them back."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cnnkit.components.checks import not_negative, whole
from cnnkit.components.contracts import Dataset
from cnnkit.data.datasets.light_images import BYTES, WHITE, as_bytes, check_size, load_images, source
from cnnkit.types import BLOCK_BYTES, Array, Data, Preprocessing, Samples

FLOAT_AND_BYTE = 5
"""Bytes of a pixel: a target of float32, and an input of uint8."""


class Autoencoding(Dataset):
    """The images of another dataset, each of which is its own target.

    x: (N, C, H, W) uint8, 0 (black) to 255 (white); y: the same as float32, 0 to 1. Preprocessing divides by 255.
    of: a dataset of images from 0 to white, such as MNIST(); its targets are not used.
    All of it is in memory, 5 bytes a pixel: MNIST's 70,000 images take 274 MB, and 2 GiB is the most.
    Raises ConfigError for more, DataError for inputs that are not images, or go below black or above white.
    Source: Hinton, Salakhutdinov (2006), Reducing the Dimensionality of Data with Neural Networks.
    """

    def __init__(self, of: Dataset) -> None:
        self.of = source("Autoencoding", of)

    def load(self, data_dir: Path) -> Data:
        """Load the other dataset, and take its images as targets."""
        return _images_as_targets(self, self.of, data_dir, stddev=0.0, seed=0)

    def is_complete(self, data_dir: Path) -> bool | None:
        """As the dataset that it is made from."""
        return self.of.is_complete(data_dir)


class Denoising(Dataset):
    """The images of another dataset with noise; the targets are the same images without it.

    y = image / white,  x = 255 min(max(y + stddev n, 0), 1), rounded,  n from the standard normal distribution

    x: (N, C, H, W) uint8; y: the same shape, float32, 0 (black) to 1 (white). Preprocessing divides by 255.
    of: a dataset of images from 0 to white, such as MNIST(); its targets are not used. stddev: of the noise, where 1 is
    the distance from black to white; seed: chooses the noise, drawn once for each pixel of each sample: it is the same
    in each epoch, and a test sample is the same in a picture and in a file.
    All of it is in memory, 5 bytes a pixel: MNIST's 70,000 images take 274 MB, and 2 GiB is the most.
    Raises ConfigError for more and unless stddev >= 0, DataError for inputs that are not images, or go below black or
    above white.
    Source: Vincent, Larochelle, Bengio, Manzagol (2008), Extracting and Composing Robust Features with Denoising
    Autoencoders.
    """

    def __init__(self, of: Dataset, stddev: float = 0.5, seed: int = 0) -> None:
        self.of = source("Denoising", of)
        self.stddev = not_negative("stddev", stddev)
        self.seed = whole("seed", seed, at_least=0)

    def load(self, data_dir: Path) -> Data:
        """Load the other dataset, and add noise to its images."""
        return _images_as_targets(self, self.of, data_dir, self.stddev, self.seed)

    def is_complete(self, data_dir: Path) -> bool | None:
        """As the dataset that it is made from."""
        return self.of.is_complete(data_dir)


def _images_as_targets(made: Dataset, of: Dataset, data_dir: Path, stddev: float, seed: int) -> Data:
    data = load_images(made, of, data_dir)
    parts = [data.train, data.test, *([] if data.validation is None else [data.validation])]
    check_size(made, sum(map(len, parts)), data.input_shape, FLOAT_AND_BYTE)
    train, test, *validation = (
        _samples(made, part, data.preprocessing, stddev, np.random.default_rng([seed, number]))
        for number, part in enumerate(parts)
    )
    return Data(
        train,
        test,
        validation[0] if validation else None,
        preprocessing=BYTES,
        framing=data.framing,
        warnings=data.warnings,
    )


def _samples(
    made: Dataset, part: Samples, preprocessing: Preprocessing, stddev: float, rng: np.random.Generator
) -> Samples:
    x = as_bytes(part.x, preprocessing, made)
    y: Array = x / np.float32(WHITE)
    step = max(1, BLOCK_BYTES // y[:1].nbytes) if len(y) else 1
    for start in range(0, len(x) if stddev else 0, step):  # noise of all at once would take as much as the targets
        clean = y[start : start + step]
        noisy = clean + np.float32(stddev) * rng.standard_normal(clean.shape, np.float32)
        x[start : start + step] = np.rint(WHITE * noisy.clip(0, 1))
    return Samples(x, y)
