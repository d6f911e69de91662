"""Small stand-ins for the archives of CIFAR and EMNIST, and the hashes that go with them."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cnnkit.data import EMNIST
from cnnkit.data.datasets.cifar import CifarDataset
from cnnkit.data.formats.checked_files import Published
from cnnkit.types import Array
from tests.data.conftest import idx_bytes

RECORDS = 12


def published(name: str, content: bytes) -> Published:
    return Published(name, len(content), f"sha256:{hashlib.sha256(content).hexdigest()}")


def cifar_files(cls: type[CifarDataset]) -> dict[str, bytes]:
    """For each file 12 records: labels that count up, and random pixels."""
    files = {}
    for number, file in enumerate((*cls.train_files, *cls.test_files)):
        rng = np.random.default_rng(number)
        records = rng.integers(0, 256, (RECORDS, cls.label_bytes + 3072), dtype=np.uint8)
        records[:, : cls.label_bytes] = (np.arange(RECORDS)[:, None] + number) % 10 + np.arange(cls.label_bytes) * 20
        files[file.name] = records.tobytes()
    return files


def tar_gz(members: Sequence[tuple[tarfile.TarInfo | str, bytes]], trailing: bytes = b"") -> bytes:
    """A gzipped tar archive; a name stands for a regular file."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for member, data in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            if isinstance(member, str):
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(content.getvalue() + trailing, mtime=0)


def cifar_archive(cls: type[CifarDataset], files: dict[str, bytes]) -> bytes:
    folder = tarfile.TarInfo(cls.inside)
    folder.type = tarfile.DIRTYPE
    members = [(f"{cls.inside}/{name}", content) for name, content in files.items()]
    return tar_gz([(folder, b""), *members[::-1], (f"{cls.inside}/readme.html", b"<html></html>")])


def use_cifar(
    monkeypatch: pytest.MonkeyPatch, cls: type[CifarDataset], files: dict[str, bytes], archive: bytes
) -> None:
    """For the time of a test, these are the published files."""
    monkeypatch.setattr(cls, "archive", published(cls.archive.name, archive))
    for kind in ("train_files", "test_files"):
        monkeypatch.setattr(cls, kind, tuple(published(file.name, files[file.name]) for file in getattr(cls, kind)))


def emnist_files(split: str, first: int, classes: int) -> dict[str, bytes]:
    """The four files of a split: 30 and 10 images; member names are those of the real archive."""
    files = {}
    for part, count in (("train", 30), ("test", 10)):
        images = np.random.default_rng(count).integers(0, 256, (count, 28, 28))
        for kind, array in (("images-idx3", images), ("labels-idx1", np.arange(count) % classes + first)):
            name = f"gzip/emnist-{split}-{part}-{kind}-ubyte.gz"
            files[name] = gzip.compress(idx_bytes(array), mtime=0)
    return files


def emnist_archive(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("gzip/", b"")
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr("gzip/emnist-balanced-mapping.txt", b"0 48\n")
    return content.getvalue()


def use_emnist(monkeypatch: pytest.MonkeyPatch, data_dir: Path, archive: bytes) -> Path:
    """Put an archive in place; for the time of a test, it is the published one."""
    monkeypatch.setattr(EMNIST, "archive", published("gzip.zip", archive))
    path = data_dir / "emnist" / "gzip.zip"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(archive)
    return path


def images_of(raw: bytes, label_bytes: int) -> Array:
    """The images of a CIFAR file, one byte after the other."""
    length = label_bytes + 3072
    return np.stack(
        [
            np.array(list(raw[start + label_bytes : start + length]), np.uint8).reshape(3, 32, 32)
            for start in range(0, len(raw), length)
        ]
    )
