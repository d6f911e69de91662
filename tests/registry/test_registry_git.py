"""Registries in git: the line ends of texts, Git LFS, and the attributes of a new one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cnnkit.errors import RegistryError
from cnnkit.network import Sequential
from cnnkit.registry import Registry, Runs
from cnnkit.registry.bundle import read_version_file
from cnnkit.registry.format import git

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 12345\n" % (b"0" * 64)
CHANGED = "text files were changed by autocrlf, their lines end with CR LF; see 'Registries in git' in docs/guide-regis"


def run(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def cloned(registry: Registry, *settings: str) -> Registry:
    """The same registry after a stay in git."""
    run(registry.path.parent, "init")
    run(registry.path.parent, "add", "--all")
    run(registry.path.parent, "commit", "-m", "x")
    run(registry.path.parent, "clone", *settings, ".", "clone")
    return Registry(registry.path.parent / "clone" / registry.path.name)


def filled(registry: Registry, model: Sequential) -> Registry:
    registry.save(model, "net")
    registry.set_alias("net@1", "best")
    registry.describe("net@1", "one\ntwo")
    registry.set_tag("net@1", "stage", "candidate")
    return registry


def test_a_new_registry_survives_a_git_that_changes_line_ends(registry: Registry, model: Sequential) -> None:
    there = cloned(filled(registry, model), "-c", "core.autocrlf=true")
    assert (there.path / ".gitattributes").read_bytes() == git.CONTENT
    assert there.verify() == []
    assert there.read("net@best").version.digest == registry.find("net@1").digest
    assert (there.description("net@1"), there.tags("net@1")) == ("one\ntwo", {"stage": "candidate"})


def test_texts_that_git_has_changed_are_named(registry: Registry, model: Sequential) -> None:
    filled(registry, model)
    (registry.path / ".gitattributes").unlink()
    there = cloned(registry, "-c", "core.autocrlf=true")
    for use in (
        lambda: there.read("net@1"),
        lambda: there.find("net@best"),
        lambda: there.description("net@1"),
        lambda: there.save(model, "net"),
    ):
        with pytest.raises(RegistryError, match=CHANGED):
            use()
    problems = {problem.path.name: problem.text for problem in there.verify()}
    assert set(problems) == {"digests.log", "best.alias", "v000001.description", "v000001.stage.tag"}
    assert all(CHANGED in text for text in problems.values())
    (entry,) = there.search()
    assert entry.problem.startswith("digests.log: it is damaged: the digest log ")
    assert CHANGED in entry.problem


def test_pointers_of_git_lfs_are_named(registry: Registry, model: Sequential) -> None:
    filled(registry, model)
    path = registry.find("net@1").path
    whole = path.read_bytes()
    path.write_bytes(POINTER)
    named = "it is a pointer of Git LFS, not the data: run `git lfs pull`"
    with pytest.raises(RegistryError, match=named):
        registry.read("net@1")
    assert [entry.problem for entry in registry.search()] == [f"it is damaged: {named}"]
    with pytest.raises(RegistryError, match=rf"v000001\.h5 cannot be imported: {named}"):
        read_version_file(path)
    path.write_bytes(whole)
    for name in ("digests.log", "best.alias", "v000001.description"):
        kept = path.with_name(name).read_bytes()
        path.with_name(name).write_bytes(POINTER)
        assert [named in problem.text for problem in registry.verify()] == [True], name
        path.with_name(name).write_bytes(kept)
    assert registry.verify() == []


def pointed(data: bytes) -> bytes:
    return POINTER


def with_other_ends(data: bytes) -> bytes:
    return data.replace(b"\n", b"\r\n")


@pytest.mark.parametrize("change", [pointed, with_other_ends])
def test_a_log_that_git_has_changed_is_not_written_to(
    registry: Registry, model: Sequential, change: Callable[[bytes], bytes]
) -> None:
    path = registry.save(model, "net").path.with_name("digests.log")
    path.write_bytes(changed := change(path.read_bytes()))
    cannot = r"the digest log .*digests\.log cannot be used: "
    with pytest.raises(RegistryError, match=cannot):
        registry.delete("net@1")
    with pytest.raises(RegistryError, match=cannot):
        registry.save(model, "net")
    assert path.read_bytes() == changed
    assert path.with_name("v000001.h5").stat().st_size > len(POINTER)


def test_a_text_with_carriage_returns_is_refused(registry: Registry, model: Sequential) -> None:
    registry.save(model, "net")
    with pytest.raises(
        RegistryError, match=r"a description has line breaks as LF, .* and no CR, .*; got 'one\\r\\ntwo'"
    ):
        registry.describe("net@1", "one\r\ntwo")


def test_only_an_empty_folder_gets_attributes(tmp_path: Path, model: Sequential) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "README.md").touch()
    Registry(tmp_path / "own").save(model, "net")
    assert not (tmp_path / "own" / ".gitattributes").exists()
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    Registry(tmp_path / "link").save(model, "net")
    assert (tmp_path / "empty" / ".gitattributes").exists()
    with Runs(tmp_path / "runs").new("net") as run:
        run.save({}, {})
    assert sorted(os.listdir(tmp_path / "runs")) == [".gitattributes", ".runs"]
    shutil.rmtree(tmp_path / "runs")
