"""Plugins as their metadata tells of them, and the kinds of components that they may provide; nothing is imported."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from cnnkit.components import contracts, hookspecs, training_contracts, weight_contracts
from cnnkit.components.contracts import Component
from cnnkit.components.distribution_names import normalized
from cnnkit.components.plugin_blocking import blocked_by
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
    apis: tuple[str, ...] = field(default=(), repr=False, compare=False)
    """The versions of the plugin API that its distribution declares; none if it declares nothing."""
    former: tuple[str, ...] = field(default=(), repr=False, compare=False)
    """Names that its distribution had earlier, normalized."""
    blocked: str = field(default="", repr=False, compare=False)
    """What the user has set that blocks it, as text."""

    @property
    def module(self) -> str:
        """The name of its module, without the attribute that an entry point may name in it."""
        return self.value.partition(":")[0].strip()

    @property
    def usable(self) -> bool:
        """Whether it may be imported."""
        return not self.blocked and not self.mismatch

    @property
    def mismatch(self) -> str:
        """Why it cannot be used, as it is for other versions of the plugin API; "" if nothing says so."""
        if not self.apis or hookspecs.API_VERSION in self.apis:
            return ""
        newer = all(api.isdecimal() and int(api) > int(hookspecs.API_VERSION) for api in self.apis)
        what = "install a newer cnnkit" if newer else f"install a newer {self.distribution}"
        return (
            f"it is for version {' or '.join(self.apis)} of the plugin API, and this cnnkit has version "
            f"{hookspecs.API_VERSION}: {what}"
        )


def of_distribution(plugins: Iterable[Plugin], distribution: str) -> list[Plugin]:
    """The plugins of a distribution, "" for all; where none has the name, those that say that they had it earlier."""
    plugins, name = list(plugins), normalized(distribution)
    own = [one for one in plugins if not name or normalized(one.distribution) == name]
    return own or [one for one in plugins if name in one.former]


def installed_plugins() -> list[Plugin]:
    """The plugins that are installed, by their metadata alone, in a fixed order.

    Raises ConfigError for a variable that is to block some and cannot be understood.
    """
    plugins = {}
    entries = importlib.metadata.entry_points()
    declared = {
        group: [(entry.dist, entry.name) for entry in entries.select(group=group)]
        for group in (hookspecs.API_GROUP, hookspecs.RENAMED_GROUP)
    }
    for entry in entries.select(group=hookspecs.NAMESPACE):
        distribution, version = _named(entry.dist)
        apis, former = ([name for owner, name in said if owner is entry.dist] for said in declared.values())
        plugins[distribution, entry.value] = Plugin(
            distribution,
            version,
            entry.value,
            entry.load,
            installed=True,
            apis=tuple(apis),
            former=tuple(map(normalized, former)),
            blocked=blocked_by(distribution, BUILT_IN),
        )
    return [plugins[key] for key in sorted(plugins)]


def missing_requirements(plugin: Plugin) -> list[str]:
    """The distributions that a plugin always needs, by its metadata, and that are not installed; imports nothing."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError, ValueError, OSError):
        needed = importlib.metadata.requires(plugin.distribution) or []
        names = [name for text in needed if ";" not in text and (name := re.split(r"[^\w.-]", text.strip())[0])]
        return [name for name in names if not _is_installed(name)]
    return []


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


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
