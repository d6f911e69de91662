"""The revision of the checkout, and that nothing of the checkout is run to find it out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from test_registry_system_calls import may_trace  # type: ignore[import-not-found]  # beside this file

from cnnkit.network import Sequential
from cnnkit.process_activity import PROCESSES
from cnnkit.registry import Registry
from cnnkit.registry import revision as module
from cnnkit.registry.revision import revision


def git(*arguments: str) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    monkeypatch.chdir(folder)
    git("init")
    (folder / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "first")
    git("tag", "-a", "-m", "x", "v1")
    return folder


def test_the_revision_is_that_of_the_checkout(checkout: Path, registry: Registry, model: Sequential) -> None:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert revision() == commit
    (checkout / "new").touch()
    assert revision() == commit
    (checkout / "file").write_text("two")
    assert revision() == f"{commit}-dirty"
    registry.save(model, "net")
    assert registry.read("net").manifest.environment["revision"] == f"{commit}-dirty"


def program(checkout: Path, name: str = "program", then: str = "exec /bin/cat") -> str:
    """A program in the checkout that leaves the file `ran`, and then hands on what it gets; its path."""
    path = checkout / name
    path.write_text(f"#!/bin/sh\n/usr/bin/touch '{checkout}/ran'\n{then}\n")
    path.chmod(0o755)
    return str(path)


def touch(checkout: Path) -> None:
    """Let git look at the bytes of the file, for it has another time now."""
    os.utime(checkout / "file", (1, 1))


def monitor(checkout: Path) -> None:
    git("config", "core.fsmonitor", program(checkout))


def filtered(checkout: Path, name: str = "mine", key: str = "clean") -> None:
    (checkout / ".gitattributes").write_text(f"file filter={name}\n")
    git("config", f"filter.{name}.{key}", program(checkout))
    git("config", f"filter.{name}.required", "true")
    touch(checkout)


def included(checkout: Path) -> None:
    (checkout / ".gitattributes").write_text("file filter=mine\n")
    (checkout / "more").write_text(f'[filter "mine"]\nclean = {program(checkout)}\n')
    git("config", "include.path", "../more")
    touch(checkout)


def in_a_submodule(checkout: Path) -> None:
    inner = checkout / "inner"
    git("init", "inner")
    (inner / "file").write_text("one")
    git("-C", "inner", "add", "file")
    git("-C", "inner", "commit", "-m", "first")
    git("-c", "advice.addEmbeddedRepo=false", "add", "inner")
    git("commit", "-m", "second")
    (inner / ".gitattributes").write_text("file filter=mine\n")
    git("-C", "inner", "config", "filter.mine.clean", program(checkout))
    git("config", "submodule.inner.ignore", "none")
    touch(inner)


def from_the_path(checkout: Path) -> None:
    program(checkout, "git")
    os.environ["PATH"] = os.pathsep.join(["", ".", os.environ["PATH"]])


def hidden_objects(checkout: Path) -> None:
    """A partial clone fetches what it lacks with the program that its configuration names."""
    tree = subprocess.run(["git", "rev-parse", "HEAD^{tree}"], check=True, capture_output=True, text=True)
    name = tree.stdout.strip()
    shutil.rmtree(checkout / ".git" / "objects" / name[:2])
    settings = {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
    }
    settings |= {
        "remote.origin.url": str(checkout / "elsewhere"),
        "remote.origin.uploadpack": program(checkout, then="exit 1"),
    }
    subprocess.run(["/usr/bin/env", "git", "init", "--bare", "elsewhere"], check=True, capture_output=True)
    for key, value in settings.items():
        git("config", key, value)


DESCRIBE = ["git", "describe", "--always", "--dirty", "--abbrev=64", "--exclude=*"]
"""Positive control: what runs each of the programs."""
HOSTILE: dict[str, Callable[[Path], None]] = {
    "fsmonitor": monitor,
    "clean filter": filtered,
    "process filter": lambda checkout: filtered(checkout, key="process"),
    "filter with a strange name": lambda checkout: filtered(checkout, "a=b.c"),
    "included filter": included,
    "submodule": in_a_submodule,
    "git in the working folder": from_the_path,
    "fetch": hidden_objects,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_nothing_of_the_checkout_is_run(checkout: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("PATH", os.environ["PATH"])  # so that it is as it was afterwards
    HOSTILE[kind](checkout)
    found = revision()
    assert not (checkout / "ran").exists()
    assert found or kind == "fetch"
    subprocess.run(DESCRIBE, stdin=subprocess.DEVNULL, capture_output=True, timeout=600)
    assert (checkout / "ran").exists()


AUDIT = """
import os, sys
import h5py  # it asks uname for the name of the system
ran = []
def hook(event, arguments):
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.spawn"):
        ran.append(os.fsdecode(arguments[0]))
sys.addaudithook(hook)
from cnnkit.registry import Registry
from cnnkit.network import Sequential
Registry("registry").save(Sequential(["Dense(2)"], (3,)), "net")
assert Registry("registry").read("net").manifest.environment["revision"].endswith("-dirty")
print("\\n".join(ran))
"""


def test_a_save_starts_git_alone_by_its_whole_path(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python starts, by its audit hook, and what all processes start, by strace where it is installed."""
    (checkout / "file").write_text("two")
    filtered(checkout)
    monkeypatch.setenv("PATH", os.environ["PATH"])  # so that it is as it was afterwards
    from_the_path(checkout)
    traced = checkout.with_name("executed")
    tracer = ["strace", "-f", "-e", "trace=execve", "-o", str(traced)] if may_trace() else []
    done = subprocess.run([*tracer, sys.executable, "-P", "-c", AUDIT], capture_output=True, text=True, check=True)
    ran = done.stdout.split("\n")[:-1]
    assert ran == ["/usr/bin/env"] * 3
    if tracer:
        executed = re.findall(r'execve\("([^"]*)"', traced.read_text())
        executed = [path for path in executed[1:] if os.path.basename(path) != "uname"]  # h5py asks for that
        assert {os.path.basename(path) for path in executed} == {"env", "git"}
        assert [path for path in executed if not os.path.isabs(path) or path.startswith(str(checkout))] == []


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)


def branch(checkout: Path) -> Path:
    return checkout / ".git" / (checkout / ".git" / "HEAD").read_text().partition(" ")[2].strip()


def own_settings(checkout: Path) -> None:
    git("config", "extensions.worktreeConfig", "true")
    pipe(checkout / ".git" / "config.worktree")


def included_pipe(checkout: Path) -> None:
    pipe(checkout / "more")
    settings = checkout / ".git" / "config"
    settings.write_text(settings.read_text() + "[include]\npath = ../more\n")


def linked(checkout: Path, name: str) -> None:
    git("worktree", "add", "../linked")
    os.chdir("../linked")
    pipe(checkout / ".git" / "worktrees" / "linked" / name)


def attributes(checkout: Path) -> None:
    pipe(checkout / ".gitattributes")
    touch(checkout)


def bare(checkout: Path) -> None:
    """Without `.git`, the working folder itself may be what is in one."""
    shutil.rmtree(checkout / ".git")
    pipe(checkout / "HEAD")


def endless(checkout: Path) -> None:
    branch(checkout).unlink()
    branch(checkout).symlink_to("/dev/zero")


WAITING: dict[str, Callable[[Path], None]] = {
    "config": lambda checkout: pipe(checkout / ".git" / "config"),
    "config.worktree": own_settings,
    "include.path": included_pipe,
    "HEAD": lambda checkout: pipe(checkout / ".git" / "HEAD"),
    "index": lambda checkout: pipe(checkout / ".git" / "index"),
    "branch": lambda checkout: pipe(branch(checkout)),
    "packed-refs": lambda checkout: pipe(checkout / ".git" / "packed-refs"),
    "alternates": lambda checkout: pipe(checkout / ".git" / "objects" / "info" / "alternates"),
    "commondir": lambda checkout: linked(checkout, "commondir"),
    "HEAD of a worktree": lambda checkout: linked(checkout, "HEAD"),
    "attributes": attributes,
    "bare": bare,
    "endless": endless,
}


@pytest.mark.skipif(not PROCESSES.is_dir(), reason="the system does not tell what processes do")
@pytest.mark.parametrize("kind", WAITING)
def test_no_pipe_of_the_checkout_is_waited_for(checkout: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(module, "SECONDS", 1800)
    WAITING[kind](checkout)
    assert revision() == ""


def test_a_file_that_was_only_touched_has_not_changed(checkout: Path) -> None:
    touch(checkout)
    assert not revision().endswith("-dirty")


def test_the_settings_of_the_user_stay(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fileMode")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "false")
    (checkout / "file").chmod(0o755)
    assert not revision().endswith("-dirty")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "0")
    assert revision().endswith("-dirty")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "many")
    assert revision() == ""


def test_outside_a_checkout_there_is_no_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: Registry, model: Sequential
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    registry.save(model, "net")
    assert "revision" not in registry.read("net").manifest.environment
    git("init")
    assert revision() == ""  # nothing is committed yet


def test_a_git_that_is_missing_hangs_or_babbles_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.2)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert revision() == ""
    for body in ("exec /bin/sleep 60", "printf '\\377'", "echo nonsense", "exit 1"):
        (tmp_path / "git").write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "git").chmod(0o755)
        assert revision() == ""


@pytest.mark.parametrize(("code", "known"), [(0, True), (1, True), (3, False)])
def test_a_git_that_cannot_tell_its_filters_is_not_asked_for_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, known: bool
) -> None:
    commit = "0123456789" * 4
    answers = f"case $1 in rev-parse) echo {commit};; config) exit {code};; *) touch {tmp_path / 'asked'};; esac"
    (tmp_path / "git").write_text(f"#!/bin/sh\n{answers}\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.defpath}")
    assert revision() == (commit if known else "")
    assert (tmp_path / "asked").exists() == known
