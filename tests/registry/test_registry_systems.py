"""Links, modes, numbers that are taken, and what unusual file systems do."""

from __future__ import annotations

import errno
import os
import signal
import stat
from pathlib import Path

import pytest

from cnnkit.errors import RegistryError
from cnnkit.network import Sequential
from cnnkit.registry import Files, Registry, commit
from cnnkit.registry.format import sealing


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_an_unwritable_registry_is_one_line(registry: Registry, model: Sequential) -> None:
    registry.path.mkdir(mode=0o500)
    with pytest.raises(RegistryError, match=r"cannot save net in .*: Permission denied"):
        registry.save(model, "net")


def test_a_file_in_the_place_of_a_folder_is_one_line(tmp_path: Path, model: Sequential) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RegistryError, match=r"cannot save net in .*file: Not a directory"):
        Registry(tmp_path / "file").save(model, "net")
    (tmp_path / "net").touch()
    with pytest.raises(RegistryError, match="net must be a folder; it is a link or a file"):
        Registry(tmp_path).save(model, "net")


def test_files_are_private_until_they_are_complete(
    tmp_path: Path, model: Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []

    class Watching(Files):
        def write(self, file: int, data: bytes | memoryview) -> None:
            modes.append(stat.S_IMODE(os.fstat(file).st_mode))
            super().write(file, data)

    before = os.umask(0o027)
    try:
        version = Registry(tmp_path / "r", files=Watching()).save(model, "net")
    finally:
        assert os.umask(before) == 0o027
    assert 0o600 in modes
    assert stat.S_IMODE(version.path.stat().st_mode) == 0o640


def test_symbolic_links_are_refused(registry: Registry, model: Sequential, tmp_path: Path) -> None:
    path = registry.save(model, "net").path
    path.rename(tmp_path / "elsewhere.h5")
    path.symlink_to(tmp_path / "elsewhere.h5")
    with pytest.raises(RegistryError, match=r"v000001.h5 must be a regular file; it is a link"):
        registry.load("net@1")
    assert [version.digest for version in registry.versions("net")] == [""]
    (registry.path / "link").symlink_to(registry.path / "net")
    with pytest.raises(RegistryError, match="link must be a folder; it is a link"):
        registry.save(model, "link")
    with pytest.raises(RegistryError, match="there is no model 'link'"):
        registry.versions("link")


def test_the_reader_itself_follows_no_link_and_waits_for_no_pipe(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(__file__)
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(RegistryError, match=f"{name} must be a regular file"):
            Files().read(tmp_path / name, 100)
    (tmp_path / "large").write_bytes(bytes(101))
    with pytest.raises(RegistryError, match="large has 101 bytes; at most 100 are read"):
        Files().read(tmp_path / "large", 100)
    assert Files().read(tmp_path / "large", 100, whole=False) == bytes(100)


class NoLinks(Files):
    """A file system without hard links."""

    def __init__(self, number: int = errno.EPERM) -> None:
        self.number = number

    def link(self, source: Path, target: Path) -> None:
        raise OSError(self.number, os.strerror(self.number), str(target))


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP])
def test_file_systems_without_hard_links(tmp_path: Path, model: Sequential, number: int) -> None:
    registry = Registry(tmp_path, files=NoLinks(number))
    assert [registry.save(model, "net").number for _ in range(2)] == [1, 2]
    registry.delete("net@2")
    assert registry.save(model, "net").number == 3
    assert registry.load("net").state().keys() == model.state().keys()
    assert registry.verify() == []
    assert not [name for name in os.listdir(tmp_path / "net") if name.startswith(".tmp")]


@pytest.mark.parametrize("system", [Files, NoLinks])
def test_a_number_that_is_taken_meanwhile_is_left_alone(tmp_path: Path, system: type[Files]) -> None:
    class Late(system):  # type: ignore[misc, valid-type]  # its base is a parameter
        listings = 0

        def names(self, folder: Path) -> list[str]:
            self.listings += 1
            return [] if self.listings == 1 else list(super().names(folder))

    data = bytes(sealing.pack(b"{}", {}))
    files = Late()
    with commit.prepared(files, tmp_path / "net"):
        (tmp_path / "net" / "v000001.h5").write_bytes(b"another writer's")
        assert commit.register(files, tmp_path / "net", data, sealing.check(data)) == 2
    assert (tmp_path / "net" / "v000001.h5").read_bytes() == b"another writer's"


def test_a_name_that_is_taken_but_not_listed_is_passed_over(tmp_path: Path, model: Sequential) -> None:
    class IgnoringCase(Files):
        links = 0

        def link(self, source: Path, target: Path) -> None:
            self.links += 1
            assert self.links < 3, "it tries one number for ever"
            if target.name.lower() in map(str.lower, self.names(target.parent)):
                raise FileExistsError
            super().link(source, target)

        def is_same(self, one: Path, other: Path) -> bool:
            return super().is_same(one, other.with_name(other.name.upper()))

    registry = Registry(tmp_path, files=IgnoringCase())
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "V000001.H5").touch()
    assert registry.save(model, "net").number == 2


def test_the_last_number(registry: Registry, model: Sequential) -> None:
    path = registry.save(model, "net").path
    registry.delete("net@1")
    path.rename(path.with_name("v999999999.h5"))
    log = (registry.path / "net" / "digests.log").read_bytes()
    with pytest.raises(RegistryError, match=r"net has no version number left: v999999999.h5 is the last one"):
        registry.save(model, "net")
    assert (registry.path / "net" / "digests.log").read_bytes() == log


def test_a_link_whose_answer_was_lost_is_not_made_twice(tmp_path: Path, model: Sequential) -> None:
    class Network(Files):
        def link(self, source: Path, target: Path) -> None:
            assert target.name in ("v000001.h5", "v000002.h5"), "it links for ever"
            super().link(source, target)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))

    registry = Registry(tmp_path, files=Network())
    assert [registry.save(model, "net").number for _ in range(2)] == [1, 2]
    assert [version.number for version in registry.versions("net")] == [1, 2]
    assert registry.verify() == []


def refusing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let `fsync` of a folder fail with this error."""
    sync = os.fsync

    def fsync(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(number, os.strerror(number))
        sync(file)

    monkeypatch.setattr(os, "fsync", fsync)


def test_file_systems_that_cannot_sync_folders(
    registry: Registry, model: Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, errno.EINVAL)
    assert registry.save(model, "net").number == 1
    refusing(monkeypatch, errno.EIO)
    with pytest.raises(RegistryError, match=r"cannot save net in .*: Input/output error"):
        registry.save(model, "net")


def test_a_registry_in_a_folder_that_may_not_be_opened(registry: Registry, model: Sequential) -> None:
    class Closed(Files):
        def sync_folder(self, path: Path) -> None:
            if path == registry.path.parent and registry.path.exists():
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            super().sync_folder(path)

    registry.path.mkdir()
    assert Registry(registry.path, files=Closed()).save(model, "net").number == 1


def late(number: int, frame: object) -> None:
    raise AssertionError("it waits for somebody who reads from the pipe")


def test_what_writes_follows_no_link_and_waits_for_no_pipe(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"kept")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "pipe")
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(5)
    try:
        for name, number in {"link": errno.ELOOP, "pipe": errno.ENXIO}.items():
            with pytest.raises(OSError, match=os.strerror(number)):
                Files().append(tmp_path / name, b"x")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert (tmp_path / "target").read_bytes() == b"kept"


def test_a_log_that_is_a_link_is_refused(registry: Registry, model: Sequential, tmp_path: Path) -> None:
    registry.save(model, "net")
    log = registry.path / "net" / "digests.log"
    log.rename(tmp_path / "elsewhere")
    log.symlink_to(tmp_path / "elsewhere")
    before = (tmp_path / "elsewhere").read_bytes()
    for use in (
        lambda: registry.save(model, "net"),
        lambda: registry.read("net"),
        lambda: registry.delete("net@latest"),
    ):
        with pytest.raises(RegistryError, match=r"digests.log must be a regular file; it is a link"):
            use()
    assert (tmp_path / "elsewhere").read_bytes() == before


def test_only_the_owner_and_the_group_may_write_whatever_the_umask(tmp_path: Path, model: Sequential) -> None:
    before = os.umask(0)
    try:
        Registry(tmp_path, files=NoLinks()).save(model, "net")
        Files().claim(tmp_path / "net" / "v000002.h5")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "net").iterdir()}
    assert modes == dict.fromkeys(("digests.log", "facts.log", "v000001.h5", "v000002.h5"), 0o664)
