"""Plugins as their metadata tells of them, and the kinds of components that they may provide; nothing is imported."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cnnkit.components import contracts, hookspecs, training_contracts, weight_contracts
from cnnkit.components.contracts import Component
from cnnkit.printable_text import cut

BUILT_IN = "cnnkit"
"""The distribution whose components keep their names whatever is installed."""

KINDS: dict[str, tuple[str, tuple[type[Component], ...]]] = {
    "architecture": ("cnnkit_architectures", (contracts.Architecture,)),
    "layer": ("cnnkit_layers", (contracts.Layer, contracts.Merge)),
    "initializer": ("cnnkit_initializers", (weight_contracts.Initializer,)),
    "loss": ("cnnkit_losses", (contracts.Loss,)),
    "optimizer": ("cnnkit_optimizers", (training_contracts.Optimizer,)),
    "gradient method": ("cnnkit_gradients", (training_contracts.GradientMethod,)),
    "schedule": ("cnnkit_schedules", (training_contracts.Schedule,)),
    "metric": ("cnnkit_metrics", (contracts.Metric,)),
    "dataset": ("cnnkit_datasets", (contracts.Dataset,)),
    "augmentation": ("cnnkit_augmentations", (contracts.Augmentation, contracts.Mixing)),
    "callback": ("cnnkit_callbacks", (training_contracts.Callback,)),
    "runtime": ("cnnkit_runtimes", (contracts.Runtime,)),
}
"""Each kind's hook, and the classes that its components must inherit from."""

EXAMPLES = {
    "architecture": "ResNet(20)",
    "layer": "Conv2D(8, 3)",
    "initializer": "HeNormal()",
    "loss": "CrossEntropy()",
    "optimizer": "Adam(0.001)",
    "schedule": "Cosine()",
    "metric": "Accuracy()",
    "dataset": "MNIST()",
    "augmentation": "Shift(2)",
    "callback": "EarlyStopping(3)",
    "runtime": "OnnxRuntime()",
}
"""An expression of each kind that has built-in ones, for messages."""


@dataclass(frozen=True)
class Plugin:
    """One entry point of the group `cnnkit`, as its metadata tells; nothing is imported before `load`."""

    distribution: str
    version: str
    value: str
    """The module, as the entry point names it."""
    load: Callable[[], Any] = field(repr=False, compare=False)
    installed: bool = field(default=False, repr=False, compare=False)
    """Whether an entry point names it, so that another process finds it, too; else `load` gives what is in memory."""

    @property
    def module(self) -> str:
        """The name of its module, without the attribute that an entry point may name in it."""
        return self.value.partition(":")[0].strip()


@functools.lru_cache
def normalized(distribution: str) -> str:
    """The name of a distribution as pip compares names: `My_Plugin` is `my-plugin`. Source: PEP 503."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def is_from(plugin: Plugin, distribution: str) -> bool:
    """Whether a plugin belongs to this distribution; "" means any."""
    return not distribution or normalized(plugin.distribution) == normalized(distribution)


def installed_plugins() -> list[Plugin]:
    """The plugins that are installed, by their metadata alone, in a fixed order."""
    plugins = {}
    for entry in importlib.metadata.entry_points(group=hookspecs.NAMESPACE):
        distribution, version = _named(entry.dist)
        plugins[distribution, entry.value] = Plugin(distribution, version, entry.value, entry.load, installed=True)
    return [plugins[key] for key in sorted(plugins)]


def _named(distribution: importlib.metadata.Distribution | None) -> tuple[str, str]:
    """Name and version of a distribution, as far as its metadata can be read and has them."""
    name = version = None
    if distribution is not None:
        with contextlib.suppress(ValueError, LookupError, OSError):  # such as metadata that is not UTF-8
            name, version = distribution.name, distribution.version
    return name or "unknown", version or "?"


def a(kind: str) -> str:
    """A kind with its article: "an optimizer"."""
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def told(error: BaseException) -> str:
    """Type and text of an error, also of one that cannot say what it is, or has endless much to say."""
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be read)"
    return cut(f"{type(error).__name__}: {text}")
