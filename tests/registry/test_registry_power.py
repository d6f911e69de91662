"""Power failures: after every recorded step of saves, an alias and a deletion, the least and the most that the disk may
hold, and random subsets between them; 6 after each step by default, 40 in full."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from power_loss import Recording, Tree, failures  # type: ignore[import-not-found]  # beside this file

from cnnkit.errors import RegistryError
from cnnkit.network import Sequential
from cnnkit.registry import Registry, commit
from cnnkit.registry.format import sealing

MODEL = Sequential(["Dense(2)"], (3,))


class WithoutLinks(Recording):  # type: ignore[misc]  # mypy does not find its base
    """On a file system without hard links."""

    def link(self, source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))


class Unsynced(Recording):  # type: ignore[misc]  # mypy does not find its base
    """Positive control: no file is ever synced."""

    def sync(self, file: int) -> None:
        pass


class UnsyncedFolders(Recording):  # type: ignore[misc]  # mypy does not find its base
    """Positive control: no folder is ever synced."""

    def sync_folder(self, path: Path) -> None:
        pass


class LinkFirst(Recording):  # type: ignore[misc]  # mypy does not find its base
    """Positive control: a file is synced only after it has its name."""

    def sync(self, file: int) -> None:
        super().sync(file)
        self.late = self.steps.pop()

    def link(self, source: Path, target: Path) -> None:
        super().link(source, target)
        self.steps.append(self.late)


class CommitFirst(Recording):  # type: ignore[misc]  # mypy does not find its base
    """Positive control: a folder is synced only after the next record in the log."""

    def __init__(self) -> None:
        super().__init__()
        self.late: list[Path] = []

    def sync_folder(self, path: Path) -> None:
        self.late.append(path)

    def append(self, path: Path, line: bytes) -> None:
        super().append(path, line)
        while self.late:
            super().sync_folder(self.late.pop(0))


class History:
    """What a registry did, by the step at which it was acknowledged, or begun."""

    def __init__(self, folder: Path, files: Recording) -> None:
        self.files = files
        self.registry = Registry(folder / "registry", files=files)
        self.saved: list[tuple[int, int, str]] = []
        self.deleted: list[tuple[int, int]] = []
        self.buried: list[tuple[int, int]] = []
        self.aliased: list[tuple[int, int]] = []

    def save(self) -> None:
        version = self.registry.save(MODEL, "net")
        self.saved.append((len(self.files.steps), version.number, version.digest))

    def delete(self, number: int) -> None:
        self.deleted.append((len(self.files.steps), number))
        self.registry.delete(f"net@{number}")
        self.buried.append((len(self.files.steps), number))

    def alias(self, number: int) -> None:
        self.registry.set_alias(f"net@{number}", "best")
        self.aliased.append((len(self.files.steps), number))

    def acknowledged(self, done: int) -> int:
        """How many changes were begun or acknowledged after so many steps."""
        saved = [(step, number) for step, number, _ in self.saved]
        return sum(step <= done for step, _ in (*saved, *self.deleted, *self.buried, *self.aliased))

    def all(self) -> None:
        self.save()
        self.save()
        self.alias(1)
        self.delete(2)
        self.save()
        self.alias(3)

    def wrong(self, done: int, folder: Path) -> list[str]:
        """What is wrong with the folder after so many steps and a power failure."""
        found = []
        model = folder / "registry" / "net"
        begun = {number for step, number in self.deleted if step <= done}
        buried = {number for step, number in self.buried if step <= done}
        for step, number, digest in self.saved:
            if step <= done:
                try:
                    data = (model / commit.version_file(number)).read_bytes()
                    there = sealing.check(data)
                except (RegistryError, FileNotFoundError) as error:
                    found.append(f"{number} is lost: {error}")
                else:
                    dead = data == sealing.tombstone()
                    if dead < (number in buried) or dead > (number in begun) or (not dead and there != digest):
                        found.append(f"{number} is not what it was")
        if any(step <= done for step, _ in self.aliased) and not (model / "best.alias").exists():
            found.append("the alias is lost")
        if self.aliased and done >= self.aliased[-1][0] and (model / "best.alias").read_text() != "3\n":
            found.append("the alias is the old one")
        if (folder / "registry").is_dir():
            found += map(str, Registry(folder / "registry").verify())
        return found


def write(tree: Tree, folder: Path) -> None:
    for path, content in tree.items():
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)


def replay(tmp_path: Path, history: History, subsets: int) -> tuple[int, list[str]]:
    """How many failures there were, and what was wrong after them."""
    wrong, judged, count = [], {}, 0
    for count, (done, tree) in enumerate(failures(history.files.steps, subsets), start=1):
        key = (history.acknowledged(done), tuple(tree.items()))
        if key not in judged:
            folder = tmp_path / f"state{count}"
            folder.mkdir()
            write({path.relative_to(tmp_path / "live"): content for path, content in tree.items()}, folder)
            judged[key] = history.wrong(done, folder)
            shutil.rmtree(folder)
        wrong += [f"after {done} steps: {text}" for text in judged[key]]
    return count, wrong


def begin(tmp_path: Path, files: Recording) -> History:
    (tmp_path / "live").mkdir()
    return History(tmp_path / "live", files)


def check_power(tmp_path: Path, files: Recording, subsets: int) -> None:
    history = begin(tmp_path, files)
    history.all()
    count, wrong = replay(tmp_path, history, subsets)
    assert wrong == []
    assert count >= 50 * (2 + subsets)


@pytest.mark.parametrize("files", [Recording, WithoutLinks])
def test_a_power_failure_loses_nothing_acknowledged(tmp_path: Path, files: Callable[[], Recording]) -> None:
    check_power(tmp_path, files(), 6)


@pytest.mark.full
@pytest.mark.parametrize("files", [Recording, WithoutLinks])
def test_a_power_failure_loses_nothing_acknowledged_full(tmp_path: Path, files: Callable[[], Recording]) -> None:
    check_power(tmp_path, files(), 40)


@pytest.mark.parametrize("how", ["folder", "log"])
def test_what_another_writer_has_not_synced_yet_is_synced(tmp_path: Path, how: str) -> None:
    files = Recording()
    history = begin(tmp_path, files)
    files.asleep = True
    if how == "folder":
        files.make_folder(tmp_path / "live" / "registry" / "net")
    else:
        with commit.prepared(files, tmp_path / "live" / "registry" / "net"):
            pass
    files.asleep = False
    history.save()
    assert replay(tmp_path, history, 6)[1] == []


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (Unsynced, "is lost: "),
        (UnsyncedFolders, "is lost: "),
        (LinkFirst, "it is damaged: "),
        (CommitFirst, "the version is missing"),
    ],
)
def test_positive_control_a_missing_or_late_sync_is_caught(
    tmp_path: Path, files: Callable[[], Recording], reason: str
) -> None:
    history = begin(tmp_path, files())
    history.save()
    assert history.wrong(len(history.files.steps), tmp_path / "live") == []
    wrong = replay(tmp_path, history, 6)[1]
    assert any(reason in text for text in wrong), wrong[:5]
