"""Where a training took place, and which distributions took part."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from cnnkit.components import Catalog, Optimizer, Plugin, hookimpl, installed_plugins
from cnnkit.network import Sequential
from cnnkit.registry import Registry, environment, model_manifest
from cnnkit.registry.environment import deciding, differences, processor, system


def test_a_version_says_where_it_was_trained(registry: Registry, model: Sequential) -> None:
    registry.save(model, "net")
    found = registry.read("net").manifest.environment
    assert {"platform", "processor", "cores", "blas", "blas_kernels"} <= found.keys()
    assert int(found["cores"]) >= 1
    assert all(found.values())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Python tells it in words of its own")
def test_the_system_is_named_as_python_does() -> None:
    assert system() == platform.platform()


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
    monkeypatch.setattr(model_manifest, "installed_catalog", lambda: catalog)
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


def test_machine_code_is_compared_only_with_what_was_trained_by_some(monkeypatch: pytest.MonkeyPatch) -> None:
    here = deciding()
    assert differences(here) == []
    compiled = here | {"machine_code": "0123456789abcdef"}
    assert differences(compiled) == ["machine_code was 0123456789abcdef, it is none"]
    monkeypatch.setattr(environment, "identity", lambda: "0123456789abcdef")
    assert differences(compiled) == []
    monkeypatch.setattr(environment, "is_loaded", lambda: True)
    assert environment.environment()["machine_code"] == deciding()["machine_code"] == "0123456789abcdef"
    assert differences({}) == [f"{name} was unknown, it is {text}" for name, text in here.items()]
