"""`verify` finds whatever is not as it was registered, and `gc` removes what the dead have left."""

from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cnnkit.errors import RegistryError
from cnnkit.network import Sequential
from cnnkit.registry import Files, Registry, commit, digest_log
from cnnkit.registry.format import sealing


@pytest.fixture
def folder(registry: Registry, model: Sequential) -> Path:
    for seed in range(4):
        registry.save(Sequential(["Dense(2)"], (3,), seed=seed), "net")
    registry.set_alias("net@2", "champion")
    registry.delete("net@4")
    registry.save(model, "other")
    assert registry.verify() == []
    return registry.path / "net"


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def replaced(folder: Path) -> None:
    data = sealing.pack(b"{}", {})
    (folder / "v000002.h5").write_bytes(data)


def swap(folder: Path) -> None:
    (folder / "v000001.h5").rename(folder / "x")
    (folder / "v000002.h5").rename(folder / "v000001.h5")
    (folder / "x").rename(folder / "v000002.h5")


def link(folder: Path) -> None:
    (folder / "v000001.h5").rename(folder.parent / "kept.h5")
    (folder / "v000001.h5").symlink_to(folder.parent / "kept.h5")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda f: flip(f / "v000001.h5", 700), ["v000001.h5: it is damaged: its content does not have the sha256"]),
        (lambda f: flip(f / "v000001.h5", 30), ["v000001.h5: it is damaged"]),
        (lambda f: flip(f / "v000004.h5", 30), ["v000004.h5: it is damaged"]),
        (lambda f: os.truncate(f / "v000001.h5", 600), ["v000001.h5: it is damaged: it should have"]),
        (lambda f: os.truncate(f / "v000001.h5", 0), ["v000001.h5: it is damaged: it has 0 bytes"]),
        (lambda f: (f / "v000001.h5").unlink(), ["v000001.h5: the version is missing"]),
        (lambda f: (f / "v000004.h5").unlink(), ["v000004.h5: the version is missing"]),
        (
            lambda f: (f / "v000001.h5").rename(f / "v000009.h5"),
            ["v000001.h5: the version is missing", "v000009.h5: the digest log has no version 9 with this content"],
        ),
        (swap, ["v000001.h5: the digest log has no version 1", "v000002.h5: the digest log has no version 2"]),
        (replaced, ["v000002.h5: the digest log has no version 2 with this content"]),
        (link, ["v000001.h5: it is damaged: .*must be a regular file"]),
        (lambda f: (f / "v1.h5").touch(), ["v1.h5: unexpected file name"]),
        (lambda f: (f / "notes.txt").touch(), ["notes.txt: unexpected file name"]),
        (lambda f: (f / "champion.alias").write_text("4\n"), ["champion.alias: the alias points to version 4, which"]),
        (lambda f: (f / "champion.alias").write_text("x"), ["champion.alias: it is damaged: .*holds b'x'"]),
        (
            lambda f: (f / digest_log.LOG).write_text("nonsense\n"),
            ["digests.log: line 1 is damaged"] + [".* has no version"] * 4,
        ),
        (
            lambda f: ((f / digest_log.LOG).unlink(), (f / digest_log.LOG).mkdir()),
            ["digests.log: it is damaged: .* must be a regular file"] + [".* has no version"] * 4,
        ),
        (
            lambda f: (f / digest_log.LOG).unlink(),
            ["digests.log: the digest log is missing"] + [".* has no version"] * 4,
        ),
        (
            lambda f: (f / "v000001.h5").write_bytes(sealing.tombstone()),
            ["v000001.h5: the digest log has no version 1 with this content: it was added, replaced, deleted or rena"],
        ),
        (
            lambda f: (f / "v000050.h5").write_bytes(sealing.tombstone()),
            ["v000050.h5: the digest log has no version 50"],
        ),
        (lambda f: (f / "latest.alias").write_text("1\n"), ["latest.alias: unexpected file name"]),
        (lambda f: (f / "3.alias").write_text("1\n"), ["3.alias: unexpected file name"]),
    ],
)
def test_every_change_is_found(
    registry: Registry, folder: Path, change: Callable[[Path], object], found: list[str]
) -> None:
    change(folder)
    problems = registry.verify("net")
    assert len(problems) == len(found), problems
    for problem, expected in zip(problems, found, strict=True):
        assert problem.path.parent == folder
        assert re.match(expected, str(problem).removeprefix(f"{folder}/")), problem
    assert registry.verify() == problems


@pytest.mark.parametrize(
    "change",
    [
        lambda f: (f / "v000001.h5").unlink(),
        lambda f: (f / "v000001.h5").rename(f / "v000009.h5"),
        lambda f: (f / "v000001.h5").write_bytes(sealing.tombstone()),
        swap,
        replaced,
    ],
)
def test_positive_control_seals_alone_miss_what_is_missing_renamed_or_replaced(
    registry: Registry, folder: Path, change: Callable[[Path], object]
) -> None:
    change(folder)
    for path in folder.glob("v*.h5"):
        sealing.check(path.read_bytes())  # finds nothing
    assert registry.verify() != []


def test_every_byte_of_a_version_counts(registry: Registry, folder: Path) -> None:
    path = folder / "v000003.h5"
    original = path.read_bytes()
    for position in range(0, len(original), 61):
        flip(path, position)
        assert [problem.path for problem in registry.verify("net")] == [path]
        path.write_bytes(original)


def test_what_a_crash_leaves_is_no_problem(registry: Registry, folder: Path) -> None:
    with (folder / digest_log.LOG).open("ab") as file:
        file.write(digest_log.record(digest_log.INTENT, 5, "0" * 64))  # died before the file appeared
        file.write(b"\n\ncommit 5 00")  # died in the middle of a record
        file.write(b"\nintent 5 00" + bytes(60))  # the power failed: the file has its new length, not the bytes
        file.write(b"\n" + bytes(80))
        file.write(b"\ndelete 1")
        file.write(digest_log.record(digest_log.INTENT, 6, "1" * 64))
    (folder / "v000006.h5").touch()  # took a number where there are no hard links, and died
    (folder / f".tmp-{'0' * 32}").touch()
    assert registry.verify() == []


def test_a_version_that_appeared_but_was_not_acknowledged_is_no_problem(registry: Registry, folder: Path) -> None:
    data = (folder / "v000003.h5").read_bytes()
    with (folder / digest_log.LOG).open("ab") as file:
        file.write(digest_log.record(digest_log.INTENT, 5, sealing.check(data)))
    (folder / "v000005.h5").write_bytes(data)
    assert registry.verify() == []
    flip(folder / "v000005.h5", 600)
    assert len(registry.verify()) == 1


def test_a_second_commit_record_for_a_number_is_no_way_in(registry: Registry, folder: Path) -> None:
    data = bytes(sealing.pack(b"{}", {}))
    (folder / "v000001.h5").write_bytes(data)
    with (folder / digest_log.LOG).open("ab") as file:
        file.write(digest_log.record(digest_log.COMMIT, 1, sealing.check(data)))
    assert len(registry.verify("net")) == 1


def test_an_alias_that_vanishes_meanwhile_is_no_problem(registry: Registry, folder: Path) -> None:
    class Vanishing(Files):
        def names(self, folder: Path) -> list[str]:
            return [*super().names(folder), "gone.alias"]

    assert Registry(registry.path, files=Vanishing()).verify("net") == []


def test_one_file_that_cannot_be_read_hides_no_other(
    registry: Registry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Files):
        def read(self, path: Path, most: int, *, whole: bool = True, **options: Any) -> bytes:
            if path.name == broken:
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
            return super().read(path, most, whole=whole, **options)

        def names(self, folder: Path) -> list[str]:
            if folder.name == broken:
                raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
            return super().names(folder)

    flip(folder / "v000003.h5", 700)
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(folder)  # a socket's path may have 108 bytes
        listener.bind("v000007.h5")
    expected = {
        "v000001.h5": ["v000001.h5: it cannot be read: Input/output error"],
        "digests.log": ["digests.log: it cannot be read: Input/output error"],
        "other": ["other: it cannot be read: Permission denied"],
    }
    for broken, first in expected.items():
        problems = [str(problem) for problem in Registry(registry.path, files=Broken()).verify()]
        for text in (*first, "v000003.h5: it is damaged: its content", "v000007.h5: it is damaged: "):
            assert any(text in problem for problem in problems), (broken, text, problems)


def test_a_bad_alias_stops_nothing_but_its_own_use_and_deletion(registry: Registry, folder: Path) -> None:
    (folder / "bad.alias").write_text("x")
    (folder / "worse.alias").symlink_to(folder / "champion.alias")
    (folder / "latest.alias").write_text("1\n")
    assert registry.aliases("net") == {"champion": 2}
    assert registry.find("net@champion").number == 2
    assert registry.find("net").number == 3
    with pytest.raises(RegistryError, match=r"the alias file .*bad.alias must hold one version number"):
        registry.delete("net@1")  # which it may have protected
    with pytest.raises(
        RegistryError, match=r"the alias file .*bad.alias must hold one version number, .*; it holds b'x'"
    ):
        registry.find("net@bad")
    for alias in ("bad", "worse"):
        registry.remove_alias("net", alias)
    assert sorted(folder.glob("*.alias")) == [folder / "champion.alias", folder / "latest.alias"]
    assert registry.delete("net@1").number == 1


def test_a_version_that_is_deleted_meanwhile_is_no_problem(registry: Registry, folder: Path) -> None:
    class Deleting(Files):
        def read(self, path: Path, most: int, *, whole: bool = True, **options: Any) -> bytes:
            data = super().read(path, most, whole=whole, **options)
            if path.name == digest_log.LOG and registry.versions("net")[0].number == 1:
                registry.delete("net@1")
            return data

    assert Registry(registry.path, files=Deleting()).verify("net") == []
    assert [version.number for version in registry.versions("net")] == [2, 3]


def test_verify_of_what_is_not_there(registry: Registry, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"there is no model 'nets' in the registry .*: did you mean net?"):
        registry.verify("nets")
    with pytest.raises(RegistryError, match=r"cannot verify .*none: No such file or directory"):
        Registry(tmp_path / "none").verify()


def test_gc_removes_temporary_files_of_the_dead_only(registry: Registry, folder: Path) -> None:
    dead, alive = folder / f".tmp-{'0' * 32}", folder / f".tmp-{'1' * 32}"
    program = (
        "import sys, pathlib, time; from cnnkit.registry import Files; Files().create(pathlib.Path(sys.argv[1])); "
    )
    subprocess.run([sys.executable, "-c", program, dead], check=True)
    writer = subprocess.Popen(
        [sys.executable, "-c", program + "print(flush=True); time.sleep(60)", alive], stdout=subprocess.PIPE
    )
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        before = set(os.listdir(folder))
        assert registry.gc() == [dead]
        assert before - set(os.listdir(folder)) == {dead.name}
    finally:
        writer.kill()
        writer.communicate()
    assert registry.gc() == [alive]
    assert registry.gc() == []


def test_positive_control_a_gc_that_asks_for_no_lock_harms_a_writer(folder: Path) -> None:
    with commit.temporary(Files(), folder, b"data") as path:
        for temporary in folder.glob(".tmp-*"):
            temporary.unlink()
        with pytest.raises(FileNotFoundError):
            Files().link(path, folder / "v000009.h5")


def test_gc_goes_on_where_it_cannot_judge(registry: Registry, folder: Path) -> None:
    class Vanishing(Files):
        def names(self, folder: Path) -> list[str]:
            return [f".tmp-{'0' * 32}", *super().names(folder)]

    (folder / f".tmp-{'1' * 32}").symlink_to(folder / "v000001.h5")
    dead = folder / f".tmp-{'2' * 32}"
    dead.touch()
    assert Registry(registry.path, files=Vanishing()).gc() == [dead]
    assert (folder / "v000001.h5").exists()


def test_gc_leaves_a_writer_in_this_process_alone(registry: Registry, folder: Path) -> None:
    with commit.temporary(Files(), folder, b"data") as path:
        assert registry.gc() == []
        assert path.exists()
    assert not path.exists()


def test_a_writer_begins_again_if_gc_was_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f".tmp-{'0' * 32}"
    taken: list[int] = []

    def take(file: int, how: int) -> None:
        if not taken:
            taken.append(file)
            path.unlink()

    monkeypatch.setattr("fcntl.flock", take)
    file = Files().create(path)
    assert os.fstat(file).st_nlink == 1
    assert taken
    os.close(file)
