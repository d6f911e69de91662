"""What a model was trained with, beyond its recipe: software and hardware that may decide its last bits."""

from __future__ import annotations

import importlib.metadata
import platform

import numpy as np

from cnnkit.components.catalog import BUILT_IN


def environment() -> dict[str, str]:
    """The environment of this process, as texts by name."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        BUILT_IN: importlib.metadata.version(BUILT_IN),
    }


def differences(recorded: object) -> list[str]:
    """What is not as it was recorded, each in words."""
    there = recorded if isinstance(recorded, dict) else {}
    here = environment()
    names = [name for name in here if there.get(name) != here[name]]
    return [f"{name} was {there.get(name, 'unknown')}, it is {here[name]}" for name in names]
