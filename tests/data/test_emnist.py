from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cnnkit.data import EMNIST, load_dataset
from cnnkit.data.datasets.emnist import LABELS
from cnnkit.data.downloading.published import standardizing
from cnnkit.errors import ConfigError
from tests.data.servers import serving
from tests.data.small_archives import emnist_archive, emnist_files, published, use_emnist

CLASSES = {"balanced": 47, "byclass": 62, "bymerge": 47, "letters": 26, "digits": 10, "mnist": 10}


@pytest.mark.parametrize("split", CLASSES)
def test_each_split_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, split: str) -> None:
    first = 1 if split == "letters" else 0
    files = emnist_files(split, first, CLASSES[split])
    use_emnist(monkeypatch, tmp_path, emnist_archive(files))
    data = load_dataset(f'EMNIST(split="{split}")', tmp_path)
    assert (data.train.x.shape, data.test.x.shape) == ((30, 1, 28, 28), (10, 1, 28, 28))
    assert data.train.x.dtype == np.uint8
    assert data.train.y.dtype == np.int64
    assert np.asarray(data.train.x).flags.c_contiguous
    assert_array_equal(data.train.y, np.arange(30) % CLASSES[split])
    assert len(data.labels) == CLASSES[split]
    raw = gzip.decompress(files[f"gzip/emnist-{split}-train-images-idx3-ubyte.gz"])[16:]
    assert data.train.x[2, 0, 5, 9] == raw[2 * 784 + 9 * 28 + 5]  # rows and columns are exchanged in the files
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["emnist", "gzip.zip"]


def test_the_labels_are_those_of_the_mapping_files() -> None:
    assert "".join(LABELS["balanced"]) == "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"
    assert LABELS["bymerge"] == LABELS["balanced"]
    assert {split: len(labels) for split, labels in LABELS.items()} == CLASSES
    assert LABELS["byclass"][10] == "A"
    assert LABELS["byclass"][61] == "z"
    assert LABELS["letters"][0] == "A"


def test_the_expression_says_which_split() -> None:
    assert repr(EMNIST()) == "EMNIST()"
    assert repr(EMNIST("letters")) == 'EMNIST(split="letters")'
    with pytest.raises(ConfigError, match=r"split must be one of 'balanced', 'byclass', .*, got 'all'"):
        EMNIST("all")


def test_a_missing_archive_is_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    archive = emnist_archive(emnist_files("balanced", 0, 47))
    monkeypatch.setattr(EMNIST, "archive", published("gzip.zip", archive))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert not EMNIST().is_complete(tmp_path)
    with serving(archive) as server:
        monkeypatch.setattr(EMNIST, "mirrors", (server.url,))
        assert len(EMNIST().load(tmp_path).train) == 30
    assert EMNIST().is_complete(tmp_path)


def test_mean_and_deviation_are_those_of_all_pixels() -> None:
    x = np.random.default_rng(1).integers(0, 200, (10_001, 1, 3, 4), dtype=np.uint8)
    made = standardizing(x)
    assert made.mean == (round(x.mean() / 255, 4),)
    assert made.std == (round(x.std() / 255, 4),)
    assert made.scale == 1 / 255
