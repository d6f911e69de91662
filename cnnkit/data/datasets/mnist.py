"""MNIST, Fashion-MNIST and Kuzushiji-MNIST: 70,000 grey images of 28x28 pixels in ten classes, in four IDX files."""

from __future__ import annotations

from typing import ClassVar

from cnnkit.data.datasets.idx_dataset import IdxDataset
from cnnkit.types import Framing, Preprocessing


class MNIST(IdxDataset):
    """Handwritten digits, 60,000 to train and 10,000 to test on, looked for in `data_dir/mnist` and `data_dir`.

    x: (N, 1, 28, 28) uint8, 0 (paper) to 255 (ink); y: (N,) int64, the digit. Preprocessing: divided by 255, then
    the training set's mean 0.1307 subtracted and divided by its standard deviation 0.3081. Digits are scaled to 20
    pixels, and their centre of mass is in the middle.
    Source: LeCun, Cortes, Burges, The MNIST database of handwritten digits.
    """

    folder = "mnist"
    mirrors = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    hashes: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte": "sha256:ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "sha256:65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "sha256:0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "sha256:ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    }
    labels = tuple("0123456789")
    preprocessing = Preprocessing(scale=1 / 255, mean=(0.1307,), std=(0.3081,))
    framing = Framing(content=20, centre="mass")


class FashionMNIST(IdxDataset):
    """Clothes, 60,000 to train and 10,000 to test on, looked for in `data_dir/fashion-mnist` and `data_dir`.

    x: (N, 1, 28, 28) uint8; y: (N,) int64, 0 (T-shirt/top) to 9 (Ankle boot). Preprocessing: divided by 255, then
    the training set's mean 0.2860 subtracted and divided by its standard deviation 0.3530. What is shown is cut out
    and scaled to 28 pixels.
    Source: Xiao, Rasul, Vollgraf (2017), Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms, arXiv:1708.07747.
    """

    folder = "fashion-mnist"
    mirrors = (
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    )
    hashes: ClassVar[dict[str, str]] = {  # MD5 is all that its authors publish
        "train-images-idx3-ubyte": "md5:f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "md5:9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "md5:8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "md5:15d484375f8d13e6eb1aabb0c3f46965",
    }
    labels = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    preprocessing = Preprocessing(scale=1 / 255, mean=(0.2860,), std=(0.3530,))
    framing = Framing(content=28)


class KMNIST(IdxDataset):
    """Japanese characters, 60,000 to train and 10,000 to test on, looked for in `data_dir/kmnist` and `data_dir`.

    x: (N, 1, 28, 28) uint8; y: (N,) int64, 0 (o) to 9 (wo). Preprocessing: divided by 255, then the training set's mean
    subtracted and divided by its standard deviation.
    Source: Clanuwat, Bober-Irizar, Kitamoto, Lamb, Yamamoto, Ha (2018), Deep Learning for Classical Japanese
    Literature, arXiv:1812.01718; CC BY-SA 4.0.
    """

    folder = "kmnist"
    mirrors = ("https://codh.rois.ac.jp/kmnist/dataset/kmnist/", "http://codh.rois.ac.jp/kmnist/dataset/kmnist/")
    hashes: ClassVar[dict[str, str]] = {  # of the files as TensorFlow Datasets and torchvision know them
        "train-images-idx3-ubyte.gz": "sha256:51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "train-labels-idx1-ubyte.gz": "sha256:e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "t10k-images-idx3-ubyte.gz": "sha256:edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "t10k-labels-idx1-ubyte.gz": "sha256:20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    }
    sizes: ClassVar[dict[str, int]] = {
        "train-images-idx3-ubyte.gz": 18_165_135,
        "train-labels-idx1-ubyte.gz": 29_497,
        "t10k-images-idx3-ubyte.gz": 3_041_136,
        "t10k-labels-idx1-ubyte.gz": 5_120,
    }
    labels = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    preprocessing = None
