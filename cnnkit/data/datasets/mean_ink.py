"""Values that can be computed from images, as targets of a regression."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cnnkit.components.contracts import Dataset
from cnnkit.data.datasets.light_images import BYTES, WHITE, as_bytes, check_size, load_images, source
from cnnkit.types import Data, Preprocessing, Samples


class MeanInk(Dataset):
    """The images of another dataset; the target is how much ink each has: its mean lightness, in percent.

    y = 100 mean(image) / white

    x: (N, C, H, W) uint8, 0 (paper) to 255 (ink). Preprocessing divides by 255. y: (N, 1) float32, 0 to 100.
    of: a dataset of images from 0 to white, such as Digits(); its targets are not used. All of it is in memory, 1 byte
    a pixel, and may take 2 GiB at most.
    Raises ConfigError for more, DataError for inputs that are not images, or go below black or above white.
    """

    def __init__(self, of: Dataset) -> None:
        self.of = source("MeanInk", of)

    def load(self, data_dir: Path) -> Data:
        """Load the other dataset, and measure its images."""
        data = load_images(self, self.of, data_dir)
        parts = [data.train, data.test, *([] if data.validation is None else [data.validation])]
        check_size(self, sum(map(len, parts)), data.input_shape, 1)
        train, test, *validation = (self._samples(part, data.preprocessing) for part in parts)
        return Data(
            train,
            test,
            validation[0] if validation else None,
            labels=("ink",),
            preprocessing=BYTES,
            framing=data.framing,
            warnings=data.warnings,
        )

    def is_complete(self, data_dir: Path) -> bool | None:
        """As the dataset that it is made from."""
        return self.of.is_complete(data_dir)

    def _samples(self, part: Samples, preprocessing: Preprocessing) -> Samples:
        x = as_bytes(part.x, preprocessing, self)
        return Samples(x, (x.mean(axis=(1, 2, 3))[:, None] * (100 / WHITE)).astype(np.float32))
