"""The images of another dataset as bytes, from black to white: where every dataset that is made from another begins."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from cnnkit.components.contracts import Dataset
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError, DataError
from cnnkit.types import Array, Data, Inputs, Preprocessing, Shape

WHITE = 255
BYTES = Preprocessing(scale=1 / WHITE)
"""Of the images that are made: 0 (black) to 1 (white)."""
MOST_BYTES = 2**31


def source(name: str, of: Dataset) -> Dataset:
    """The dataset that another one is made from; raises ConfigError for anything else."""
    if not isinstance(of, Dataset):
        raise ConfigError(f"of must be a dataset to make {name} from, as in {name}(MNIST()), got {shown(of)}")
    return of


def load_images(made: Dataset, of: Dataset, data_dir: Path) -> Data:
    """Load the dataset that another one is made from. Raises DataError unless its inputs are images."""
    data = of.load(data_dir)
    if len(data.input_shape) != 3:
        raise DataError(f"{made!r} is made from images (C, H, W), and {of!r} has inputs of shape {data.input_shape}")
    return data


def as_bytes(x: Inputs, preprocessing: Preprocessing, made: Dataset) -> Array:
    """Images as uint8 from 0 (black) to 255 (white), (N, C, H, W), a new array; white is 1 / scale of `preprocessing`.

    Raises DataError for values below 0, or above white.
    """
    values = np.asarray(x) * np.float32(WHITE * preprocessing.scale)
    if values.size and not (values.min() >= 0 and values.max() < WHITE + 0.5):  # NaN is not either
        white = 1 / preprocessing.scale
        raise DataError(
            f"{made!r} needs images from 0 (black) to {white:g} (white), as their preprocessing says, and these "
            f"go from {np.min(x):g} to {np.max(x):g}: scale them"
        )
    return np.rint(values, out=values).astype(np.uint8)


def check_size(made: Dataset, count: int, shape: Shape, each: int) -> None:
    """Raise ConfigError, before anything is made, if samples of this shape would take more than MOST_BYTES.

    each: bytes of a pixel and its target.
    """
    size = count * math.prod(shape) * each
    if size > MOST_BYTES:
        raise ConfigError(
            f"{made!r} would take {size / 2**30:.1f} GiB of memory, with {count:,} samples of shape {shape}; it must "
            f"be at most {MOST_BYTES >> 30} GiB: choose fewer samples, or smaller ones"
        )
