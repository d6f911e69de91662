"""Folders that are exchanged for links while a change is under way, before each of its operations."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from failing import OPERATIONS  # type: ignore[import-not-found]  # beside this file
from states import ACTIONS, DEAD, MODEL, Action, fresh  # type: ignore[import-not-found]  # beside this file

from cnnkit.errors import RegistryError
from cnnkit.registry import Files, Registry, Runs

RUN = "net-20260301T120000-a1b2"


class Exchanging(Files):
    """Before operation number `at`, the folder makes room for a link to another one that looks the same."""

    def __init__(self, at: int, folder: Path, elsewhere: Path) -> None:
        self.at, self.count, self.folder, self.elsewhere = at, 0, folder, elsewhere

    def __getattribute__(self, name: str) -> Any:
        method = super().__getattribute__(name)
        if name not in OPERATIONS:
            return method

        def operation(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count == self.at and self.folder.exists():
                self.folder.rename(self.folder.with_name(".exchanged"))
                self.folder.symlink_to(self.elsewhere)
            return method(*args, **kwargs)

        return operation


class ByName(Exchanging):
    """Positive control: what is not held, but reached by its name each time."""

    @contextlib.contextmanager
    def hold(self, folder: Path) -> Iterator[None]:
        yield

    def check_name(self, folder: Path) -> None:
        pass


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def received(
    tmp_path: Path, template: Path, below: str, action: Callable[[Path, Files], object], kind: type[Exchanging]
) -> int:
    """How often the other folder received something."""
    elsewhere = shutil.copytree(template / below, tmp_path / "elsewhere")
    before, count = content(elsewhere), 0
    for at in range(1, 200):
        copy = shutil.copytree(template, tmp_path / str(at))
        files = kind(at, copy / below, elsewhere)
        with contextlib.suppress(RegistryError, OSError):
            action(copy, files)
        if content(elsewhere) != before:
            count += 1
            shutil.rmtree(elsewhere)
            shutil.copytree(template / below, elsewhere)
        if files.count < at:
            return count
    raise AssertionError("the action has no end")


def of_registry(action: Action) -> Callable[[Path, Files], object]:
    return lambda folder, files: action(Registry(folder, files=files))


def checkpoint(folder: Path, files: Files) -> None:
    with Runs(folder, files).find(RUN) as run:
        run.save({"step": 2}, {"dense_1.weight": np.zeros(2, np.float32)})


CHANGES = {name: of_registry(ACTIONS[name]) for name in ("save", "alias", "remove alias", "delete")} | {
    "add": of_registry(lambda registry: registry.add(registry.find("net@1").path.read_bytes())),
    "describe": of_registry(lambda registry: registry.describe("net@1", "one")),
    "no description": of_registry(lambda registry: registry.describe("net@2", "")),
    "tag": of_registry(lambda registry: registry.set_tag("net@1", "stage", "one")),
    "no tag": of_registry(lambda registry: registry.remove_tag("net@2", "stage")),
    "list": of_registry(Registry.search),
    "gc": of_registry(Registry.gc),
}


@pytest.fixture
def template(tmp_path: Path) -> Path:
    folder: Path = fresh(tmp_path / "template")
    registry = Registry(folder)
    registry.describe("net@2", "two")
    registry.set_tag("net@2", "stage", "two")
    (folder / "net" / "facts.log").unlink()
    (folder / "net" / DEAD).touch()
    run = folder / ".runs" / RUN
    with Runs(folder).new("net") as place:
        place.save({"step": 1}, {"dense_1.weight": np.zeros(2, np.float32)})
        place.folder.rename(run)
    return folder


@pytest.mark.parametrize("change", CHANGES)
def test_a_link_in_the_place_of_a_model_receives_nothing(tmp_path: Path, template: Path, change: str) -> None:
    assert received(tmp_path, template, "net", CHANGES[change], Exchanging) == 0


def test_a_link_in_the_place_of_a_run_receives_nothing(tmp_path: Path, template: Path) -> None:
    assert received(tmp_path, template, f".runs/{RUN}", checkpoint, Exchanging) == 0


@pytest.mark.parametrize("change", CHANGES)
def test_positive_control_without_a_descriptor_it_does(tmp_path: Path, template: Path, change: str) -> None:
    assert received(tmp_path, template, "net", CHANGES[change], ByName) > 0


def test_positive_control_without_a_descriptor_a_run_does(tmp_path: Path, template: Path) -> None:
    assert received(tmp_path, template, f".runs/{RUN}", checkpoint, ByName) > 0


@pytest.mark.parametrize("other", ["link", "folder", "nothing"])
def test_a_version_in_a_folder_that_lost_its_name_is_not_acknowledged(
    tmp_path: Path, template: Path, other: str
) -> None:
    class Moving(Files):
        def link(self, source: Path, target: Path) -> None:
            (template / "net").rename(template / "moved")
            if other == "link":
                (template / "net").symlink_to(template / "moved")
            elif other == "folder":
                (template / "net").mkdir()
            super().link(source, target)

    with pytest.raises(RegistryError, match=r"net was moved or replaced meanwhile: what was written is in the folder"):
        Registry(template, files=Moving()).save(MODEL, "net")
    assert (template / "moved" / "v000003.h5").exists()
    assert not (template / "net" / "v000004.h5").exists()


def test_what_a_link_in_the_place_of_a_temporary_file_points_to_is_not_registered(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"another's")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    with Files().hold(tmp_path):
        Files().link(tmp_path / "link", tmp_path / "second")
    assert (tmp_path / "second").is_symlink()
