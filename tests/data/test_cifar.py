from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cnnkit.data import CIFAR10, CIFAR100, load_dataset
from cnnkit.data.datasets.cifar import CifarDataset
from cnnkit.errors import ConfigError, DataError
from tests.data.servers import serving
from tests.data.small_archives import RECORDS, cifar_archive, cifar_files, images_of, use_cifar


def put(cls: type[CifarDataset], monkeypatch: pytest.MonkeyPatch, data_dir: Path, kind: str) -> dict[str, bytes]:
    files = cifar_files(cls)
    archive = cifar_archive(cls, files)
    use_cifar(monkeypatch, cls, files, archive)
    if kind == "archive":
        (data_dir / cls.archive.name).write_bytes(archive)
    else:
        (data_dir / cls.inside).mkdir()
        for name, raw in files.items():
            (data_dir / cls.inside / name).write_bytes(raw)
    return files


@pytest.mark.parametrize("kind", ["archive", "extracted"])
def test_cifar10_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str) -> None:
    files = put(CIFAR10, monkeypatch, tmp_path, kind)
    before = sorted(tmp_path.rglob("*"))
    data = load_dataset("CIFAR10()", tmp_path)
    assert sorted(tmp_path.rglob("*")) == before  # nothing is extracted
    assert (data.train.x.shape, data.test.x.shape) == ((5 * RECORDS, 3, 32, 32), (RECORDS, 3, 32, 32))
    assert data.train.x.dtype == np.uint8
    assert data.train.y.dtype == np.int64
    raw = b"".join(files[file.name] for file in CIFAR10.train_files)
    assert_array_equal(data.train.x, images_of(raw, 1))
    assert_array_equal(data.train.y, np.concatenate([(np.arange(RECORDS) + i) % 10 for i in range(5)]))
    assert_array_equal(data.test.y, (np.arange(RECORDS) + 5) % 10)
    assert data.labels == ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    assert data.preprocessing.mean == (0.4914, 0.4822, 0.4465)
    assert data.preprocessing.std == (0.2470, 0.2435, 0.2616)


@pytest.mark.parametrize(("labels", "count", "shift"), [("fine", 100, 20), ("coarse", 20, 0)])
def test_cifar100_has_fine_and_coarse_labels(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, labels: str, count: int, shift: int
) -> None:
    files = put(CIFAR100, monkeypatch, tmp_path, "archive")
    data = load_dataset(f'CIFAR100(labels="{labels}")', tmp_path)
    assert_array_equal(data.train.y, np.arange(RECORDS) % 10 + shift)
    assert_array_equal(data.test.x, images_of(files["test.bin"], 2))
    assert len(data.labels) == len(set(data.labels)) == count
    assert data.labels == tuple(sorted(data.labels))
    assert data.preprocessing.std == (0.2673, 0.2564, 0.2762)


def test_the_expression_says_which_labels() -> None:
    assert repr(CIFAR100()) == "CIFAR100()"
    assert repr(CIFAR100("coarse")) == 'CIFAR100(labels="coarse")'
    with pytest.raises(ConfigError, match="labels must be one of 'fine', 'coarse', got 'both'"):
        CIFAR100("both")


def test_what_is_published_fits_the_layout() -> None:
    """The real sizes: 10,000 records of one label, 60,000 of two, and three colours of 32x32 pixels."""
    assert [file.size for file in CIFAR10.train_files] == [30_730_000] * 5
    assert [file.size for file in CIFAR100.train_files + CIFAR100.test_files] == [153_700_000, 30_740_000]
    for cls in (CIFAR10, CIFAR100):
        assert all(mirror.endswith("/") for mirror in cls.mirrors)


def test_a_missing_archive_is_downloaded_and_then_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = cifar_files(CIFAR10)
    archive = cifar_archive(CIFAR10, files)
    use_cifar(monkeypatch, CIFAR10, files, archive)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert not CIFAR10().is_complete(tmp_path)
    with serving(archive) as server:
        monkeypatch.setattr(CIFAR10, "mirrors", (server.url,))
        assert len(CIFAR10().load(tmp_path).train) == 5 * RECORDS
    assert CIFAR10().is_complete(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["cifar-10-binary.tar.gz"]
    assert len(CIFAR10().load(tmp_path).test) == RECORDS


def test_an_incomplete_folder_counts_for_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put(CIFAR10, monkeypatch, tmp_path, "extracted")
    assert CIFAR10().is_complete(tmp_path)
    (tmp_path / CIFAR10.inside / "test_batch.bin").unlink()
    assert not CIFAR10().is_complete(tmp_path)


def test_the_pickled_version_is_named_if_nothing_else_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(CIFAR10, "mirrors", ("http://127.0.0.1:9/",))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError) as caught:
        CIFAR10().load(tmp_path)
    assert str(caught.value).startswith(f"CIFAR10() needs cifar-10-binary.tar.gz in {tmp_path}, and no mirror gave it")
    assert f"\n{tmp_path / 'cifar-10-batches-py'}: this is the version for Python, whose pickled" in str(caught.value)
