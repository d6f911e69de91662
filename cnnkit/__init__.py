"""Train convolutional networks with NumPy, keep every model in a registry, export to ONNX with proof."""

from cnnkit import layers, losses, metrics, optimizers, schedules
from cnnkit.api import export_onnx, load_dataset, load_model, load_recipe, train, validate_onnx
from cnnkit.components import Layer, hookimpl
from cnnkit.errors import CnnkitError
from cnnkit.layers import Concat, Residual
from cnnkit.network import Sequential
from cnnkit.registry import Registry
from cnnkit.training import Run, Trainer

__all__ = [
    "CnnkitError",
    "Concat",
    "Layer",
    "Registry",
    "Residual",
    "Run",
    "Sequential",
    "Trainer",
    "export_onnx",
    "hookimpl",
    "layers",
    "load_dataset",
    "load_model",
    "load_recipe",
    "losses",
    "metrics",
    "optimizers",
    "schedules",
    "train",
    "validate_onnx",
]
