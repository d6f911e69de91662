"""Each operation of `Files` that a change makes fails once, or is the last one before the process dies.

The counts are always complete. The system calls below these operations: test_registry_system_calls.py.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from failing import OPERATIONS, Failing, PowerOff  # type: ignore[import-not-found]  # beside this file
from states import (  # type: ignore[import-not-found]  # beside this file
    ACTIONS,
    DEAD,
    Action,
    fresh,
    save_in_place,
    state,
    temporary_files,
)

from cnnkit.errors import RegistryError
from cnnkit.registry import Registry, Runs


class FailingWithoutLinks(Failing):  # type: ignore[misc]  # which mypy does not find, see above
    """The same on a file system without hard links."""

    def link(self, source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))


class FailingOnANetwork(Failing):  # type: ignore[misc]  # which mypy does not find, see above
    """The same on a file system that loses the answer to the first call, and so answers to the second."""

    def link(self, source: Path, target: Path) -> None:
        super().link(source, target)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))


SYSTEMS: list[type[Failing]] = [Failing, FailingWithoutLinks, FailingOnANetwork]
HOW = pytest.mark.parametrize("dead", [False, True], ids=["error", "crash"])


def attempts(tmp_path: Path, template: Path, action: Action, system: type[Failing], dead: bool) -> list[Path]:
    """Copies of a registry in which the action failed at its first operation, its second, and so on; the last one
    succeeds."""
    folders = []
    for at in range(1, 100):
        folders.append(shutil.copytree(template, tmp_path / str(at)))
        failing = system(at, dead)
        try:
            action(Registry(folders[-1], files=failing))
        except (RegistryError, PowerOff):
            failing.end()
        if failing.count < at:
            return folders
    raise AssertionError("the action has no end")


def outcomes(tmp_path: Path, action: Action, system: type[Failing], dead: bool) -> list[tuple[object, ...]]:
    """What is seen in each of these copies; none has a problem, or a file that `gc` leaves."""
    seen = []
    for folder in attempts(tmp_path, fresh(tmp_path / "template"), action, system, dead):
        seen.append(state(folder))
        assert Registry(folder).verify() == [], folder.name
        Registry(folder).gc()
        assert temporary_files(folder) == []
    return seen


def check_old_or_new(tmp_path: Path, name: str, system: type[Failing], dead: bool) -> None:
    seen = outcomes(tmp_path / "failing", ACTIONS[name], system, dead)
    old, new = state(fresh(tmp_path / "old")), seen[-1]
    assert old != new
    assert set(seen) == {old, new}
    assert seen.index(new) > 0


@HOW
@pytest.mark.parametrize("name", ACTIONS)
def test_whatever_operation_fails_the_state_is_old_or_new(tmp_path: Path, name: str, dead: bool) -> None:
    check_old_or_new(tmp_path, name, Failing, dead)


@HOW
@pytest.mark.parametrize("system", SYSTEMS[1:])
def test_the_same_on_other_file_systems(tmp_path: Path, system: type[Failing], dead: bool) -> None:
    check_old_or_new(tmp_path, "save", system, dead)


@HOW
def test_whatever_operation_fails_gc_removes_dead_files_only(tmp_path: Path, dead: bool) -> None:
    template = fresh(tmp_path / "template")
    (template / "net" / DEAD).touch()
    before = state(template)
    folders = attempts(tmp_path, template, Registry.gc, Failing, dead)
    assert temporary_files(folders[0]) == [DEAD]
    assert temporary_files(folders[-1]) == []
    for folder in folders:
        assert state(folder) == before
        assert Registry(folder).verify() == []
        Registry(folder).gc()
        assert temporary_files(folder) == []


READS: dict[str, Callable[[Registry], object]] = {
    "read": lambda registry: registry.read("net@champion").manifest,
    "models": Registry.models,
    "versions": lambda registry: [version.digest for version in registry.versions("net")],
    "aliases": lambda registry: registry.aliases("net"),
    "verify": lambda registry: list(map(str, registry.verify())),
}


def check_reader(tmp_path: Path, name: str) -> None:
    folder = fresh(tmp_path)
    expected = READS[name](Registry(folder))
    told = []
    for at in range(1, 100):
        failing = Failing(at, dead=False)
        try:
            found = READS[name](Registry(folder, files=failing))
        except RegistryError as error:
            found = error
        if failing.count < at:
            break
        told.append(str(found))
    assert found == expected
    assert told
    assert [text for text in told if "Input/output error" not in text] == []


@pytest.mark.parametrize("name", READS)
def test_whatever_operation_fails_a_reader_is_told(tmp_path: Path, name: str) -> None:
    check_reader(tmp_path, name)


def test_the_changes_above_use_every_operation(tmp_path: Path) -> None:
    Failing.called.clear()
    template = fresh(tmp_path / "template")
    (template / "net" / DEAD).touch()
    actions: list[tuple[type[Failing], Action]] = [(Failing, action) for action in (*ACTIONS.values(), Registry.gc)]
    actions += [(system, ACTIONS["save"]) for system in SYSTEMS[1:]]
    for number, (system, action) in enumerate(actions):
        action(Registry(shutil.copytree(template, tmp_path / str(number)), files=system(10**6, dead=False)))
    run = Runs(template, Failing(10**6, dead=False)).new("net")
    run.save({}, {})
    run.remove()
    for _ in range(2):  # the second time by the facts that the first has kept
        Registry(template, files=Failing(10**6, dead=False)).search()
    assert Failing.called == set(OPERATIONS)


def test_positive_control_a_writer_in_place_is_caught(tmp_path: Path) -> None:
    folder = fresh(tmp_path / "whole")
    save_in_place(Registry(folder))
    assert Registry(folder).verify() == []
    with pytest.raises(RegistryError, match=r"net@3 cannot be used, .* is damaged: it should have"):
        outcomes(tmp_path, save_in_place, Failing, True)


def test_positive_control_a_reader_that_hides_an_error_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def models(registry: Registry) -> list[str]:
        with contextlib.suppress(OSError):
            return registry._files.names(registry.path)
        return []

    monkeypatch.setitem(READS, "models", models)
    with pytest.raises(AssertionError):
        check_reader(tmp_path, "models")
