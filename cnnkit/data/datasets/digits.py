"""The small handwritten digits that come with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np

from cnnkit.components.contracts import Dataset
from cnnkit.data.split import legacy_seed, proper_fraction, split_test
from cnnkit.types import Data, Framing, Preprocessing, Samples


class Digits(Dataset):
    """1,797 handwritten digits of 8x8 pixels, inside the package: nothing to download.

    x: (N, 1, 8, 8) uint8, 0 (paper) to 16 (ink), a digit fills the height; y: (N,) int64, the digit. Preprocessing
    divides by 16.
    test: the share of samples to test on; seed: chooses which, as scikit-learn's `train_test_split` does.
    Raises ConfigError unless 0 < test < 1 and 0 <= seed < 2**32.
    Source: Alpaydin, Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository,
    doi:10.24432/C50P49; CC BY 4.0, see digits-LICENSE.txt.
    """

    def __init__(self, test: float = 0.2, seed: int = 42) -> None:
        self.test = proper_fraction("test", test)
        self.seed = legacy_seed("seed", seed)

    def load(self, data_dir: Path) -> Data:
        """Read the digits from the package; `data_dir` is not looked at."""
        with (
            resources.files("cnnkit.data.datasets").joinpath("digits.npz").open("rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            samples = Samples(arrays["x"], arrays["y"].astype(np.int64))
        train, test = split_test(samples, self.test, self.seed)
        return Data(
            train,
            test,
            labels=tuple("0123456789"),
            preprocessing=Preprocessing(scale=1 / 16),
            framing=Framing(content=8),
        )

    def is_complete(self, data_dir: Path) -> bool:
        """They come with the package."""
        return True
