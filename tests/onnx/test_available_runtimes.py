"""Which runtimes a validation finds: built-in ones, those of plugins, and why others are skipped."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest

from cnnkit.components import Catalog, Plugin, Runtime, hookimpl
from cnnkit.components.plugin_metadata import installed_plugins
from cnnkit.errors import CostError
from cnnkit.network import Sequential
from cnnkit.onnx.available_runtimes import Available, available_runtimes
from cnnkit.onnx.runtimes import RUNTIMES, OnnxRuntime, ReferenceEvaluator, is_installed
from cnnkit.onnx.unrolling import without_reference


class Elsewhere(Runtime):
    """A plugin's runtime."""


class Missing(Runtime):
    requires = "no-such-distribution"


class Configured(Runtime):
    def __init__(self, device: str) -> None:
        self.device = device


def plugin(distribution: str, hook: Callable[[], Any]) -> Plugin:
    module = types.ModuleType(distribution)
    module.cnnkit_runtimes = hookimpl(hook)  # type: ignore[attr-defined]  # of a module that is made here
    return Plugin(distribution, "1.2", distribution, lambda: module)


def found(*plugins: Plugin) -> Available:
    built_in = [one for one in installed_plugins() if one.distribution == "cnnkit"]
    return available_runtimes(Catalog([*plugins, *built_in]))


def test_runtimes_of_plugins_come_after_those_of_cnnkit() -> None:
    built_in = [cls() for cls in RUNTIMES if is_installed(cls)]
    available = found(plugin("a-runtime", lambda: [Elsewhere]))
    assert available.runtimes == [*built_in, Elsewhere()]
    assert available.broken == []


def test_a_runtime_of_a_name_that_two_plugins_bring_is_found_twice() -> None:
    available = found(plugin("one", lambda: [Elsewhere]), plugin("two", lambda: [Elsewhere]))
    assert available.runtimes[-2:] == [Elsewhere(), Elsewhere()]


def test_what_is_missing_or_needs_arguments_or_is_broken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxRuntime, "requires", "no-such-runtime")

    def fails() -> list[type[Runtime]]:
        raise ValueError("not today")

    available = found(plugin("a-runtime", lambda: [Missing, Configured]), plugin("b-runtime", fails))
    assert available.runtimes == [ReferenceEvaluator()]
    assert available.left_out() == (
        'OnnxRuntime was skipped: no-such-runtime is not installed; run: pip install "cnnkit[runtimes]"',
        "Missing was skipped: no-such-distribution is not installed; run: pip install no-such-distribution",
        "Configured was skipped: choose it by its expression; "
        "Configured(): missing a required argument: 'device'; expected Configured(device)",
        "b-runtime 1.2 is broken and may provide a runtime: cnnkit_runtimes() failed: ValueError: not today",
    )


def test_the_reference_evaluator_takes_no_part_where_it_copies_too_much() -> None:
    """A dilated kernel is filled with zeros there, and all that its windows see is copied."""
    layers = ["Conv2D(4000, 1)", "Conv2D(4000, 3, padding=3, dilation=3, groups=2000)"]
    model, runtimes = Sequential(layers, (1, 8, 8)), Available([ReferenceEvaluator(), OnnxRuntime()])
    (left,) = without_reference(runtimes, model).runtimes
    assert isinstance(left, OnnxRuntime)
    assert (
        without_reference(runtimes, model).left_out()[0].startswith("ReferenceEvaluator was skipped: it takes about 2")
    )
    with pytest.raises(CostError, match=r"only ReferenceEvaluator, and it takes .* conv2d_2 = .* without validation"):
        without_reference(Available([ReferenceEvaluator()]), model)
    small = Sequential(["Conv2D(64, 3, padding=1)", "Conv2D(64, 3, padding=1)"], (3, 224, 224))
    assert without_reference(runtimes, small) is runtimes
