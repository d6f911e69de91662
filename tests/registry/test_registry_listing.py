"""Listings go on past what cannot be read, and say so."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from cnnkit.errors import RegistryError
from cnnkit.network import Sequential
from cnnkit.registry import Files, Registry


class Closed(Files):
    """Files of which one, or a folder, cannot be read."""

    def __init__(self, name: str, number: int = errno.EACCES) -> None:
        self.name, self.number = name, number

    def _refuse(self, path: Path) -> None:
        if path.name == self.name:
            raise OSError(self.number, os.strerror(self.number), str(path))

    def read(self, path: Path, most: int, *, whole: bool = True, **options: Any) -> bytes:
        self._refuse(path)
        return super().read(path, most, whole=whole, **options)

    def names(self, folder: Path) -> list[str]:
        self._refuse(folder)
        return super().names(folder)


@pytest.fixture
def filled(registry: Registry, model: Sequential) -> Registry:
    for name in ("a", "b", "b"):
        registry.save(model, name)
    registry.set_alias("b@1", "best")
    registry.set_tag("b@2", "stage", "one")
    (registry.path / "b" / "facts.log").unlink()
    return registry


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("v000002.h5", {"b@2": "it cannot be read: "}),
        ("digests.log", dict.fromkeys(("a@1", "b@1", "b@2"), "digests.log: it cannot be read: ")),
        ("b", {"b": "it cannot be read: "}),
    ],
)
def test_what_cannot_be_read_is_a_row(filled: Registry, name: str, rows: dict[str, str], number: int) -> None:
    entries = Registry(filled.path, files=Closed(name, number)).search()
    told = {entry.ref: entry.problem for entry in entries if entry.problem}
    assert told == {ref: text + os.strerror(number) for ref, text in rows.items()}
    expected = ["a@1", "b"] if name == "b" else ["a@1", "b@1", "b@2"]
    assert [entry.ref for entry in entries] == expected
    assert all((entry.facts is None) == bool(entry.problem) for entry in entries)


@pytest.mark.parametrize("name", ["best.alias", "v000002.stage.tag"])
def test_what_stands_beside_the_versions_may_be_closed(filled: Registry, name: str) -> None:
    registry = Registry(filled.path, files=Closed(name))
    assert [entry.ref for entry in registry.search() if not entry.problem] == ["a@1", "b@1", "b@2"]
    assert registry.aliases("b") == ({} if name == "best.alias" else {"best": 1})
    assert [problem.path.name for problem in registry.verify()] == [name]


def test_versions_and_models_that_are_closed_are_listed(filled: Registry) -> None:
    registry = Registry(filled.path, files=Closed("v000002.h5"))
    assert [bool(version.digest) for version in registry.versions("b")] == [True, False]
    with pytest.raises(RegistryError, match=r"cannot read b@2: Permission denied"):
        registry.read("b@2")
    assert Registry(filled.path, files=Closed("b")).models() == ["a", "b"]


def test_a_deleted_version_is_no_row_whatever_the_log(filled: Registry) -> None:
    filled.delete("b@2")
    entries = Registry(filled.path, files=Closed("digests.log")).search(name="b")
    assert [entry.ref for entry in entries] == ["b@1"]


def test_a_damaged_version_says_why(filled: Registry) -> None:
    os.truncate(filled.find("a@1").path, 600)
    problems = [entry.problem for entry in filled.search()]
    assert problems[0].startswith("it is damaged: it should have ")
    assert problems[1:] == ["", ""]


def test_a_deletion_says_which_version(filled: Registry) -> None:
    with pytest.raises(
        RegistryError, match=r"which version of b is to be deleted\? the latest versions are 1, 2; expec"
    ):
        filled.delete("b")
    with pytest.raises(RegistryError, match="there is no model 'c'"):
        filled.delete("c")
    assert filled.delete("b@latest").number == 2


def test_a_version_that_is_deleted_while_it_is_listed_is_no_row(filled: Registry) -> None:
    class Deleting(Files):
        def read(self, path: Path, most: int, *, whole: bool = True, **options: Any) -> bytes:
            if path.name == "v000002.h5" and filled.versions("b")[-1].number == 2:
                filled.delete("b@2")
            return super().read(path, most, whole=whole, **options)

    assert [entry.ref for entry in Registry(filled.path, files=Deleting()).search(name="b")] == ["b@1"]
