"""Crashes, failing disks and races.

By default 24 kills, and 8 writers of 6 versions; in full 500 kills, and 8 writers of 50. Failures at every file
operation and at every 256 bytes are always complete.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.errors import RegistryError
from cnnkit.network import Sequential
from cnnkit.registry import Files, Registry, commit, sealing
from cnnkit.registry import log as digest_log

DRIVER = Path(__file__).with_name("crash_driver.py")
OPERATIONS = [name for name in vars(Files) if not name.startswith("_")]


def drive(harness: str, writer: str, folder: Path, count: int) -> dict[str, Any]:
    command = [sys.executable, str(DRIVER), harness, writer, str(folder), str(count)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=600)
    return dict(json.loads(done.stdout))


def check_kills(folder: Path, count: int) -> None:
    result = drive("kill", "safe", folder, count)
    assert result["acknowledged"] >= count * 3 // 4
    assert (result["lost"], result["torn"], result["problems"], result["left"]) == (0, 0, [], [])
    assert result["removed"] >= count // 4  # the kills did hit writers at work


def test_a_killed_writer_loses_nothing_and_leaves_nothing_torn(tmp_path: Path) -> None:
    check_kills(tmp_path, 24)


@pytest.mark.full
def test_a_killed_writer_loses_nothing_and_leaves_nothing_torn_full(tmp_path: Path) -> None:
    check_kills(tmp_path, 500)


def test_positive_control_a_killed_naive_writer_leaves_torn_files(tmp_path: Path) -> None:
    assert drive("kill", "naive", tmp_path, 24)["torn"] > 0


def check_race(folder: Path, count: int) -> None:
    result = drive("race", "safe", folder, count)
    assert result["acknowledged"] == 8 * count
    assert result["numbers"] == list(range(1, 8 * count + 1))
    assert (result["lost"], result["torn"], result["problems"], result["removed"]) == (0, 0, [], 0)


def test_writers_at_once_get_a_number_each(tmp_path: Path) -> None:
    check_race(tmp_path, 6)


@pytest.mark.full
def test_writers_at_once_get_a_number_each_full(tmp_path: Path) -> None:
    check_race(tmp_path, 50)


def test_positive_control_naive_writers_lose_versions(tmp_path: Path) -> None:
    assert drive("race", "naive", tmp_path, 6)["lost"] > 0


class PowerOff(BaseException):
    """The process ends here; not even its clean-up runs."""


class Failing(Files):
    """Files whose operation number `at` fails: once with an error, or, if `dead`, with all that follow.

    A write that fails has written half of its data.
    """

    def __init__(self, at: int, dead: bool, number: int = errno.EIO) -> None:
        self.at, self.dead, self.number, self.count = at, dead, number, 0
        self.opened: list[int] = []

    def __getattribute__(self, name: str) -> Any:
        method = super().__getattribute__(name)
        if name not in OPERATIONS:
            return method

        def operation(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count == self.at or (self.dead and self.count > self.at):
                if name == "write" and self.count == self.at:
                    method(args[0], memoryview(args[1])[: len(args[1]) // 2])
                raise PowerOff if self.dead else OSError(self.number, os.strerror(self.number))
            result = method(*args, **kwargs)
            if name in ("create", "open_end"):
                self.opened.append(result)
            return result

        return operation

    def end(self) -> None:
        """Close what the dead process had open, and so give up its locks."""
        for file in self.opened:
            with contextlib.suppress(OSError):
                os.close(file)


class FailingWithoutLinks(Failing):
    """The same on a file system without hard links."""

    def link(self, source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))


Action = Callable[[Registry], object]
MODEL = Sequential(["Dense(2)"], (3,))
ACTIONS: dict[str, Action] = {
    "save": lambda registry: registry.save(MODEL, "net"),
    "first save": lambda registry: registry.save(MODEL, "new"),
    "alias": lambda registry: registry.set_alias("net@2", "champion"),
    "remove alias": lambda registry: registry.remove_alias("net", "champion"),
    "delete": lambda registry: registry.delete("net@2"),
}


def save_in_place(registry: Registry) -> None:
    """Positive control: the log is kept as it should be, but the bytes come under the version's name one by one."""
    files, folder = registry._files, registry.path / "net"
    described = dataclasses.replace(registry.read("net").manifest, settings={"saved": "in place"})
    data = sealing.pack(described.encode(), MODEL.state())
    digest = sealing.check(bytes(data))
    files.append(folder / digest_log.LOG, digest_log.record(digest_log.INTENT, 3, digest))
    file = files.create(folder / commit.version_file(3))
    files.write(file, data)
    files.close(file)
    files.append(folder / digest_log.LOG, digest_log.record(digest_log.COMMIT, 3, digest))


def state(folder: Path) -> tuple[object, ...]:
    """All that a reader can see; reading it proves every version whole."""
    registry = Registry(folder)
    seen = []
    for name in registry.models():
        digests = []
        for version in registry.versions(name):
            np.testing.assert_array_equal(
                registry.load(version.ref).state()["dense_1.weight"], MODEL.state()["dense_1.weight"]
            )
            digests.append(version.number)
        seen.append((name, tuple(digests), tuple(registry.aliases(name).items())))
    return tuple(seen)


def fresh(folder: Path) -> Path:
    registry = Registry(folder)
    registry.save(MODEL, "net")
    registry.save(MODEL, "net")
    registry.set_alias("net@1", "champion")
    return folder


def outcomes(tmp_path: Path, action: Action, files: type[Failing], dead: bool) -> list[tuple[object, ...]]:
    """What is seen after the action failed at its first operation, its second, and so on; the last one succeeds."""
    seen = []
    template = fresh(tmp_path / "template")
    for at in range(1, 100):
        folder = shutil.copytree(template, tmp_path / str(at))
        failing = files(at, dead)
        try:
            action(Registry(folder, files=failing))
        except (RegistryError, PowerOff):
            failing.end()
        seen.append(state(folder))
        assert Registry(folder).verify() == [], at
        Registry(folder).gc()
        assert not list(folder.glob("*/.tmp*"))
        if failing.count < at:
            return seen
    raise AssertionError("the action has no end")


@pytest.mark.parametrize("dead", [False, True], ids=["error", "crash"])
@pytest.mark.parametrize("name", ACTIONS)
def test_whatever_operation_fails_the_state_is_old_or_new(tmp_path: Path, name: str, dead: bool) -> None:
    seen = outcomes(tmp_path / "failing", ACTIONS[name], Failing, dead)
    old, new = state(fresh(tmp_path / "old")), seen[-1]
    assert old != new
    assert set(seen) == {old, new}
    assert seen.index(new) > 0


@pytest.mark.parametrize("dead", [False, True], ids=["error", "crash"])
def test_the_same_without_hard_links(tmp_path: Path, dead: bool) -> None:
    seen = outcomes(tmp_path / "failing", ACTIONS["save"], FailingWithoutLinks, dead)
    old = state(fresh(tmp_path / "old"))
    assert old != seen[-1]
    assert set(seen) == {old, seen[-1]}


def test_positive_control_a_naive_writer_is_caught(tmp_path: Path) -> None:
    folder = fresh(tmp_path / "whole")
    save_in_place(Registry(folder))
    assert Registry(folder).verify() == []
    with pytest.raises(RegistryError, match=r"net@3 cannot be used, .* is damaged: it should have"):
        outcomes(tmp_path, save_in_place, Failing, True)


class Full(Files):
    """A disk with so many bytes left; the log of digests counts too."""

    def __init__(self, left: int) -> None:
        self.left = left

    def write(self, file: int, data: bytes | memoryview) -> None:
        fits = memoryview(data)[: self.left]
        super().write(file, fits)
        self.left -= len(fits)
        if len(fits) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_fills_up_at_every_256_bytes(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    size = (folder / "net" / "v000001.h5").stat().st_size
    before = state(folder)
    for left in range(0, size, 256):
        with pytest.raises(RegistryError, match=r"cannot save net in .*: No space left on device"):
            Registry(folder, files=Full(left)).save(MODEL, "net")
        assert state(folder) == before
        files = ["champion.alias", "digests.log", "facts.log", "v000001.h5", "v000002.h5"]
        assert sorted(os.listdir(folder / "net")) == files
    assert Registry(folder).verify() == []
    assert Registry(folder).save(MODEL, "net").number == 3


def test_a_disk_that_fills_up_after_the_version_appeared(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    size = len(sealing.pack(Registry(folder).read("net").manifest.encode(), MODEL.state()))
    intent = len(digest_log.record("intent", 3, "0" * 64))
    with pytest.raises(
        RegistryError, match=r"net@3 was saved whole, but it may not survive a power failure: .*No space"
    ):
        Registry(folder, files=Full(size + intent + 10)).save(MODEL, "net")
    assert Registry(folder).find("net").number == 3
    assert Registry(folder).verify() == []
    assert Registry(folder).save(MODEL, "net").number == 4
    assert Registry(folder).verify() == []
