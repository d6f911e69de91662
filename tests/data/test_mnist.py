from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cnnkit.data import KMNIST, MNIST, FashionMNIST, default_data_dir, load_dataset
from cnnkit.errors import DataError
from cnnkit.types import Array

if TYPE_CHECKING:
    from tests.data.conftest import Mirror

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
FOLDERS = [("mnist", ""), ("mnist", ".gz"), (".", ""), (".", ".gz")]


def put(files: dict[str, bytes], folder: Path, ending: str = "") -> None:
    folder.mkdir(exist_ok=True)
    for name, raw in files.items():
        (folder / f"{name}{ending}").write_bytes(gzip.compress(raw) if ending else raw)


def refusal(data_dir: Path) -> str:
    with pytest.raises(DataError) as caught:
        MNIST().load(data_dir)
    return str(caught.value)


def kept(data_dir: Path) -> list[str]:
    return sorted(str(path.relative_to(data_dir)) for path in data_dir.rglob("*") if path.is_file())


@pytest.mark.parametrize(("folder", "ending"), FOLDERS)
def test_files_raw_or_gzipped_in_either_folder(
    small_mnist: dict[str, bytes], tmp_path: Path, folder: str, ending: str
) -> None:
    put(small_mnist, tmp_path / folder, ending)
    data = MNIST().load(tmp_path)
    assert (data.train.x.shape, data.test.x.shape) == ((20, 1, 28, 28), (10, 1, 28, 28))
    assert data.train.x.dtype == np.uint8
    assert data.train.y.dtype == np.int64
    assert np.asarray(data.train.x).tobytes() == small_mnist[IMAGES][16:]
    assert_array_equal(data.train.y, np.arange(20) % 10)
    assert data.labels == tuple("0123456789")
    assert (data.preprocessing.scale, data.preprocessing.mean, data.preprocessing.std) == (
        1 / 255,
        (0.1307,),
        (0.3081,),
    )


def test_another_file_is_refused(small_mnist: dict[str, bytes], tmp_path: Path) -> None:
    put(small_mnist, tmp_path / "mnist")
    path = tmp_path / "mnist" / IMAGES
    path.write_bytes(small_mnist[IMAGES][:-1] + b"\0")
    message = refusal(tmp_path)
    assert message.startswith(f"{path}: this is a different file, or a damaged one: expected content with sha256 ")
    assert MNIST.hashes[IMAGES].removeprefix("sha256:") in message
    assert message.endswith(
        f"\ndelete the file to have it downloaded into {tmp_path / 'mnist'}, "
        "or name another folder with --data-dir or CNNKIT_DATA_DIR"
    )


def test_images_in_the_place_of_labels(small_mnist: dict[str, bytes], tmp_path: Path) -> None:
    put(small_mnist, tmp_path / "mnist")
    (tmp_path / "mnist" / LABELS).write_bytes(small_mnist[IMAGES])
    assert f"{tmp_path / 'mnist' / LABELS}: wrong magic number at byte 0: expected 0x00000801" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(19) % 10, "expected 20 labels, one for each image, got 19"),
        (np.arange(20) % 11, "expected labels from 0 to 9, got 10 at index 10"),
    ],
)
def test_labels_that_do_not_fit(
    small_mnist: dict[str, bytes],
    idx: Callable[[Array], bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    labels: Array,
    message: str,
) -> None:
    put(small_mnist | {LABELS: idx(labels)}, tmp_path)
    monkeypatch.setattr(MNIST, "hashes", dict.fromkeys(small_mnist, ""))
    expected = f"{tmp_path / LABELS}: {message}\ndelete the file"
    assert refusal(tmp_path).startswith(expected)


def test_missing_files_come_from_the_second_mirror_if_the_first_is_down(mirror: Mirror, tmp_path: Path) -> None:
    data = MNIST().load(tmp_path / "new")
    assert len(data.train) == 20
    assert kept(tmp_path / "new") == sorted(f"mnist/{name}" for name in mirror.files)
    assert mirror.asked == list(mirror.files)
    MNIST().load(tmp_path / "new")
    assert len(mirror.asked) == 4


def test_only_missing_files_are_downloaded(mirror: Mirror, small_mnist: dict[str, bytes], tmp_path: Path) -> None:
    put({name: raw for name, raw in small_mnist.items() if name != LABELS}, tmp_path)
    MNIST().load(tmp_path)
    assert kept(tmp_path / "mnist") == [f"{LABELS}.gz"]


def test_no_mirror_has_the_files(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files.clear()
    message = refusal(tmp_path)
    folder = tmp_path / "mnist"
    assert message.startswith(
        f"MNIST() needs {', '.join(MNIST.hashes)} (raw or .gz) in {folder}, and no mirror gave it:\n"
        f"  {MNIST.mirrors[0]}{IMAGES}.gz: "
    )
    assert "Connection refused" in message
    assert f"\n  {MNIST.mirrors[1]}{IMAGES}.gz: 404 Not Found" in message
    assert message.endswith(
        "\nput the files there, or name the folder that has them with --data-dir or CNNKIT_DATA_DIR"
    )
    assert kept(tmp_path) == []


def test_wrong_content_from_a_mirror_is_not_kept(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files[f"{IMAGES}.gz"] = gzip.compress(gzip.decompress(mirror.files[f"{IMAGES}.gz"])[:-1] + b"\0")
    assert f"{mirror.url}{IMAGES}.gz: this is a different file, or a damaged one: expected content" in refusal(tmp_path)
    assert list((tmp_path / "mnist").iterdir()) == []


def test_a_login_page_in_the_place_of_a_file_is_not_kept(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files[f"{IMAGES}.gz"] = b"<html>log in</html>"
    assert f"{mirror.url}{IMAGES}.gz: wrong magic number at byte 0" in refusal(tmp_path)
    assert list((tmp_path / "mnist").iterdir()) == []


def test_a_folder_that_cannot_be_written(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "mnist").write_text("in the way")
    assert "and cannot write to the folder: [Errno 17] File exists" in refusal(tmp_path)


def test_fashion_mnist_is_described(tmp_path: Path) -> None:
    assert FashionMNIST.labels[0] == "T-shirt/top"
    assert FashionMNIST.labels[-1] == "Ankle boot"
    assert len(FashionMNIST.labels) == 10
    assert (FashionMNIST.preprocessing.mean, FashionMNIST.preprocessing.std) == ((0.2860,), (0.3530,))
    assert FashionMNIST.hashes.keys() == MNIST.hashes.keys()
    assert FashionMNIST.mirrors[0].startswith("https://")


def test_kuzushiji_is_pinned_by_its_compressed_files(
    small_mnist: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert KMNIST.hashes.keys() == KMNIST.sizes.keys() == {f"{name}.gz" for name in MNIST.hashes}
    assert KMNIST.labels == ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    stored = {f"{name}.gz": gzip.compress(raw, mtime=0) for name, raw in small_mnist.items()}
    hashes = {name: f"sha256:{hashlib.sha256(content).hexdigest()}" for name, content in stored.items()}
    monkeypatch.setattr(KMNIST, "hashes", hashes)
    put(stored, tmp_path / "kmnist")
    assert KMNIST().is_complete(tmp_path)
    data = KMNIST().load(tmp_path)
    assert np.asarray(data.train.x).tobytes() == small_mnist[IMAGES][16:]
    assert data.preprocessing.mean == (round(float(np.mean(data.train.x)) / 255, 4),)
    path = tmp_path / "kmnist" / f"{IMAGES}.gz"
    path.write_bytes(gzip.compress(small_mnist[IMAGES], 1))  # the same content, and another file
    with pytest.raises(DataError, match="this is a different file, or a damaged one: expected a file with sha256"):
        KMNIST().load(tmp_path)
    path.unlink()
    put(small_mnist, tmp_path / "kmnist")  # raw, of which no hash is known
    assert not KMNIST().is_complete(tmp_path)
    monkeypatch.setattr(KMNIST, "mirrors", ("http://127.0.0.1:9/",))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(DataError) as caught:
        KMNIST().load(tmp_path)
    assert str(caught.value).startswith(f"KMNIST() needs {IMAGES}.gz in {tmp_path / 'kmnist'}, and no mirror gave it:")


def test_mnist_files_do_not_pass_for_fashion_mnist(small_mnist: dict[str, bytes], tmp_path: Path) -> None:
    put(small_mnist, tmp_path / "fashion-mnist")
    with pytest.raises(DataError, match="expected content with md5 f4a8712d7a061bf5bd6d2ca38dc4d50a, got"):
        FashionMNIST().load(tmp_path)


def test_files_of_another_dataset_in_the_shared_folder_count_as_missing(mirror: Mirror, tmp_path: Path) -> None:
    put(dict.fromkeys(MNIST.hashes, b"of another dataset"), tmp_path)
    assert not MNIST().is_complete(tmp_path)
    data = MNIST().load(tmp_path)
    assert len(data.train) == 20
    assert MNIST().is_complete(tmp_path)
    assert (tmp_path / IMAGES).read_bytes() == b"of another dataset"
    assert len(mirror.asked) == 4


def test_files_that_were_passed_over_are_named_if_the_download_fails(mirror: Mirror, tmp_path: Path) -> None:
    put(dict.fromkeys(MNIST.hashes, b"of another dataset"), tmp_path)
    mirror.files.clear()
    message = refusal(tmp_path)
    assert f"\nfrom another dataset, or damaged: {tmp_path / IMAGES}, " in message
    assert "delete" not in message


@pytest.mark.skipif(not os.environ.get("CNNKIT_DATA_DIR"), reason="CNNKIT_DATA_DIR does not name a folder with MNIST")
def test_the_real_mnist() -> None:
    data = load_dataset("MNIST()", default_data_dir())
    assert (data.train.x.shape, data.test.x.shape) == ((60000, 1, 28, 28), (10000, 1, 28, 28))
    assert data.train.y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.test.y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert np.bincount(data.train.y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert data.train.x.dtype == np.uint8
    assert round(np.mean(data.train.x) / 255, 4) == 0.1307
    assert round(np.std(data.train.x) / 255, 4) == 0.3081


def test_a_file_that_would_be_larger_than_any_is_not_uncompressed(tmp_path: Path) -> None:
    header = bytes((0, 0, 8, 3)) + np.array([60_000, 28, 29], ">u4").tobytes()
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / f"{IMAGES}.gz").write_bytes(gzip.compress(header + bytes(2**22)))
    with pytest.raises(DataError, match=r"expected a shape of at most 47,040,016 bytes, got \(60000, 28, 29\)"):
        MNIST()._read(IMAGES, tmp_path / "mnist" / f"{IMAGES}.gz")
