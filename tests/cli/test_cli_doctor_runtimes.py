"""`doctor` on runtimes: each that cnnkit or a plugin provides, in which version, and what is wrong with it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from cnnkit.components import Catalog, Plugin, Runtime, hookimpl, installed_plugins
from cnnkit.onnx.runtimes import OnnxRuntime, ReferenceEvaluator
from cnnkit.types import Array

Doctor = Callable[..., Any]


class Quick(ReferenceEvaluator):
    """A runtime that is its plugin's own."""


class OverNumpy(ReferenceEvaluator):
    """A runtime that needs another distribution, which is there."""

    requires: ClassVar[str] = "numpy"


class OverJson(ReferenceEvaluator):
    """A runtime whose requirement is there as a module alone, as of a variant."""

    requires: ClassVar[str] = "json"


class Absent(Runtime):
    """A runtime whose requirement is missing."""

    requires: ClassVar[str] = "no-such-thing"


class Broken(Runtime):
    """A runtime that cannot run."""

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        raise ImportError("libbroken.so: cannot open shared object file")


class Off(ReferenceEvaluator):
    """A runtime that is wrong by a little."""

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return {name: np.asarray(array * 1.001) for name, array in super().run(model, inputs).items()}


class Choosy(Runtime):
    """A runtime that cannot be made without an argument."""

    def __init__(self, device: str) -> None:
        self.device = device


@pytest.fixture
def doctor(cli: Any, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """`cnnkit doctor`, beside a plugin with these runtimes."""

    def run(*classes: type[Runtime]) -> Any:
        module = SimpleNamespace(cnnkit_runtimes=hookimpl(specname="cnnkit_runtimes")(lambda: list(classes)))
        own = (plugin for plugin in installed_plugins() if plugin.distribution == "cnnkit")
        catalog = Catalog([*own, Plugin("cnnkit-fast", "0.3", "cnnkit_fast", lambda: module)])
        monkeypatch.setattr("cnnkit.components.installed_catalog", lambda: catalog)
        return cli("doctor", "--json")

    return run


def test_runtimes_are_listed_with_what_executes_them(doctor: Doctor) -> None:
    result = doctor(Quick, OverNumpy, OverJson)
    assert (result.code, result.document["problems"]) == (0, [])
    listed = result.document["runtimes"]
    assert "ReferenceEvaluator (cnnkit " in listed
    assert ", Quick (cnnkit-fast 0.3), " in listed
    assert f"OverNumpy (numpy {importlib.metadata.version('numpy')}, of cnnkit-fast 0.3)" in listed
    assert "OverJson (json, of cnnkit-fast 0.3)" in listed
    assert result.document["onnx"] == importlib.metadata.version("onnx")


def test_a_runtime_that_is_not_installed_is_no_problem(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxRuntime, "requires", "no-such-runtime")
    result = doctor(Absent)
    assert (result.code, result.document["problems"]) == (0, [])
    assert "OnnxRuntime (no-such-runtime is not installed)" in result.document["runtimes"]
    assert "Absent (no-such-thing is not installed, of cnnkit-fast 0.3)" in result.document["runtimes"]


@pytest.mark.parametrize(
    ("runtime", "problem"),
    [
        (Broken, "ImportError: libbroken.so: cannot open shared object file"),
        (Off, "its output for a ReLU differs from cnnkit's"),
        (Choosy, "ConfigError: Choosy(): missing a required argument: 'device'; expected Choosy(device)"),
    ],
)
def test_a_runtime_that_does_not_work_is_a_problem(doctor: Doctor, runtime: type[Runtime], problem: str) -> None:
    result = doctor(runtime)
    name = runtime.__name__
    assert result.code == 1
    assert result.document["problems"] == [f"cnnkit-fast 0.3: the runtime {name} does not work: {problem}"]
    assert f"{name} (cnnkit-fast 0.3; does not work)" in result.document["runtimes"]


def test_the_distributions_that_are_trusted_are_shown(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CNNKIT_TRUST", raising=False)
    assert cli("doctor", "--json").document["trusted"] == "no plugin"
    monkeypatch.setenv("CNNKIT_TRUST", "My_Plugin,another")
    assert cli("doctor", "--json").document["trusted"] == "another, my-plugin"
    monkeypatch.setenv("CNNKIT_TRUST", "a;b")
    result = cli("doctor", "--json")
    assert result.code == 1
    assert result.document["trusted"] == "CNNKIT_TRUST cannot be used"
    assert result.document["problems"] == [
        "CNNKIT_TRUST: expected the name of a distribution, such as cnnkit-elastic, got 'a;b'"
    ]
