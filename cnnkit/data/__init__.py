"""Datasets: digits that come with the package, MNIST and Fashion-MNIST, arrays of your own; loading and splitting."""

from cnnkit.components.contracts import Dataset
from cnnkit.data.arrays import Arrays
from cnnkit.data.digits import Digits
from cnnkit.data.loading import default_data_dir, digest, load_dataset
from cnnkit.data.mnist import MNIST, FashionMNIST
from cnnkit.data.split import split_validation

DATASETS: tuple[type[Dataset], ...] = (Digits, MNIST, FashionMNIST, Arrays)
"""The built-in datasets."""

__all__ = [
    "DATASETS",
    "MNIST",
    "Arrays",
    "Digits",
    "FashionMNIST",
    "default_data_dir",
    "digest",
    "load_dataset",
    "split_validation",
]
