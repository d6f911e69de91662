from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cnnkit.components import Dataset
from cnnkit.data import DATASETS, Digits, default_data_dir, digest, load_dataset
from cnnkit.errors import ConfigError
from cnnkit.types import Data, Samples


class Tiny(Dataset):
    """Four samples; remembers where it was told to look."""

    def __init__(self, held_out: bool = False) -> None:
        self.held_out = held_out

    def load(self, data_dir: Path) -> Data:
        self.data_dir = data_dir
        samples = Samples(np.arange(8, dtype=np.uint8).reshape(4, 2), np.array([0, 1, 0, 1]))
        return Data(samples, samples.take(slice(2)), validation=samples if self.held_out else None)


def test_an_expression_and_a_dataset_give_the_same_data(tmp_path: Path) -> None:
    data, again = load_dataset("Digits(seed=1)", tmp_path), load_dataset(Digits(seed=1), tmp_path)
    assert data.name == again.name == "Digits(seed=1)"
    assert data.digest == again.digest
    assert_array_equal(data.train.x, again.train.x)
    assert data.validation is None


def test_validation_samples_come_from_the_training_samples(tmp_path: Path) -> None:
    whole, data = load_dataset("Digits()", tmp_path), load_dataset("Digits()", tmp_path, validation=0.1, seed=3)
    assert data.validation is not None
    assert (len(data.train), len(data.validation)) == (1293, 144)
    assert_array_equal(data.test.x, whole.test.x)
    assert data.digest == whole.digest
    assert np.bincount(data.validation.y).min() >= 13


def test_the_digest_is_fixed() -> None:
    """It must never change: models keep it to name the data they were trained on."""
    x, y = bytes(range(8)), bytes([0, *[0] * 7, 1, *[0] * 7]) * 2
    content = b"|u1 (4, 2) " + x + b"<i8 (4,) " + y + b"|u1 (2, 2) " + x[:4] + b"<i8 (2,) " + y[:16]
    assert digest(Tiny().load(Path())) == hashlib.sha256(content).hexdigest()


def test_the_digest_sees_every_part_and_nothing_but_content() -> None:
    data = Tiny().load(Path())
    x, y = np.asarray(data.train.x), data.train.y
    others = [
        replace(data, train=Samples(x + 1, y)),
        replace(data, train=Samples(x, y + 1)),
        replace(data, train=Samples(x.astype(np.int8), y)),
        replace(data, train=Samples(x[:, :, None], y)),
        replace(data, test=Samples(x, y)),
        replace(data, validation=Samples(x, y)),
    ]
    assert len({digest(data), *map(digest, others)}) == 7
    same = replace(data, train=Samples(np.asfortranarray(x), y.astype(">i8")), name="x", labels=("a", "b"))
    assert digest(same) == digest(data)


def test_the_folder_of_data_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Tiny()
    load_dataset(dataset, str(tmp_path))
    assert dataset.data_dir == tmp_path
    monkeypatch.setenv("CNNKIT_DATA_DIR", "~/somewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    load_dataset(dataset)
    assert dataset.data_dir == default_data_dir() == tmp_path / "somewhere"
    monkeypatch.setenv("CNNKIT_DATA_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_data_dir().parts[-2:] == ("cnnkit", "data")


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"validation must be a number with 0 <= validation < 1, got 1\.5"):
        load_dataset(Tiny(), tmp_path, validation=1.5)
    with pytest.raises(ConfigError) as caught:
        load_dataset(Tiny(held_out=True), tmp_path, validation=0.5)
    assert str(caught.value) == ("Tiny(held_out=True) has its own validation samples: expected validation=0, got 0.5")


def test_the_built_in_datasets_have_a_name_each() -> None:
    assert [cls.__name__ for cls in DATASETS] == [
        "Digits",
        "MNIST",
        "FashionMNIST",
        "KMNIST",
        "EMNIST",
        "CIFAR10",
        "CIFAR100",
        "Arrays",
        "ImageFolder",
        "Table",
        "Autoencoding",
        "Denoising",
        "MeanInk",
        "Overlapping",
        "Waveforms",
    ]


def test_importing_the_datasets_does_not_import_what_only_downloads_need() -> None:
    script = "import sys, cnnkit.data; print({'requests', 'platformdirs', 'h5py', 'onnx'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"


def test_a_fraction_takes_that_share_of_each_class_and_leaves_the_test_samples() -> None:
    whole, part = load_dataset("Digits()"), load_dataset("Digits()", fraction=0.25, seed=3)
    assert len(part.train) == -(-len(whole.train) // 4)
    shares = np.bincount(part.train.y) / np.bincount(whole.train.y)
    np.testing.assert_allclose(shares, 0.25, atol=0.01)
    assert np.array_equal(part.test.x, whole.test.x)
    assert part.digest == whole.digest
    other = load_dataset("Digits()", fraction=0.25, seed=4)
    assert not np.array_equal(other.train.x, part.train.x)


def test_validation_samples_are_taken_from_the_fraction() -> None:
    part = load_dataset("Digits()", None, 0.1, 0, fraction=0.5)
    assert part.validation is not None
    assert len(part.train) + len(part.validation) == -(-len(load_dataset("Digits()").train) // 2)


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.5, "half"])
def test_a_wrong_fraction_is_refused(fraction: float) -> None:
    with pytest.raises(ConfigError, match="fraction must be a number"):
        load_dataset("Digits()", fraction=fraction)
