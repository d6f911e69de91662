"""Train convolutional networks with NumPy, keep every model in a registry, export to ONNX with proof.

The public names are loaded when they are first used, so that `cnnkit --help` does not wait for NumPy.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnnkit import augmentations, layers, losses, metrics, optimizers, schedules, testing
    from cnnkit.api import export_bundle, export_onnx, load_dataset, load_model, load_recipe, train, validate_onnx
    from cnnkit.components import Augmentation, Layer, Mixing, hookimpl
    from cnnkit.errors import CnnkitError
    from cnnkit.layers import Concat, Residual
    from cnnkit.network import Graph, Sequential
    from cnnkit.pictures import plot
    from cnnkit.registry import Registry
    from cnnkit.training import Run, Trainer

# HDF5 reads both when h5py is imported: load no filter plugins, and of a file that cannot be opened no others either.
if os.environ.setdefault("HDF5_PLUGIN_PRELOAD", "::") == "::":
    os.environ["HDF5_PLUGIN_PATH"] = ""

__all__ = [
    "Augmentation",
    "CnnkitError",
    "Concat",
    "Graph",
    "Layer",
    "Mixing",
    "Registry",
    "Residual",
    "Run",
    "Sequential",
    "Trainer",
    "augmentations",
    "export_bundle",
    "export_onnx",
    "hookimpl",
    "layers",
    "load_dataset",
    "load_model",
    "load_recipe",
    "losses",
    "metrics",
    "optimizers",
    "plot",
    "schedules",
    "testing",
    "train",
    "validate_onnx",
]

_MODULES = {
    "cnnkit.api": (
        "export_bundle",
        "export_onnx",
        "load_dataset",
        "load_model",
        "load_recipe",
        "train",
        "validate_onnx",
    ),
    "cnnkit.components": ("Augmentation", "Layer", "Mixing", "hookimpl"),
    "cnnkit.errors": ("CnnkitError",),
    "cnnkit.layers": ("Concat", "Residual"),
    "cnnkit.network": ("Graph", "Sequential"),
    "cnnkit.pictures": ("plot",),
    "cnnkit.registry": ("Registry",),
    "cnnkit.training": ("Run", "Trainer"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in __all__:
        return importlib.import_module(f"cnnkit.{name}")
    if name == "__version__":
        from importlib.metadata import version

        return version("cnnkit")
    raise AttributeError(f"module 'cnnkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
