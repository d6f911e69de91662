"""The hooks of cnnkit: a plugin implements those it needs, and each returns the classes it adds."""

from __future__ import annotations

import pluggy

from cnnkit.components.contracts import (
    Architecture,
    Augmentation,
    Dataset,
    Layer,
    Loss,
    Merge,
    Metric,
    Mixing,
    Runtime,
)
from cnnkit.components.training_contracts import Callback, GradientMethod, Optimizer, Schedule
from cnnkit.components.weight_contracts import Initializer

NAMESPACE = "cnnkit"
"""Name of pluggy's project and of the entry-point group."""
API_VERSION = "1"
"""Of the hooks and contracts: it grows when plugins that were written for an earlier one would not work any more."""
API_GROUP = "cnnkit.api"
"""Entry points by which a distribution says for which versions of the plugin API it is: their names."""
RENAMED_GROUP = "cnnkit.renamed"
"""Entry points by which a distribution says which names it had earlier: their names."""

hookspec = pluggy.HookspecMarker(NAMESPACE)
hookimpl = pluggy.HookimplMarker(NAMESPACE)
"""Marks a function of a plugin as the hook of that name."""


@hookspec
def cnnkit_architectures() -> list[type[Architecture]]:
    """Known networks, for `model.architecture`."""


@hookspec
def cnnkit_layers() -> list[type[Layer | Merge]]:
    """Layers and merges, for the `layers` of a recipe."""


@hookspec
def cnnkit_initializers() -> list[type[Initializer]]:
    """Initializers, for the `initializer` of a layer."""


@hookspec
def cnnkit_losses() -> list[type[Loss]]:
    """Losses, for `train.loss`."""


@hookspec
def cnnkit_optimizers() -> list[type[Optimizer]]:
    """Optimizers, for `train.optimizer`."""


@hookspec
def cnnkit_gradients() -> list[type[GradientMethod]]:
    """Gradient methods, for `train.gradient`."""


@hookspec
def cnnkit_schedules() -> list[type[Schedule]]:
    """Learning-rate schedules, for `train.schedule`."""


@hookspec
def cnnkit_metrics() -> list[type[Metric]]:
    """Metrics, for `train.metrics`."""


@hookspec
def cnnkit_datasets() -> list[type[Dataset]]:
    """Datasets, for `data.dataset`."""


@hookspec
def cnnkit_augmentations() -> list[type[Augmentation | Mixing]]:
    """Augmentations, for `train.augmentations`."""


@hookspec
def cnnkit_callbacks() -> list[type[Callback]]:
    """Callbacks, for `train.callbacks`."""


@hookspec
def cnnkit_runtimes() -> list[type[Runtime]]:
    """Runtimes that execute exported files, for `validate`."""
