"""Components: what each kind must do, how they are written, and how they are found by name."""

from cnnkit.components.catalog import Catalog, Plugin, installed_catalog, installed_plugins
from cnnkit.components.contracts import (
    BatchCoupledLayer,
    Callback,
    Component,
    Dataset,
    Layer,
    Loss,
    Merge,
    Metric,
    Optimizer,
    Runtime,
    Schedule,
)
from cnnkit.components.hookspecs import hookimpl

__all__ = [
    "BatchCoupledLayer",
    "Callback",
    "Catalog",
    "Component",
    "Dataset",
    "Layer",
    "Loss",
    "Merge",
    "Metric",
    "Optimizer",
    "Plugin",
    "Runtime",
    "Schedule",
    "hookimpl",
    "installed_catalog",
    "installed_plugins",
]
