"""Folders of images: every class and part found, each image once, nothing that is no image, and little in memory."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from cnnkit.data import digest, load_dataset
from cnnkit.data.datasets.image_folder import ImageFolder
from cnnkit.data.formats import decoded_images
from cnnkit.data.formats.images import read_image
from cnnkit.errors import ConfigError, DataError
from cnnkit.types import Data, Framing, Resize

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its own cache folder for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cnnkit" / "images"


def draw(path: Path, size: tuple[int, int] = (12, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten cats and ten dogs, two of each deeper in their folder."""
    for label in ("dog", "cat"):
        for number in range(10):
            draw(tmp_path / "photos" / label / ("more" if number > 7 else "") / f"{number}.png")
    return tmp_path / "photos"


def load(path: Path, **options: Any) -> Data:
    return load_dataset(ImageFolder(path, **({"size": (12, 10)} | options)))


def test_folders_are_classes_in_the_order_of_their_names(photos: Path) -> None:
    data = load(photos)
    assert data.labels == ("cat", "dog")
    assert (len(data.train), len(data.test), data.validation) == (16, 4, None)
    assert data.input_shape == (3, 12, 10)
    assert np.bincount(data.test.y).tolist() == [2, 2]
    everything = np.concatenate([data.train.x, data.test.x])
    for label, index in (("cat", 0), ("dog", 1)):
        of_class = everything[np.concatenate([data.train.y, data.test.y]) == index]
        expected = [read_image(path, 3, (12, 10), 255).astype(np.uint8) for path in (photos / label).rglob("*.png")]
        assert sorted(x.tobytes() for x in of_class) == sorted(x.tobytes() for x in expected)


def test_channels_are_standardised_by_the_training_images_alone(photos: Path) -> None:
    data = load(photos)
    x = np.asarray(data.train.x) / 255
    assert_allclose(data.preprocessing.mean, x.mean(axis=(0, 2, 3)), rtol=1e-12)
    assert_allclose(data.preprocessing.std, x.std(axis=(0, 2, 3)), rtol=1e-9)
    assert data.preprocessing.scale == 1 / 255


def test_a_channel_without_contrast_keeps_its_scale(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for number in range(4):
            path = tmp_path / "flat" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.dstack([np.full((4, 4), v, np.uint8) for v in (7, 8 * number, len(label))])).save(path)
            path.write_bytes(path.read_bytes() + f"{label}{number}".encode())
    assert load(tmp_path / "flat", size=4).preprocessing.std[0] == 1


@pytest.mark.parametrize("validation", [None, "validation", "val"])
def test_folders_above_the_classes_are_parts(tmp_path: Path, validation: str | None) -> None:
    for part, count in {"Train": 5, "test": 3, validation: 2}.items():
        for label in ("cat", "dog") if part else ():
            for number in range(count):
                draw(tmp_path / "photos" / str(part) / label / f"{number}.jpg")
    data = load(tmp_path / "photos")
    counts = [len(part or ()) for part in (data.train, data.test, data.validation)]
    assert counts == [10, 6, 4 if validation else 0]


def test_train_and_test_beside_other_folders_are_classes(tmp_path: Path) -> None:
    for label in ("train", "test", "bus"):
        for number in range(3):
            draw(tmp_path / "vehicles" / label / f"{number}.png")
    assert load(tmp_path / "vehicles").labels == ("bus", "test", "train")


@pytest.mark.parametrize("resize", ["fit", "crop", "stretch"])
def test_resizing_is_kept_with_the_data(tmp_path: Path, resize: Resize) -> None:
    """A black frame around white: only where the whole image fits in, something is filled up."""
    for label in ("cat", "dog"):
        for number in range(2):
            image = np.zeros((10, 40), np.uint8)
            image[1:-1, 1:-1] = 255
            image[5, 20] = number + len(label) * (label == "cat")  # different contents
            path = tmp_path / "frames" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    data = load(tmp_path / "frames", size=(10, 10), resize=resize, channels=1, test=0.5)
    assert data.framing == Framing(resize)
    top = np.asarray(data.train.x)[:, 0, :3]
    assert (top.std(axis=(1, 2)) == 0).all() == (resize == "fit")


@pytest.fixture
def spoiled(photos: Path) -> Path:
    """With a damaged file, one that is no image, a copy, and an image in both classes."""
    (photos / "cat" / "cut.png").write_bytes((photos / "cat" / "0.png").read_bytes()[:100])
    (photos / "dog" / "page.jpg").write_text("<!doctype html><title>404</title>")
    (photos / "dog" / "Thumbs.db").write_bytes(b"not looked at")
    shutil.copy(photos / "cat" / "1.png", photos / "cat" / "copy.png")
    shutil.copy(photos / "cat" / "2.png", photos / "dog" / "cat.png")
    return photos


def test_all_that_cannot_be_used_is_named_at_once(spoiled: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(spoiled)
    message = str(caught.value)
    assert "3 images that cannot be used:" in message
    assert "cat/cut.png: the image is damaged or truncated" in message
    assert "dog/page.jpg: expected an image (PNG, JPEG, GIF, BMP, WebP or TIFF), this seems to be a web page" in message
    assert "cat/2.png = dog/cat.png: the same image in several classes" in message
    assert message.endswith(f'or leave them out with ImageFolder("{spoiled}", size=(12, 10), on_error="skip")')


def test_what_is_left_out_is_told(spoiled: Path) -> None:
    data = load(spoiled, on_error="skip")
    assert len(data.train) + len(data.test) == 19  # without cat/2.png, which may be either
    assert len(data.warnings) == 2
    assert "3 images that cannot be used, left out:\n" in data.warnings[0]
    assert "1 image with the content of another one, left out" in data.warnings[1]
    assert "cat/copy.png = cat/1.png" in data.warnings[1]


def test_an_image_to_train_and_to_test_on_is_told(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for label in ("cat", "dog"):
            draw(tmp_path / "photos" / part / label / "0.png")
    shutil.copy(tmp_path / "photos/train/cat/0.png", tmp_path / "photos/test/cat/again.png")
    data = load(tmp_path / "photos")
    assert len(data.test) == 3  # what a user put there is measured on
    assert "test/cat/again.png = train/cat/0.png" in "".join(data.warnings)


def test_the_digest_covers_names_and_contents(photos: Path) -> None:
    before = load(photos).digest
    assert load(photos).digest == before
    (photos / "cat" / "0.png").rename(photos / "cat" / "00.png")
    renamed = load(photos).digest
    draw(photos / "cat" / "00.png")
    changed = load(photos)
    assert len({before, renamed, changed.digest}) == 3
    assert digest(changed) == changed.digest


def test_a_test_image_does_not_change_what_is_trained_on(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for label in ("cat", "dog"):
            draw(tmp_path / "photos" / part / label / "0.png")
    before = load(tmp_path / "photos")
    draw(tmp_path / "photos" / "test" / "dog" / "1.png")
    after = load(tmp_path / "photos")
    assert after.digest != before.digest
    assert after.training_digest == before.training_digest


def test_images_are_decoded_once(photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(photos)
    (entry,) = (path for path in cache.iterdir() if path.is_dir())

    def fail(*_: Any) -> None:
        raise AssertionError("decoded again")

    with monkeypatch.context() as patch:
        patch.setattr(decoded_images, "read_image", fail)
        again = load(photos)
        assert_array_equal(again.train.x, first.train.x)
        shutil.copytree(photos, photos.parent / "copy")  # other files, the same contents
        load(photos.parent / "copy")
        with pytest.raises(AssertionError, match="decoded again"):
            load(photos, size=8)
    expected = np.asarray(first.train.x)
    (entry / "rows").write_bytes(b"cut")  # a cache may be damaged
    for _ in range(2):
        assert_array_equal(load(photos).train.x, expected)
    assert (entry / "rows").stat().st_size == 20 * 3 * 12 * 10


def test_another_process_finds_the_rows(photos: Path) -> None:
    data = load(photos)
    assert_array_equal(pickle.loads(pickle.dumps(data.train.x)), data.train.x)


def test_a_file_that_changed_is_read_again(photos: Path) -> None:
    changed = photos / "cat" / "0.png"
    for path in photos.rglob("*.png"):  # old enough to be known by their times
        os.utime(path, (1, 1))
    before = load(photos)
    about = changed.stat()
    content = bytearray(changed.read_bytes())
    draw(changed)
    content = bytearray(changed.read_bytes()[: len(content)].ljust(len(content), b"\0"))
    changed.write_bytes(content)
    os.utime(changed, ns=(about.st_atime_ns, about.st_mtime_ns))  # of the same size and time: the inode's time tells
    assert load(photos, on_error="skip").digest != before.digest


def test_a_user_without_a_home_decodes_each_time(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded_images, "user_folder", lambda _: None)
    assert len(load(photos).train) == 16


def test_the_oldest_are_removed_where_too_many_are_kept(
    photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded_images, "KEPT_BYTES", 2 * 20 * 3 * 8 * 8)
    for place, size in enumerate((6, 7, 8)):
        load(photos, size=size)
        for entry in filter(Path.is_dir, cache.iterdir()):
            if entry.stat().st_mtime > 1000:
                os.utime(entry, (place, place))
    sizes = sorted((entry / "rows").stat().st_size for entry in cache.iterdir() if entry.is_dir())
    assert sizes == [20 * 3 * 7 * 7, 20 * 3 * 8 * 8]


def test_several_at_once_get_the_same(photos: Path) -> None:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(np.asarray(load(photos).train.x))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for x in found[1:]:
        assert_array_equal(x, found[0])


def test_a_full_disk_is_told_before_anything_is_decoded(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(DataError, match=r"20 images of 12x10 need 7,200 bytes in .*, where 0 are free"):
        load(photos)


def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    """200 images of 768 KiB each, 150 MiB, in a process that takes less."""
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(100):
            draw(tmp_path / "photos" / label / f"{number}.png", (8, 8))
    program = (
        "import resource, sys\n"
        "from cnnkit.data import load_dataset\n"
        "load_dataset(f'ImageFolder({sys.argv[1]!r}, size=8, channels=1)')\n"  # all imports are done
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "data = load_dataset(f'ImageFolder({sys.argv[1]!r}, size=512)')\n"  # 200 x 768 KiB = 150 MiB
        "assert data.train.x.nbytes < 2000\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "photos")], check=True, capture_output=True, text=True
    )
    assert int(done.stdout) < 100


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ((), "expected a folder for each of at least two classes, with its images in it; there is none"),
        (("cat/0.png",), "there is only cat"),
        (("cat/0.png", "dog/0.png", "loose.png"), "such as loose.png: move each into the folder of its class"),
        (("cat/0.png", "dog/0.txt"), "expected images in this folder, files ending in"),
        (("train/cat/0.png", "train/dog/0.png", "test/cow/0.png"), "there are none of cow"),
    ],
)
def test_other_folders_are_refused(tmp_path: Path, made: tuple[str, ...], message: str) -> None:
    (tmp_path / "photos").mkdir()
    for name in made:
        if name.endswith(".png"):
            draw(tmp_path / "photos" / name)
        else:
            (tmp_path / "photos" / name).parent.mkdir()
            (tmp_path / "photos" / name).write_text("text")
    with pytest.raises(DataError, match=message):
        load(tmp_path / "photos")


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").write_bytes(b"")
    with pytest.raises(DataError, match="expected a folder, this is a file; for arrays, write Arrays"):
        load(tmp_path / "photos")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": ""}, "path must be the name of a folder"),
        ({"channels": 2}, r"channels must be 1 \(grey\) or 3 \(colour\), got 2"),
        ({"resize": "pad"}, "resize must be one of 'fit', 'crop', 'stretch', got 'pad'"),
        ({"on_error": "ignore"}, "on_error must be one of 'refuse', 'skip', got 'ignore'"),
        ({"size": 0}, "size must be a whole number, 1 or above, got 0"),
        ({"test": 1.0}, "test must be a number with"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ImageFolder(**({"path": "photos"} | options))
