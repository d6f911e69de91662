"""A model whose layer's plugin is installed in another version than the one that the model was saved with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit import load_model
from cnnkit.components import installed_catalog
from cnnkit.errors import PluginVersionWarning
from tests.cli.conftest import RECIPE

LAYER = """\
from cnnkit import Layer, hookimpl


class Twice(Layer):
    def forward(self, x, ctx):
        return {factor} * x, None

    def backward(self, dy, cache, ctx):
        return {factor} * dy, {{}}

    def lower(self, graph, x):
        return graph.add("Add", x, x)


@hookimpl
def cnnkit_layers():
    return [Twice]
"""
SAID = "tiny@1 was saved with my-twice 1.0, and my-twice 1.1 is installed: its answers differ if Twice has changed"


def install(site: Path, version: str, factor: float = 2) -> None:
    """Install this version in place of the other one."""
    info = site / "my_twice-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: My_Twice\nVersion: {version}\n")
    (info / "entry_points.txt").write_text("[cnnkit]\nplugin = my_twice\n")
    (site / "my_twice.py").write_text(LAYER.format(factor=factor))
    forget()


def forget() -> None:
    installed_catalog.cache_clear()
    sys.modules.pop("my_twice", None)


@pytest.fixture
def twice(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """`cli`, with tiny@1 trained with My_Twice 1.0."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    install(tmp_path / "site", "1.0")
    (tmp_path / "twice.toml").write_text(RECIPE.replace('"Flatten()"', '"Twice()", "Flatten()"'))
    result = cli("train", "twice.toml")
    assert result.code == 0, result.err
    yield cli
    forget()


def test_every_command_that_runs_the_layer_says_so_once(twice: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 1, 8, 8), np.uint8))
    commands = (
        ("predict", "tiny", "x.npy"),
        ("evaluate", "tiny", "--json"),
        ("export", "tiny", "-o", "tiny.onnx"),
        ("validate", "tiny.onnx", "tiny"),
    )
    for command in commands:
        assert "was saved with" not in twice(*command).err
    install(tmp_path / "site", "1.1")
    for command in commands:
        result = twice(*command)
        assert result.code == 0, result.err
        assert result.err.count(f"warning: {SAID}\n") == 1, command
    with pytest.warns(PluginVersionWarning) as caught:
        load_model("tiny")
    assert [str(warning.message) for warning in caught] == [SAID]


def test_a_reproduction_names_the_plugin_that_decides(twice: Any, tmp_path: Path) -> None:
    install(tmp_path / "site", "1.0", factor=2.5)
    result = twice("reproduce", "tiny")
    assert result.code == 1
    assert "Python, NumPy, cnnkit, processor, BLAS and the plugins all have the recorded versions" in result.err
    install(tmp_path / "site", "1.1", factor=2.5)
    result = twice("reproduce", "tiny")
    assert result.code == 1
    assert "\n  my-twice was 1.0, it is 1.1\n" in result.err
    assert "the recorded versions" not in result.err
    assert "was saved with" not in result.err  # said already
    document = twice("reproduce", "tiny", "--json").document
    assert document["environment"] == ["my-twice was 1.0, it is 1.1"]
