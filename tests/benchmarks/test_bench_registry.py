"""The benchmark of the registry, with a few versions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import registry
from cnnkit.registry import Registry


def test_it_measures_commands_saves_and_a_large_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registry.main(["--versions", "3", "--megabytes", "1", "--epochs", "1", "--json", str(tmp_path / "a.json")])
    results = json.loads((tmp_path / "a.json").read_text("utf-8"))["results"]
    assert results.keys() == {"1 x 3 versions", "100 x 1 versions", "saves", "large"}
    assert all(seconds > 0 for times in results["1 x 3 versions"].values() for seconds in times)
    assert results["large"].keys() == {"save", "read", "load"}
    assert "| save 1 MB; memory " in capsys.readouterr().out


def test_the_registry_is_filled_with_whole_versions(tmp_path: Path) -> None:
    registry.fill(tmp_path / "r", 2, 3)
    store = Registry(tmp_path / "r")
    assert [entry.version.ref for entry in store.search("name=net-1")] == ["net-1@1", "net-1@2", "net-1@3"]
    assert store.verify() == []
