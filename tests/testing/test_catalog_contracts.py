"""Every built-in component keeps its contract: the catalog says which there are, none can be forgotten."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from PIL import Image

from cnnkit.arguments import signature
from cnnkit.components import Component, Dataset, installed_catalog
from cnnkit.components.plugin_metadata import BUILT_IN
from cnnkit.onnx.runtimes import is_installed
from cnnkit.testing import (
    check_callback,
    check_dataset,
    check_runtime,
)
from cnnkit.types import Array

CHECKS: dict[str, Callable[..., None]] = {
    "callback": check_callback,
    "runtime": check_runtime,
}
"""Kinds of components without examples; the others are proved on theirs, in `test_proofs`."""
ARGUMENTS = {
    "CSVLog": ['CSVLog("log.csv")'],
    "JSONLog": ['JSONLog("log.jsonl")'],
    "StopAt": ["StopAt(0.5)", 'StopAt(0.2, monitor="loss")'],
    "TimeLimit": ["TimeLimit(0.05)"],
    "EarlyStopping": ["EarlyStopping()", 'EarlyStopping(monitor="accuracy", patience=1, min_delta=0.1)'],
}
"""Expressions of those that need arguments, or have some that do much; others are tried without."""


def built_in(kind: str) -> dict[str, type[Component]]:
    catalog = installed_catalog()
    (own,) = (plugin for plugin in catalog.plugins if plugin.distribution == BUILT_IN)
    return catalog.classes(own, kind)


def expressions(kind: str) -> list[tuple[str, str]]:
    """Some of each class."""
    return [(kind, text) for name in built_in(kind) for text in ARGUMENTS.get(name, [f"{name}()"])]


@pytest.mark.parametrize(("kind", "text"), [case for kind in CHECKS for case in expressions(kind)])
def test_each_keeps_its_contract(kind: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = built_in(kind)[text.partition("(")[0]]
    if kind == "runtime" and not is_installed(found):  # type: ignore[arg-type]  # the catalog gives components of every kind
        pytest.skip(f"{text} is not installed")
    CHECKS[kind](text)


def your_data(folder: Path) -> list[str]:
    """Datasets of a user's own files: arrays with targets of each kind, images and tables."""
    rng = np.random.default_rng(0)
    targets: dict[str, Array] = {
        "classes": np.arange(20) % 3,
        "segmentation": rng.integers(3, size=(20, 4, 4)),
        "labels": rng.integers(2, size=(20, 5)),
        "values": rng.normal(size=20),
        "maps": rng.normal(size=(20, 2, 4, 4)).astype(np.float32),
    }
    for name, y in targets.items():
        np.savez(folder / f"{name}.npz", x=rng.random((20, 1, 4, 4)), y=y)
    for number in range(12):
        image = folder / "photos" / ("cat" if number % 2 else "dog") / f"{number}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8)).save(image)
    (folder / "table.csv").write_text("a,b,y\n" + "".join(f"{n},{n * n % 7},{n % 2}\n" for n in range(20)))
    return [*(f'Arrays("{name}.npz")' for name in targets), 'ImageFolder("photos")', 'Table("table.csv", "y")']


def test_each_dataset_that_needs_no_download_keeps_its_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    checked = your_data(tmp_path)
    for text in checked:
        check_dataset(text, tmp_path)
    for name, cls in built_in("dataset").items():
        if "of" in signature(cls).parameters:  # made of another dataset
            check_dataset(f"{name}(Digits())", tmp_path)
        elif "path" in signature(cls).parameters:
            assert any(text.startswith(f"{name}(") for text in checked), f"{name} is not checked"
        elif cast(Dataset, cls()).is_complete(tmp_path):
            check_dataset(f"{name}()", tmp_path)
            checked.append(f"{name}()")
    assert "Digits()" in checked
