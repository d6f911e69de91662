"""Every way in which an archive may be wrong ends in one message, runs nothing and leaves nothing."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.data import CIFAR10, EMNIST
from cnnkit.errors import DataError
from tests.data.conftest import idx_bytes
from tests.data.servers import serving
from tests.data.small_archives import (
    cifar_archive,
    cifar_files,
    emnist_archive,
    emnist_files,
    published,
    tar_gz,
    use_cifar,
    use_emnist,
)

FILES = cifar_files(CIFAR10)
GOOD = [(f"{CIFAR10.inside}/{name}", content) for name, content in FILES.items()]
RIGHT = cifar_archive(CIFAR10, FILES)
LETTERS = emnist_files("letters", 1, 26)
MEMBER = "gzip/emnist-letters-train-labels-idx1-ubyte.gz"


class Trap:
    """Makes a file when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("trapped",)


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def pax_bomb() -> bytes:
    """A few kilobytes that declare, and hold, a header of 64 MB."""
    info = tarfile.TarInfo("header")
    info.type, info.size = tarfile.XHDTYPE, 2**26
    return gzip.compress(info.tobuf(tarfile.USTAR_FORMAT) + bytes(2**26), 1)


def sparse(name: str, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    """A file with holes, of which there are none: all of its content is there."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.pax_headers = {"GNU.sparse.size": str(len(content)), "GNU.sparse.map": f"0,{len(content)}"}
    return member, content


TARS: dict[str, tuple[bytes, str]] = {
    "a name that leads out": (
        tar_gz([*GOOD, ("../outside", b"x")]),
        "its member '../outside' points outside",
    ),
    "an absolute name": (
        tar_gz([("/tmp/outside", b"x"), *GOOD]),
        "its member '/tmp/outside' points outside the archive",
    ),
    "a symbolic link": (
        tar_gz([special(GOOD[0][0], tarfile.SYMTYPE, "/etc/passwd"), *GOOD[1:]]),
        "is a link or a device; expected files and folders only",
    ),
    "a hard link": (tar_gz([*GOOD, special("x", tarfile.LNKTYPE, GOOD[0][0])]), "'x' is a link or a device"),
    "a device": (tar_gz([*GOOD, special("null", tarfile.CHRTYPE)]), "'null' is a link or a device"),
    "a pipe": (tar_gz([*GOOD, special("pipe", tarfile.FIFOTYPE)]), "'pipe' is a link or a device"),
    "a folder in the place of a file": (
        tar_gz([special(GOOD[0][0], tarfile.DIRTYPE), *GOOD[1:]]),
        f"expected '{GOOD[0][0]}' of {len(GOOD[0][1]):,} bytes, got 0",
    ),
    "a member that is too short": (
        tar_gz([(GOOD[0][0], GOOD[0][1][:-1]), *GOOD[1:]]),
        f"of {len(GOOD[0][1]):,} bytes, got {len(GOOD[0][1]) - 1:,}",
    ),
    "a member that is too long": (tar_gz([(GOOD[0][0], GOOD[0][1] + b"x"), *GOOD[1:]]), "bytes, got"),
    "a member with holes": (tar_gz([sparse(*GOOD[0]), *GOOD[1:]]), f"expected '{GOOD[0][0]}' of "),
    "a member twice": (tar_gz([*GOOD, GOOD[0]]), f"expected '{GOOD[0][0]}' once, found it again"),
    "a member that is missing": (tar_gz(GOOD[1:]), f"expected the members {GOOD[0][0]}, which are missing"),
    "another folder": (tar_gz([(f"x/{name}", raw) for name, raw in GOOD]), "which are missing"),
    "too many members": (tar_gz([(f"x{i}", b"") for i in range(101)]), "expected at most 100 members"),
    "labels out of range": (
        tar_gz([(GOOD[0][0], b"\x0a" + GOOD[0][1][1:]), *GOOD[1:]]),
        "data_batch_1.bin: expected labels from 0 to 9, got 10 at index 0",
    ),
    "a truncated archive": (RIGHT[: len(RIGHT) // 2], "the archive is damaged"),
    "a truncated end": (RIGHT[:-4], "the archive is damaged"),
    "a flipped bit": (RIGHT[:-6] + bytes([RIGHT[-6] ^ 1]) + RIGHT[-5:], "the archive is damaged: CRC check failed"),
    "bytes after the end": (tar_gz(GOOD, b"more" * 9), "trailing bytes after the end of the archive"),
    "bytes after the gzip stream": (RIGHT + b"more", "the archive is damaged: Not a gzipped file"),
    "no gzip": (b"something else" * 50, "the archive is damaged: Not a gzipped file"),
    "an empty file": (b"", "the archive is damaged"),
    "a gzip bomb": (gzip.compress(bytes(2**26), 1), "which are missing|expected at most"),
    "a bomb in a member": (tar_gz([("zeros", bytes(2**23)), *GOOD]), "bytes in the archive, it has more"),
    "a bomb in a header": (pax_bomb(), "bytes in the archive, it has more"),
    "pickled objects": (
        tar_gz([("cifar-10-batches-py/data_batch_1", pickle.dumps(Trap()))]),
        "expected the members cifar-10-batches-bin/data_batch_1.bin",
    ),
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of data files; what code in a file would leave lies beside it."""
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "data"


def refusal(load: Callable[[Path], object], data_dir: Path) -> str:
    before = sorted(data_dir.parent.rglob("*"))
    with pytest.raises(DataError) as caught:
        load(data_dir)
    assert sorted(data_dir.parent.rglob("*")) == before
    return str(caught.value)


@pytest.mark.parametrize("case", TARS)
def test_a_wrong_tar_archive_that_has_the_right_hash(
    monkeypatch: pytest.MonkeyPatch, elsewhere: Path, case: str
) -> None:
    """The hash, which would refuse each of them, is made to fit."""
    archive, expected = TARS[case]
    use_cifar(monkeypatch, CIFAR10, FILES, archive)
    (elsewhere / CIFAR10.archive.name).write_bytes(archive)
    message = refusal(CIFAR10().load, elsewhere)
    assert message.startswith(f"{elsewhere / CIFAR10.archive.name}")
    assert any(one in message for one in expected.split("|"))
    assert message.endswith("or name another folder with --data-dir or CNNKIT_DATA_DIR")


@pytest.mark.parametrize("case", TARS)
def test_a_wrong_tar_archive_has_the_wrong_hash(monkeypatch: pytest.MonkeyPatch, elsewhere: Path, case: str) -> None:
    """It is refused, in place and from a server, where it is not kept either."""
    use_cifar(monkeypatch, CIFAR10, FILES, RIGHT)
    path = elsewhere / CIFAR10.archive.name
    path.write_bytes(TARS[case][0])
    message = refusal(CIFAR10().load, elsewhere)
    if case == "pickled objects":
        assert f"{path}: this is the version for Python, whose pickled objects may run code when loaded" in message
        assert f"the binary version is {CIFAR10.mirrors[0]}cifar-10-binary.tar.gz" in message
    else:
        assert f"{path}: expected the {len(RIGHT):,} bytes of cifar-10-binary.tar.gz, got" in message or (
            "this is a different file, or a damaged one: expected a file with sha256" in message
        )
    path.unlink()
    with serving(TARS[case][0]) as server:
        monkeypatch.setattr(CIFAR10, "mirrors", (server.url,))
        assert "no mirror gave it" in refusal(CIFAR10().load, elsewhere)


def test_what_is_no_regular_file(elsewhere: Path) -> None:
    (elsewhere / "emnist").mkdir()
    for cls, path in ((CIFAR10, elsewhere / CIFAR10.archive.name), (EMNIST, elsewhere / "emnist" / "gzip.zip")):
        os.mkfifo(path)
        assert refusal(cls().load, elsewhere).startswith(f"{path}: expected {cls.archive.name}, this is not a regular")


def test_the_right_archive_passes(monkeypatch: pytest.MonkeyPatch, elsewhere: Path) -> None:
    """The control of the tests above."""
    use_cifar(monkeypatch, CIFAR10, FILES, RIGHT)
    (elsewhere / CIFAR10.archive.name).write_bytes(RIGHT)
    CIFAR10().load(elsewhere)


def test_pickles_are_not_loaded(monkeypatch: pytest.MonkeyPatch, elsewhere: Path) -> None:
    use_cifar(monkeypatch, CIFAR10, FILES, RIGHT)
    folder = elsewhere / CIFAR10.inside
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes(pickle.dumps(Trap()))
    assert "this is the version for Python, whose pickled objects" in refusal(CIFAR10().load, elsewhere)
    pickle.loads(pickle.dumps(Trap()))
    assert Path("trapped").is_dir()  # the control: the trap works


@pytest.mark.parametrize(
    ("cut", "what"), [(1, "it is truncated, or a different file"), (-1, "it is a different file, or has")]
)
def test_an_extracted_file_of_another_length(
    monkeypatch: pytest.MonkeyPatch, elsewhere: Path, cut: int, what: str
) -> None:
    use_cifar(monkeypatch, CIFAR10, FILES, RIGHT)
    (elsewhere / CIFAR10.inside).mkdir()
    for name, raw in FILES.items():
        (elsewhere / CIFAR10.inside / name).write_bytes(raw[:-cut] if cut > 0 else raw + b"x")
    assert f"data_batch_1.bin: expected the {len(FILES['data_batch_1.bin']):,} bytes" in (
        message := refusal(CIFAR10().load, elsewhere)
    )
    assert what in message


def zip_with(change: Callable[[zipfile.ZipFile], None], files: dict[str, bytes] = LETTERS) -> bytes:
    content = io.BytesIO(emnist_archive(files))
    with zipfile.ZipFile(content, "a") as archive:
        change(archive)
    return content.getvalue()


def link(archive: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("link")
    entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    archive.writestr(entry, "/etc/passwd")


def many(archive: zipfile.ZipFile) -> None:
    for number in range(100):
        archive.writestr(str(number), b"")


def labels(values: Any) -> dict[str, bytes]:
    return LETTERS | {MEMBER: gzip.compress(idx_bytes(np.asarray(values)))}


GOOD_ZIP = emnist_archive(LETTERS)
ZIPS: dict[str, tuple[bytes, str]] = {
    "a name that leads out": (zip_with(lambda z: z.writestr("../outside", b"x")), "'../outside' points outside"),
    "an absolute name": (zip_with(lambda z: z.writestr("/outside", b"x")), "points outside the archive"),
    "a drive": (zip_with(lambda z: z.writestr("C:outside", b"x")), "'C:outside' points outside"),
    "a link": (zip_with(link), "'link' is a link or a device"),
    "too many members": (zip_with(many), "at most 100"),
    "a split that is missing": (emnist_archive(emnist_files("digits", 0, 10)), "once, found it 0 times"),
    "truncated": (GOOD_ZIP[:-30], "the archive is damaged: File is not a zip file"),
    "damaged inside": (GOOD_ZIP[:200] + bytes(400) + GOOD_ZIP[600:], "the archive is damaged: "),
    "empty": (b"", "the archive is damaged: File is not a zip file"),
    "label 0": (emnist_archive(labels(np.arange(30) % 26)), "expected labels from 1 to 26, got 0 at index 0"),
    "label 27": (emnist_archive(labels(np.full(30, 27))), "expected labels from 1 to 26, got 27 at index 0"),
    "too few labels": (emnist_archive(labels(np.ones(29))), "expected 30 labels, one for each image, got 29"),
    "wrong magic": (emnist_archive(labels(np.ones((30, 2)))), "wrong magic number at byte 0"),
    "a truncated member": (emnist_archive(LETTERS | {MEMBER: LETTERS[MEMBER][:-9]}), "the gzip stream is truncated"),
    "trailing bytes": (emnist_archive(LETTERS | {MEMBER: LETTERS[MEMBER] + b"x"}), "trailing bytes from byte"),
}


@pytest.mark.parametrize("case", ZIPS)
def test_a_wrong_zip_archive(monkeypatch: pytest.MonkeyPatch, elsewhere: Path, case: str) -> None:
    """First with a hash that fits, then with the right one."""
    archive, expected = ZIPS[case]
    path = use_emnist(monkeypatch, elsewhere, archive)
    message = refusal(EMNIST("letters").load, elsewhere)
    assert message.startswith(str(path))
    assert expected in message
    monkeypatch.setattr(EMNIST, "archive", published("gzip.zip", GOOD_ZIP))
    assert f"{path}: expected the {len(GOOD_ZIP):,} bytes" in (message := refusal(EMNIST().load, elsewhere)) or (
        "this is a different file, or a damaged one" in message
    )


def test_the_right_zip_archive_passes(monkeypatch: pytest.MonkeyPatch, elsewhere: Path) -> None:
    use_emnist(monkeypatch, elsewhere, GOOD_ZIP)
    EMNIST("letters").load(elsewhere)
