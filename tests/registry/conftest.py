"""A small model and a registry in a temporary folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnnkit.network import Sequential
from cnnkit.registry import Registry


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


@pytest.fixture(scope="session")
def model() -> Sequential:
    return Sequential(["Conv2D(2, 3)", "BatchNorm2D()", "ReLU()", "Flatten()", "Dense(3)"], (1, 5, 5))
