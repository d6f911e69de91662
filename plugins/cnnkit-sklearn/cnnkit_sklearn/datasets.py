"""The tables that come with scikit-learn, as data sets of cnnkit: nothing to download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from cnnkit.plugin import Data, Dataset, Preprocessing, Samples, in_range, positive, whole


class _Bundled(Dataset):
    """A table of scikit-learn, cut into training and test samples.

    test: the share of samples to test on, of each class; seed: chooses which. Preprocessing subtracts the mean of the
    training samples from each feature, and divides by their standard deviation.
    """

    name: ClassVar[str]
    """Of scikit-learn's function that loads it."""
    are_classes: ClassVar[bool] = True

    def __init__(self, test: float = 0.2, seed: int = 42) -> None:
        self.test = in_range("test", positive("test", test), 0, 1)
        self.seed = int(in_range("seed", whole("seed", seed, 0), 0, 2**32))

    def load(self, data_dir: Path) -> Data:
        """Read the table from scikit-learn; `data_dir` is not looked at."""
        from sklearn import datasets
        from sklearn.model_selection import train_test_split

        load: Callable[[], Any] = getattr(datasets, self.name)
        bunch = load()
        x = bunch.data.astype(np.float32)
        y = bunch.target.astype(np.int64) if self.are_classes else bunch.target.astype(np.float32)[:, None]
        split = train_test_split(
            x, y, test_size=self.test, random_state=self.seed, stratify=y if self.are_classes else None
        )
        train, test = Samples(split[0], split[2]), Samples(split[1], split[3])
        mean, std = split[0].mean(axis=0, dtype=np.float64), split[0].std(axis=0, dtype=np.float64)
        return Data(
            train,
            test,
            labels=tuple(map(str, bunch.target_names)) if self.are_classes else (),
            preprocessing=Preprocessing(mean=tuple(mean.tolist()), std=tuple(std.tolist())),
        )

    def is_complete(self, data_dir: Path) -> bool:
        """They come with scikit-learn."""
        return True


class Iris(_Bundled):
    """150 iris flowers of three species, by the length and width of sepals and petals in cm.

    x: (N, 4) float32; y: (N,) int64. test: the share of samples to test on, of each class; seed: chooses which.
    Preprocessing standardises each feature. Raises ConfigError unless 0 < test < 1 and 0 <= seed < 2**32.
    Source: Fisher (1936), The Use of Multiple Measurements in Taxonomic Problems.
    """

    name = "load_iris"


class Wine(_Bundled):
    """178 wines from three growers, by 13 results of chemical analysis.

    x: (N, 13) float32; y: (N,) int64. test: the share of samples to test on, of each class; seed: chooses which.
    Preprocessing standardises each feature. Raises ConfigError unless 0 < test < 1 and 0 <= seed < 2**32.
    Source: Aeberhard, Forina (1992), Wine, UCI Machine Learning Repository, doi:10.24432/C5PC7J.
    """

    name = "load_wine"


class BreastCancer(_Bundled):
    """569 breast tumours, malignant or benign, by 30 measures of their cells' nuclei.

    x: (N, 30) float32; y: (N,) int64. test: the share of samples to test on, of each class; seed: chooses which.
    Preprocessing standardises each feature. Raises ConfigError unless 0 < test < 1 and 0 <= seed < 2**32.
    Source: Wolberg, Mangasarian, Street, Street (1993), Breast Cancer Wisconsin (Diagnostic), UCI Machine Learning
    Repository, doi:10.24432/C5DW2B.
    """

    name = "load_breast_cancer"


class Diabetes(_Bundled):
    """442 patients by ten measures, and how far their diabetes has progressed a year later, 25 to 346.

    x: (N, 10) float32, already centred and scaled; y: (N, 1) float32. test: the share of samples to test on; seed:
    chooses which. Preprocessing standardises each feature. Raises ConfigError unless 0 < test < 1 and
    0 <= seed < 2**32.
    Source: Efron, Hastie, Johnstone, Tibshirani (2004), Least Angle Regression.
    """

    name = "load_diabetes"
    are_classes = False
