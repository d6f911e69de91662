"""Every built-in component keeps its contract: the catalog says which there are, none can be forgotten."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from PIL import Image

from cnnkit.arguments import signature
from cnnkit.components import Component, Dataset, Loss, Metric, installed_catalog
from cnnkit.components.plugin_metadata import BUILT_IN
from cnnkit.losses import LOSSES
from cnnkit.metrics import METRICS
from cnnkit.onnx.runtimes import is_installed
from cnnkit.testing import (
    check_callback,
    check_dataset,
    check_loss,
    check_metric,
    check_optimizer,
    check_runtime,
    check_schedule,
)
from cnnkit.types import Array, Example

CHECKS: dict[str, Callable[..., None]] = {
    "optimizer": check_optimizer,
    "schedule": functools.partial(check_schedule, epochs=100),
    "callback": check_callback,
    "runtime": check_runtime,
}
"""Layers and augmentations have tests of their own, with random configurations."""
EXEMPLIFIED: tuple[tuple[Callable[..., None], type[Loss | Metric]], ...] = (
    *((check_loss, cls) for cls in LOSSES),
    *((check_metric, cls) for cls in METRICS),
)
ARGUMENTS = {
    "CSVLog": ['CSVLog("log.csv")'],
    "JSONLog": ['JSONLog("log.jsonl")'],
    "StopAt": ["StopAt(0.5)", 'StopAt(0.2, monitor="loss")'],
    "TimeLimit": ["TimeLimit(0.05)"],
    "EarlyStopping": ["EarlyStopping()", 'EarlyStopping(monitor="accuracy", patience=1, min_delta=0.1)'],
}
"""Expressions of those without examples that need arguments, or have some that do much; others are tried without."""


def built_in(kind: str) -> dict[str, type[Component]]:
    catalog = installed_catalog()
    (own,) = (plugin for plugin in catalog.plugins if plugin.distribution == BUILT_IN)
    return catalog.classes(own, kind)


def expressions(kind: str) -> list[tuple[str, str]]:
    """The examples of each class, where it gives some."""
    found = built_in(kind).items()
    examples = {name: [one.expression for one in getattr(cls, "examples", ())] for name, cls in found}
    return [(kind, text) for name, _ in found for text in examples[name] or ARGUMENTS.get(name, [f"{name}()"])]


@pytest.mark.parametrize(("kind", "text"), [case for kind in CHECKS for case in expressions(kind)])
def test_each_keeps_its_contract(kind: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = built_in(kind)[text.partition("(")[0]]
    if kind == "runtime" and not is_installed(found):  # type: ignore[arg-type]  # the catalog gives components of every kind
        pytest.skip(f"{text} is not installed")
    CHECKS[kind](text)


EXAMPLES = [(check, example) for check, cls in EXEMPLIFIED for example in cls.examples]


@pytest.mark.parametrize(("check", "example"), EXAMPLES, ids=lambda one: getattr(one, "expression", ""))
def test_each_loss_and_metric_keeps_its_contract(check: Callable[..., None], example: Example) -> None:
    check(example.expression, example.in_shape)


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
