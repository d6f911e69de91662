"""Components: what each kind must do, how they are written, and how they are found by name."""

from cnnkit.components.catalog import Catalog, installed_catalog
from cnnkit.components.contracts import (
    Architecture,
    Augmentation,
    BatchCoupledLayer,
    BatchCoupledLoss,
    CollectingMetric,
    Component,
    Dataset,
    Layer,
    Loss,
    Merge,
    Metric,
    Mixing,
    Runtime,
)
from cnnkit.components.hookspecs import hookimpl
from cnnkit.components.plugin_metadata import Plugin, installed_plugins
from cnnkit.components.training_contracts import Callback, GradientMethod, Optimizer, Schedule
from cnnkit.components.weight_contracts import Initializer, Weights, initializer_of

__all__ = [
    "Architecture",
    "Augmentation",
    "BatchCoupledLayer",
    "BatchCoupledLoss",
    "Callback",
    "Catalog",
    "CollectingMetric",
    "Component",
    "Dataset",
    "GradientMethod",
    "Initializer",
    "Layer",
    "Loss",
    "Merge",
    "Metric",
    "Mixing",
    "Optimizer",
    "Plugin",
    "Runtime",
    "Schedule",
    "Weights",
    "hookimpl",
    "initializer_of",
    "installed_catalog",
    "installed_plugins",
]
