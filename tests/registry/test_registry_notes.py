"""Descriptions, tags, verdicts and what aliases require: small files beside versions that never change."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from failing import Failing, PowerOff  # type: ignore[import-not-found]  # beside this file

from cnnkit.errors import RegistryError
from cnnkit.network import Sequential
from cnnkit.registry import Files, Registry, Verdict, notes
from cnnkit.registry.aliases import Alias
from cnnkit.registry.notes import Note, note_of

TIME = "2026-03-01T12:00:00+00:00"


def verdict(registry: Registry, ref: str = "net@1", **changes: Any) -> Verdict:
    passed = Verdict(registry.find(ref).digest, True, ("ReferenceEvaluator()", "OnnxRuntime()"), 1e-7, 0, TIME)
    return dataclasses.replace(passed, **changes)


@pytest.fixture
def saved(registry: Registry) -> Registry:
    for seed in (1, 2):
        registry.save(Sequential(["Dense(2)"], (3,), seed=seed), "net")
    return registry


def test_a_description_is_written_replaced_and_removed(saved: Registry) -> None:
    before = saved.find("net@1").path.read_bytes()
    assert saved.description("net@1") == ""
    assert saved.describe("net@1", "zwei\nZeilen ü").ref == "net@1"
    assert saved.description("net@1") == "zwei\nZeilen ü"
    saved.describe("net@1", "other")
    assert (saved.description("net@1"), saved.description("net@2")) == ("other", "")
    for _ in range(2):  # removing what is not there is no error
        saved.describe("net@1", "")
        assert saved.description("net@1") == ""
    assert not (saved.path / "net" / "v000001.description").exists()
    assert saved.find("net@1").path.read_bytes() == before
    assert saved.verify() == []


def test_tags_are_one_file_each(saved: Registry) -> None:
    saved.set_tag("net@1", "stage", "candidate")
    saved.set_tag("net@1", "is.tag.x", "x=y")
    saved.set_tag("net@1", "stage", "final")
    assert saved.tags("net@1") == {"is.tag.x": "x=y", "stage": "final"}
    assert saved.tags("net@2") == {}
    assert sorted(path.name for path in (saved.path / "net").glob("*.tag")) == [
        "v000001.is.tag.x.tag",
        "v000001.stage.tag",
    ]
    assert saved.verify() == []
    saved.remove_tag("net@1", "stage")
    assert saved.tags("net@1") == {"is.tag.x": "x=y"}
    with pytest.raises(RegistryError, match=r"net@1 has no tag 'stage': .* is\.tag\.x"):
        saved.remove_tag("net@1", "stage")


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda r: r.set_tag("net@1", "../x", "a"), "a tag's key is named like a model, .*; got '../x'"),
        (lambda r: r.set_tag("net@1", "", "a"), "a tag's key is named like a model"),
        (
            lambda r: r.set_tag("net@1", "key", " "),
            "the tag key must have 1 to 65,535 bytes and not be blank; it has 1",
        ),
        (lambda r: r.set_tag("net@1", "key", "a" * 2**16), "the tag key must have 1 to 65,535 bytes"),
        (lambda r: r.set_tag("net@1", "key", 3), "the tag key must be text that UTF-8 can hold, got 3"),
        (lambda r: r.describe("net@1", "\ud800"), "a description must be text that UTF-8 can hold"),
        (lambda r: r.describe("net@9", "x"), "net@9 does not exist"),
        (
            lambda r: r.set_verdict("net@1", verdict(r, digest="0" * 64)),
            "the verdict is of a version with the digest 000",
        ),
        (lambda r: r.set_verdict("net@1", verdict(r, flips=-1)), "a verdict cannot have flips = -1"),
        (lambda r: r.set_verdict("net@1", verdict(r, samples=0)), "a verdict cannot have samples = 0"),
        (lambda r: r.set_verdict("net@1", verdict(r, disagree="one")), "a verdict cannot have disagree = 'one'"),
        (lambda r: r.set_verdict("net@1", verdict(r, disagree=(1,))), "a verdict cannot have disagree = "),
        (lambda r: r.set_verdict("net@1", verdict(r, time="today")), "a verdict cannot have time = 'today'"),
        (lambda r: r.set_verdict("net@1", verdict(r, max_relative=float("nan"))), "a verdict cannot have max_relative"),
        (
            lambda r: r.set_alias("net@1", "best", "perfect"),
            "an alias can require 'validated' or 'none', got 'perfect'",
        ),
    ],
)
def test_what_is_no_note_is_refused_and_nothing_is_written(
    saved: Registry, use: Callable[[Registry], object], message: str
) -> None:
    before = sorted(os.listdir(saved.path / "net"))
    with pytest.raises(RegistryError, match=message):
        use(saved)
    assert sorted(os.listdir(saved.path / "net")) == before


def test_a_verdict_is_kept(saved: Registry) -> None:
    assert saved.verdict("net@1") is None
    for told in (verdict(saved), verdict(saved, ok=False, max_relative=None, flips=3)):
        saved.set_verdict("net@1", told)
        assert saved.verdict("net@1") == told
    assert str(told) == (
        f"FAILED on {TIME} with ReferenceEvaluator(), OnnxRuntime(); largest relative error unknown, label flips 3"
    )
    told = verdict(saved, samples=1000, disagree=("OpenCV() 4.5", "NCNN()"))
    assert str(told) == (
        f"passed on {TIME} with ReferenceEvaluator(), OnnxRuntime() and 1,000 samples; largest relative error 1.0e-07, "
        "label flips 0; other answers by OpenCV() 4.5, NCNN()"
    )
    saved.set_verdict("net@1", told)
    assert saved.verdict("net@1") == told
    asked_nothing = verdict(saved, ok=False, runtimes=(), max_relative=None)
    assert str(asked_nothing).startswith(f"FAILED on {TIME} with no runtime; ")
    saved.set_verdict("net@1", asked_nothing)
    assert saved.verdict("net@1") == asked_nothing
    assert saved.verify() == []


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("v000001.description", Note(1, "description")),
        ("v1000000.verdict", Note(1_000_000, "verdict")),
        ("v000012.stage.tag", Note(12, "tag", "stage")),
        ("v000001.description.tag", Note(1, "tag", "description")),
        ("v000001.tag", None),
        ("v000001.UPPER.tag", None),
        ("v000000.verdict", None),
        ("v1.verdict", None),
        ("v000001.h5", None),
        ("v000001.stage.tag.alias", None),
    ],
)
def test_notes_are_known_by_their_names(name: str, note: Note | None) -> None:
    assert note_of(name) == note


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("v000001.description", b"", "it is damaged: the note .* must hold text in UTF-8 and a line break"),
        ("v000001.description", b"cut", "it is damaged: the note"),
        ("v000001.stage.tag", b"\xff\n", "it is damaged: the note"),
        ("v000001.stage.tag", b"a" * (2**16 + 1), "it is damaged: .* has 65,537 bytes; at most 65,536 are read"),
        (
            "v000001.verdict",
            b"{}",
            "it is damaged: the verdict .* is damaged, validate .*: a verdict must be an object",
        ),
        ("v000001.verdict", b"{", "it is damaged: the verdict .* is damaged, validate the version again: its JSON"),
        ("v000009.description", b"text\n", "it is a note of version 9, which does not exist"),
        ("v000001.notes", b"text\n", "unexpected file name"),
    ],
)
def test_verify_finds_notes_that_are_damaged(saved: Registry, name: str, content: bytes, found: str) -> None:
    (saved.path / "net" / name).write_bytes(content)
    (problem,) = saved.verify()
    assert problem.path.name == name
    assert re.match(found, problem.text), problem.text
    assert saved.load("net@1").seed == 1
    assert saved.tags("net@1") == {}


def test_a_damaged_note_is_said_where_it_is_asked_for(saved: Registry) -> None:
    for name, ask in {"description": saved.description, "verdict": saved.verdict}.items():
        (saved.path / "net" / f"v000001.{name}").write_bytes(b"\xff")
        with pytest.raises(RegistryError, match=f"v000001.{name} "):
            ask("net@1")
    (saved.path / "net" / "v000002.verdict").symlink_to(saved.path / "net" / "v000001.verdict")
    with pytest.raises(RegistryError, match=r"v000002.verdict must be a regular file; it is a link"):
        saved.verdict("net@2")


def test_a_verdict_of_before_is_read(saved: Registry) -> None:
    """It did not say on how many samples, nor which runtimes gave other answers."""
    saved.set_verdict("net@1", verdict(saved))
    path = saved.path / "net" / "v000001.verdict"
    content = json.loads(path.read_text())
    assert (content.pop("samples"), content.pop("disagree")) == (None, [])
    path.write_text(json.dumps(content))
    assert saved.verdict("net@1") == verdict(saved)
    del content["flips"]
    path.write_text(json.dumps(content))
    with pytest.raises(RegistryError, match="a verdict must be an object with digest, ok"):
        saved.verdict("net@1")


def test_a_verdict_of_other_content_is_found(saved: Registry) -> None:
    saved.set_verdict("net@1", verdict(saved))
    (saved.path / "net" / "v000001.verdict").rename(saved.path / "net" / "v000002.verdict")
    (problem,) = saved.verify()
    assert problem.text == "it is the verdict on content other than that of version 2"


def test_a_damaged_version_is_reported_once_whatever_stands_beside_it(saved: Registry) -> None:
    saved.set_verdict("net@1", verdict(saved))
    path = saved.find("net@1").path
    path.write_bytes(b"x" + path.read_bytes()[1:])
    assert [problem.path for problem in saved.verify()] == [path]
    path.write_bytes(b"")
    assert [problem.path for problem in saved.verify()] == [path]


def test_deletion_takes_the_notes_along(saved: Registry) -> None:
    saved.describe("net@1", "text")
    saved.set_tag("net@1", "stage", "old")
    saved.set_tag("net@2", "stage", "new")
    saved.set_verdict("net@1", verdict(saved))
    saved.delete("net@1")
    left = sorted(path.name for path in (saved.path / "net").iterdir())
    assert left == ["digests.log", "facts.log", "v000001.h5", "v000002.h5", "v000002.stage.tag"]
    with pytest.raises(RegistryError, match="net@1 was deleted"):
        saved.tags("net@1")


def test_notes_that_a_deletion_left_mean_nothing_and_gc_removes_them(saved: Registry) -> None:
    class NoRemoval(Files):
        def remove(self, path: Path) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    saved.set_tag("net@1", "stage", "old")
    saved.set_tag("net@2", "stage", "new")
    Registry(saved.path, files=NoRemoval()).delete("net@1")
    note = saved.path / "net" / "v000001.stage.tag"
    assert note.exists()
    assert saved.verify() == []
    assert [entry.version.number for entry in saved.search("tag.stage~o")] == []
    assert note in saved.leftovers()
    assert note in saved.gc()
    assert saved.leftovers() == []
    assert saved.tags("net@2") == {"stage": "new"}


def test_a_protected_alias_takes_only_validated_versions(saved: Registry) -> None:
    with pytest.raises(RegistryError, match=r"net@production requires a validated version, and net@1 is not: it was "):
        saved.set_alias("net@1", "production", "validated")
    assert saved.aliases("net") == {}
    saved.set_verdict("net@1", verdict(saved))
    saved.set_alias("net@1", "production", "validated")
    assert (saved.path / "net" / "production.alias").read_bytes() == b"1\nrequire validated\n"
    assert saved.requirement("net", "production") == "validated"
    with pytest.raises(RegistryError, match="net@2 is not: it was never validated; run `cnnkit export net@2`, or lift"):
        saved.set_alias("net@2", "production")
    saved.set_verdict("net@2", verdict(saved, "net@2", ok=False))
    with pytest.raises(RegistryError, match=rf"net@2 is not: its last validation failed \({re.escape(TIME)}\)"):
        saved.set_alias("net@2", "production")
    (saved.path / "net" / "v000002.verdict").write_bytes((saved.path / "net" / "v000001.verdict").read_bytes())
    with pytest.raises(RegistryError, match="net@2 is not: its verdict is of other content"):
        saved.set_alias("net@2", "production")
    (saved.path / "net" / "v000002.verdict").write_bytes(b"{}")
    with pytest.raises(RegistryError, match=r"net@2 is not: the verdict .* is damaged"):
        saved.set_alias("net@2", "production")
    assert saved.aliases("net") == {"production": 1}
    saved.set_verdict("net@2", verdict(saved, "net@2"))
    saved.set_alias("net@2", "production")
    assert (saved.aliases("net"), saved.requirement("net", "production")) == ({"production": 2}, "validated")


def test_a_requirement_is_lifted_and_goes_with_its_alias(saved: Registry) -> None:
    saved.set_verdict("net@1", verdict(saved))
    saved.set_alias("net@1", "production", "validated")
    saved.set_alias("net@2", "production", "none")
    assert (saved.path / "net" / "production.alias").read_bytes() == b"2\n"
    saved.set_alias("net@1", "production", "validated")
    saved.remove_alias("net", "production")
    saved.set_alias("net@2", "production")
    assert saved.requirement("net", "production") == "none"


def test_verify_finds_a_protected_alias_on_a_version_that_fails(saved: Registry) -> None:
    saved.set_verdict("net@1", verdict(saved))
    saved.set_alias("net@1", "production", "validated")
    assert saved.verify() == []
    saved.set_verdict("net@1", verdict(saved, ok=False))
    (problem,) = saved.verify()
    assert problem.text.startswith("the alias requires a validated version, and version 1 is not: its last validation")


@pytest.mark.parametrize("content", [b"1", b"1\nrequire\n", b"1\nrequire other\n", b"1\nrequire validated", b"1\n\n"])
def test_an_alias_file_is_strict(saved: Registry, content: bytes) -> None:
    (saved.path / "net" / "best.alias").write_bytes(content)
    with pytest.raises(RegistryError, match="must hold one version number, and perhaps a line 'require validated'"):
        saved.find("net@best")
    with pytest.raises(RegistryError, match="must hold one version number"):
        saved.set_alias("net@1", "best")  # it may have been protected
    assert len(saved.verify()) == 1


def test_alias_files_of_both_kinds_are_read_as_written() -> None:
    assert (Alias(3).encode(), Alias(3, "validated").encode()) == (b"3\n", b"3\nrequire validated\n")


def test_two_changes_of_an_alias_do_not_undo_each_other(saved: Registry) -> None:
    """While one process has read that nothing is required, no other may require it, nor delete the version."""

    class Watching(Files):
        held: list[int]

        def lock(self, folder: Path) -> int:
            self.held = [super().lock(folder)]
            return self.held[0]

        def replace(self, source: Path, target: Path) -> None:
            other = os.open(saved.path / "net", os.O_RDONLY)
            with pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(other)
            super().replace(source, target)

    import fcntl

    files = Watching()
    registry = Registry(saved.path, files=files)
    registry.set_alias("net@1", "best")
    registry.delete("net@2")
    other = os.open(saved.path / "net", os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def test_a_note_is_written_in_one_step(saved: Registry) -> None:
    class Full(Files):
        def write(self, file: int, data: bytes | memoryview) -> None:
            super().write(file, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    saved.describe("net@1", "before")
    with pytest.raises(RegistryError, match="cannot describe net@1: No space left on device"):
        Registry(saved.path, files=Full()).describe("net@1", "after")
    assert saved.description("net@1") == "before"
    assert saved.leftovers() == []


CHANGES: dict[str, Callable[[Registry], object]] = {
    "description": lambda registry: registry.describe("net@1", "after"),
    "no description": lambda registry: registry.describe("net@1", ""),
    "tag": lambda registry: registry.set_tag("net@1", "stage", "after"),
    "no tag": lambda registry: registry.remove_tag("net@1", "stage"),
    "verdict": lambda registry: registry.set_verdict("net@1", verdict(registry, ok=False)),
    "protected alias": lambda registry: registry.set_alias("net@1", "best", "validated"),
}


@pytest.mark.parametrize("dead", [False, True], ids=["error", "crash"])
@pytest.mark.parametrize("change", CHANGES)
def test_whatever_operation_fails_a_note_is_old_or_new(
    saved: Registry, tmp_path: Path, change: str, dead: bool
) -> None:
    def state(registry: Registry) -> tuple[object, ...]:
        ref = "net@1"
        aliases = {name: registry.requirement("net", name) for name in registry.aliases("net")}
        return registry.description(ref), registry.tags(ref), registry.verdict(ref), aliases

    saved.describe("net@1", "before")
    saved.set_tag("net@1", "stage", "before")
    saved.set_verdict("net@1", verdict(saved))
    seen = []
    for at in range(1, 100):
        folder = shutil.copytree(saved.path, tmp_path / str(at))
        failing = Failing(at, dead)
        try:
            CHANGES[change](Registry(folder, files=failing))
        except (RegistryError, PowerOff):
            failing.end()
        seen.append(state(Registry(folder)))
        assert Registry(folder).verify() == []
        if failing.count < at:
            break
    assert state(saved) == seen[0] != seen[-1]
    assert all(one in (seen[0], seen[-1]) for one in seen)
    assert 3 < len(seen) < 99


def test_the_file_of_a_note_stands_beside_its_version() -> None:
    assert notes.note_file(Path("net/v000001.h5"), "stage.tag") == Path("net/v000001.stage.tag")
