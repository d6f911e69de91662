"""Train convolutional networks with NumPy, keep every model in a registry, export to ONNX with proof.

The public names are loaded when they are first used, so that `cnnkit --help` does not wait for NumPy.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnnkit import (
        architectures,
        augmentations,
        errors,
        initializers,
        layers,
        losses,
        metrics,
        optimizers,
        plugin,
        schedules,
        testing,
    )
    from cnnkit.api import (
        export_bundle,
        export_float16,
        export_int8,
        export_onnx,
        import_onnx,
        load_dataset,
        load_model,
        load_recipe,
        train,
        validate_onnx,
    )
    from cnnkit.attribution import attribute
    from cnnkit.comparison import draw_comparison, draw_sweep
    from cnnkit.comparison.compare import compare, resume_comparison
    from cnnkit.comparison.sweep import sweep
    from cnnkit.components import Augmentation, Layer, Mixing, hookimpl
    from cnnkit.data import as_targets, describe
    from cnnkit.data.formats.images import read_image
    from cnnkit.errors import CnnkitError
    from cnnkit.evaluation.calibration import calibration
    from cnnkit.evaluation.confusion import class_report, confusion_matrix
    from cnnkit.evaluation.plot import plot
    from cnnkit.evaluation.predict import predict_files
    from cnnkit.evaluation.reproduce import check_reproduction, retrain
    from cnnkit.explanation import explain, write_page
    from cnnkit.layers import Concat, Residual
    from cnnkit.network import Augmented, Graph, Sequential
    from cnnkit.plotting.attribution_maps import draw_attribution
    from cnnkit.plotting.confusion import draw_confusion
    from cnnkit.plotting.network_picture import draw_network
    from cnnkit.registered_training import RegisteredTraining
    from cnnkit.registry import Registry, Runs
    from cnnkit.registry.trust import trusted
    from cnnkit.training import Checkpoints, Run, Trainer

# HDF5 reads both when h5py is imported: load no filter plugins, and of a file that cannot be opened no others either.
if os.environ.setdefault("HDF5_PLUGIN_PRELOAD", "::") == "::":
    os.environ["HDF5_PLUGIN_PATH"] = ""

__all__ = [
    "Augmentation",
    "Augmented",
    "Checkpoints",
    "CnnkitError",
    "Concat",
    "Graph",
    "Layer",
    "Mixing",
    "RegisteredTraining",
    "Registry",
    "Residual",
    "Run",
    "Runs",
    "Sequential",
    "Trainer",
    "architectures",
    "as_targets",
    "attribute",
    "augmentations",
    "calibration",
    "check_reproduction",
    "class_report",
    "compare",
    "confusion_matrix",
    "describe",
    "draw_attribution",
    "draw_comparison",
    "draw_confusion",
    "draw_network",
    "draw_sweep",
    "errors",
    "explain",
    "export_bundle",
    "export_float16",
    "export_int8",
    "export_onnx",
    "hookimpl",
    "import_onnx",
    "initializers",
    "layers",
    "load_dataset",
    "load_model",
    "load_recipe",
    "losses",
    "metrics",
    "optimizers",
    "plot",
    "plugin",
    "predict_files",
    "read_image",
    "resume_comparison",
    "retrain",
    "schedules",
    "sweep",
    "testing",
    "train",
    "trusted",
    "validate_onnx",
    "write_page",
]

_MODULES = {
    "cnnkit.api": (
        "export_bundle",
        "export_float16",
        "export_int8",
        "export_onnx",
        "import_onnx",
        "load_dataset",
        "load_model",
        "load_recipe",
        "train",
        "validate_onnx",
    ),
    "cnnkit.attribution": ("attribute",),
    "cnnkit.comparison": ("draw_comparison", "draw_sweep"),
    "cnnkit.comparison.compare": ("compare", "resume_comparison"),
    "cnnkit.comparison.sweep": ("sweep",),
    "cnnkit.components": ("Augmentation", "Layer", "Mixing", "hookimpl"),
    "cnnkit.data": ("as_targets", "describe"),
    "cnnkit.data.formats.images": ("read_image",),
    "cnnkit.errors": ("CnnkitError",),
    "cnnkit.explanation": ("explain", "write_page"),
    "cnnkit.layers": ("Concat", "Residual"),
    "cnnkit.evaluation.calibration": ("calibration",),
    "cnnkit.evaluation.confusion": ("class_report", "confusion_matrix"),
    "cnnkit.network": ("Augmented", "Graph", "Sequential"),
    "cnnkit.evaluation.plot": ("plot",),
    "cnnkit.plotting.attribution_maps": ("draw_attribution",),
    "cnnkit.plotting.confusion": ("draw_confusion",),
    "cnnkit.plotting.network_picture": ("draw_network",),
    "cnnkit.evaluation.predict": ("predict_files",),
    "cnnkit.registered_training": ("RegisteredTraining",),
    "cnnkit.registry": ("Registry", "Runs"),
    "cnnkit.registry.trust": ("trusted",),
    "cnnkit.evaluation.reproduce": ("check_reproduction", "retrain"),
    "cnnkit.training": ("Checkpoints", "Run", "Trainer"),
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
