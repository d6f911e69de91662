"""Datasets: the package's own, published ones, your own, and those made of others; loading and splitting."""

from cnnkit.components.contracts import Dataset
from cnnkit.data.datasets.arrays import Arrays
from cnnkit.data.datasets.cifar import CIFAR10, CIFAR100
from cnnkit.data.datasets.digits import Digits
from cnnkit.data.datasets.emnist import EMNIST
from cnnkit.data.datasets.image_folder import ImageFolder
from cnnkit.data.datasets.mean_ink import MeanInk
from cnnkit.data.datasets.mnist import KMNIST, MNIST, FashionMNIST
from cnnkit.data.datasets.overlapping import Overlapping
from cnnkit.data.datasets.restoration import Autoencoding, Denoising
from cnnkit.data.datasets.table import Table
from cnnkit.data.datasets.waveforms import Waveforms
from cnnkit.data.description import describe
from cnnkit.data.loading import default_data_dir, digest, load_dataset
from cnnkit.data.split import split_validation
from cnnkit.data.targets import as_targets

DATASETS: tuple[type[Dataset], ...] = (
    Digits,
    MNIST,
    FashionMNIST,
    KMNIST,
    EMNIST,
    CIFAR10,
    CIFAR100,
    Arrays,
    ImageFolder,
    Table,
    Autoencoding,
    Denoising,
    MeanInk,
    Overlapping,
    Waveforms,
)
"""The built-in datasets."""

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "DATASETS",
    "EMNIST",
    "KMNIST",
    "MNIST",
    "Arrays",
    "Autoencoding",
    "Denoising",
    "Digits",
    "FashionMNIST",
    "ImageFolder",
    "MeanInk",
    "Overlapping",
    "Table",
    "Waveforms",
    "as_targets",
    "default_data_dir",
    "describe",
    "digest",
    "load_dataset",
    "split_validation",
]
