"""Where a training took place, and which distributions took part."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cnnkit.components import Catalog, Optimizer, Plugin, hookimpl, installed_plugins
from cnnkit.network import Sequential
from cnnkit.registry import Registry, environment, models
from cnnkit.registry.environment import processor, revision


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


def test_a_version_says_where_it_was_trained(registry: Registry, model: Sequential) -> None:
    registry.save(model, "net")
    found = registry.read("net").manifest.environment
    assert {"platform", "processor", "cores", "blas", "blas_kernels"} <= found.keys()
    assert int(found["cores"]) >= 1
    assert all(found.values())


def test_the_revision_is_that_of_the_checkout(checkout: Path, registry: Registry, model: Sequential) -> None:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert revision() == commit
    (checkout / "new").touch()
    assert revision() == commit
    (checkout / "file").write_text("two")
    assert revision() == f"{commit}-dirty"
    registry.save(model, "net")
    assert registry.read("net").manifest.environment["revision"] == f"{commit}-dirty"


def test_git_runs_no_program_that_the_checkout_names(checkout: Path) -> None:
    program = checkout / "monitor"
    program.write_text(f"#!/bin/sh\ntouch {checkout}/ran\n")
    program.chmod(0o755)
    git("config", "core.fsmonitor", str(program))
    assert revision() != ""
    assert not (checkout / "ran").exists()
    subprocess.run(["git", "status"], check=True, capture_output=True)  # positive control
    assert (checkout / "ran").exists()


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
    monkeypatch.setattr(environment, "GIT_SECONDS", 0.2)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert revision() == ""
    for body in ("exec /bin/sleep 60", "printf '\\377'", "echo nonsense", "exit 1"):
        (tmp_path / "git").write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "git").chmod(0o755)
        assert revision() == ""


def test_the_processor_has_a_name_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert processor().strip() != ""
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "cpuinfo")
    assert processor().strip() != ""
    (tmp_path / "cpuinfo").write_text("flags : a\nmodel name\t: A Processor: 3\nmodel name\t: other\n")
    assert processor() == "A Processor: 3"


class Lazy(Optimizer):
    """An optimizer of a plugin."""

    def __init__(self, lr: float = 0.1) -> None:
        self.lr = lr


class Good:
    @hookimpl
    def cnnkit_optimizers(self) -> list[type[Optimizer]]:
        return [Lazy]


def test_distributions_behind_the_recipe_are_named(
    registry: Registry, model: Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported: list[str] = []
    plugins = [Plugin("good", "1.5", "good", Good), Plugin("idle", "1", "idle", lambda: imported.append("idle"))]
    catalog = Catalog([*installed_plugins(), *plugins])
    monkeypatch.setattr(models, "installed_catalog", lambda: catalog)
    recipe = {"train": {"optimizer": "good:Lazy(0.1)", "metrics": ["Accuracy()", "Mine()"], "loss": "not readable"}}
    registry.save(model, "net", recipe=recipe, dataset={"name": "Digits()", "digest": ""})
    assert "good" not in registry.read("net").manifest.versions  # the training cannot have used what is not loaded
    catalog.build("optimizer", "good:Lazy(0.1)")
    registry.save(model, "net", recipe=recipe)
    versions = registry.read("net").manifest.versions
    assert versions["good"] == "1.5"
    assert versions.keys() == {"python", "numpy", "h5py", "cnnkit", "good"}
    assert imported == []


def test_what_a_plugin_brings_is_told_without_an_import() -> None:
    imported: list[str] = []
    plugins = [Plugin("good", "1", "good", Good), Plugin("idle", "1", "idle", lambda: imported.append("idle"))]
    catalog = Catalog([*installed_plugins(), *plugins])
    assert catalog.bringing("optimizer", "Lazy") is None
    catalog.load(plugins[0])
    found = catalog.bringing("optimizer", "Lazy")
    assert found is not None
    assert found.distribution == "good"
    assert catalog.bringing("optimizer", "Lazy", "other") is None
    assert imported == []
