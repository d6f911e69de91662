"""Disks that fill up or fail, at every 256 bytes of a save: as errors of `Files`, as a limit of the operating system,
and, a page at a time, on a small file system of its own. The counts are always complete."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from states import MODEL, fresh, state, temporary_files  # type: ignore[import-not-found]  # beside this file

from cnnkit.errors import RegistryError
from cnnkit.registry import Files, Registry
from cnnkit.registry import digest_log as digest_log
from cnnkit.registry.format import sealing

DRIVER = Path(__file__).with_name("disk_full_driver.py")
MOUNTING = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]


class Full(Files):
    """A disk with so many bytes left; the log of digests counts too."""

    def __init__(self, left: int, number: int = errno.ENOSPC) -> None:
        self.left, self.number = left, number

    def write(self, file: int, data: bytes | memoryview) -> None:
        fits = memoryview(data)[: self.left]
        super().write(file, fits)
        self.left -= len(fits)
        if len(fits) < len(data):
            raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_at_every_256_bytes(tmp_path: Path, number: int) -> None:
    folder = fresh(tmp_path)
    size = (folder / "net" / "v000001.h5").stat().st_size
    before = state(folder)
    for left in range(0, size, 256):
        with pytest.raises(RegistryError, match=rf"cannot save net in .*: {os.strerror(number)}$"):
            Registry(folder, files=Full(left, number)).save(MODEL, "net")
        assert state(folder) == before
        names = ["champion.alias", "digests.log", "facts.log", "v000001.h5", "v000002.h5"]
        assert sorted(os.listdir(folder / "net")) == names
    assert Registry(folder).verify() == []
    assert Registry(folder).save(MODEL, "net").number == 3


def test_a_disk_that_fills_up_after_the_version_appeared(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    size = len(sealing.pack(Registry(folder).read("net").manifest.encode(), MODEL.state()))
    intent = len(digest_log.record("intent", 3, "0" * 64))
    with pytest.raises(
        RegistryError, match=r"net@3 was saved completely, but it may not survive a power failure: .*No space"
    ):
        Registry(folder, files=Full(size + intent + 10)).save(MODEL, "net")
    assert Registry(folder).find("net").number == 3
    assert Registry(folder).verify() == []
    assert Registry(folder).save(MODEL, "net").number == 4
    assert Registry(folder).verify() == []
    assert temporary_files(folder) == []


def drive(folder: Path, harness: str, writer: str) -> dict[str, Any]:
    command = [sys.executable, str(DRIVER), harness, writer, str(folder)]
    if harness != "limit":
        command = [*MOUNTING, *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def may_mount() -> bool:
    if shutil.which(MOUNTING[0]) is None:
        return False
    command = [*MOUNTING, "mount", "-t", "tmpfs", "none", "/tmp"]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture
def harness(request: pytest.FixtureRequest) -> str:
    if request.param == "mount" and not may_mount():
        pytest.skip("this process may not mount a file system in a namespace of its own")
    return str(request.param)


BOTH = pytest.mark.parametrize("harness", ["limit", "mount"], indirect=True)
REASON = {"limit": "File too large", "mount": "No space left on device"}


@BOTH
def test_a_save_that_finds_no_room_leaves_nothing_and_says_so(tmp_path: Path, harness: str) -> None:
    result = drive(tmp_path, harness, "safe")
    assert result["wrong"] == []
    assert 0 < result["saved"] < result["count"]
    assert result["refused"]
    assert [text for text in result["refused"] if REASON[harness] not in text or "None" in text] == []


def test_a_deletion_needs_no_room(tmp_path: Path) -> None:
    if not may_mount():
        pytest.skip("this process may not mount a file system in a namespace of its own")
    result = drive(tmp_path, "delete", "safe")
    assert result["wrong"] == []
    assert result["saved"] == result["count"] > 4
    (tmp_path / "naive").mkdir()
    wrong = drive(tmp_path / "naive", "delete", "naive")["wrong"]  # positive control
    assert any("No space left on device" in text for text in wrong), wrong


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_deletion_on_a_full_disk_is_one_whatever_becomes_of_its_tombstone(tmp_path: Path, number: int) -> None:
    """There is room for names and for the log alone, and it stays so."""

    class NoBlocks(Files):
        def write(self, file: int, data: bytes | memoryview) -> None:
            if len(data) == sealing.BLOCK:
                raise OSError(number, os.strerror(number))
            super().write(file, data)

    folder = fresh(tmp_path)
    registry = Registry(folder, files=NoBlocks())
    registry.delete("net@2")
    assert (folder / "net" / "v000002.h5").read_bytes() == b""
    assert [version.number for version in registry.versions("net")] == [1]
    assert [entry.ref for entry in registry.search()] == ["net@1"]
    with pytest.raises(RegistryError, match="net@2 was deleted; the only version is 1"):
        registry.find("net@2")
    assert registry.verify() == []
    assert registry.save(MODEL, "net").number == 3
    (folder / "net" / "v000001.h5").write_bytes(b"")  # positive control: this one was not deleted
    assert [str(problem) for problem in registry.verify()] != []


def test_a_deletion_that_fails_for_another_reason_is_told(tmp_path: Path) -> None:
    class Broken(Files):
        def write(self, file: int, data: bytes | memoryview) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    folder = fresh(tmp_path)
    (folder / "net" / "facts.log").unlink()
    with pytest.raises(RegistryError, match="cannot delete net@2: Input/output error"):
        Registry(folder, files=Broken()).delete("net@2")
    with pytest.raises(RegistryError, match="cannot delete net@2: No space left on device"):
        Registry(folder, files=Full(0)).delete("net@2")
    assert [version.number for version in Registry(folder).versions("net")] == [1, 2]


@BOTH
def test_positive_control_h5py_straight_to_the_path_leaves_a_part_or_ends_the_process(
    tmp_path: Path, harness: str
) -> None:
    assert len(drive(tmp_path, harness, "naive")["wrong"]) > 0
