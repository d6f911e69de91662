"""What a model file may choose on its own: components of cnnkit or of a trusted plugin, and samples that are in place.

A model may come from anybody. What it says it was trained with never opens a file that it names, starts a download or
imports a plugin; for all that, the user trusts the plugin's distribution or gives the expression.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cnnkit.cli.output import warn

if TYPE_CHECKING:
    from cnnkit.components import Component, Dataset
    from cnnkit.components.expressions import Call
    from cnnkit.network import Network
    from cnnkit.registry import Manifest
    from cnnkit.registry.trust import Trust
    from cnnkit.types import Data, Framing

MEASURED = ("dataset ", "loss ", "metric ")
"""How the keys of `Manifest.components` begin that name what measures a model."""


def recorded_loss(manifest: Manifest, trust: Trust) -> Component | None:
    """The loss that a version was trained with, None if it does not say. Raises ConfigError if it may not be built."""
    from cnnkit.errors import ConfigError, RegistryError

    settings = (manifest.recipe or {}).get("train", {})
    if "loss" not in settings:
        return None
    expression = settings["loss"]
    try:
        return _built("loss", expression, manifest, trust)
    except RegistryError as error:
        raise ConfigError(
            f"the model was trained with the loss {expression}, and a model file can use only those that come with "
            f"cnnkit: pass --loss {shlex.quote(str(expression))}; {error}"
        ) from error


def recorded_metrics(manifest: Manifest, trust: Trust) -> list[Component] | None:
    """The metrics that a version was trained with, None if it does not say; warns of those that may not be built."""
    from cnnkit.errors import RegistryError

    expressions = (manifest.recipe or {}).get("train", {}).get("metrics")
    if not isinstance(expressions, list):
        return None
    metrics = []
    for expression in expressions:
        try:
            metrics.append(_built("metric", expression, manifest, trust))
        except RegistryError as error:
            warn(f"the metric {expression} is skipped: a model file can use only those that come with cnnkit; {error}")
    return metrics


def chosen_dataset(choice: str | None, ref: str, manifest: Manifest, data_dir: str | None, trust: Trust) -> Data:
    """The dataset that the user gives, else the recorded one; a warning if its samples are not those trained on."""
    from cnnkit.data import load_dataset
    from cnnkit.data.named import named_dataset

    data = load_dataset(named_dataset(choice) if choice else recorded_dataset(manifest, data_dir, trust), data_dir)
    known = manifest.dataset or {}
    if data.name == known.get("name") and data.digest != known.get("digest"):
        warn(f"{data.name} has changed since {ref} was trained on it: its content hash differs")
    return data


def recorded_dataset(manifest: Manifest, data_dir: str | None, trust: Trust) -> Dataset:
    """The dataset that a version was trained on. Raises DataError, saying what to give, if it may not be loaded.

    It may if it is one of cnnkit's own and in place, or a trusted one of which nothing is known to be missing; and so
    each dataset among its arguments.
    """
    from cnnkit.components import Dataset
    from cnnkit.components.expressions import parse
    from cnnkit.data import default_data_dir
    from cnnkit.errors import CnnkitError, DataError
    from cnnkit.registry.model_manifest import calls
    from cnnkit.registry.trust import is_built_in

    if not manifest.dataset:
        raise DataError(
            "the model does not record its training dataset, as after a training on arrays: keep samples of its kind "
            """in a file, as np.savez("data.npz", x=x, y=y) does, and give that: --dataset 'Arrays("data.npz")'"""
        )
    name = manifest.dataset["name"]
    given = f"pass --dataset {shlex.quote(name)}"
    folder = Path(data_dir) if data_dir else default_data_dir()
    closed = (
        f"the model was trained on {name}, which a model file may not load itself, because that opens files or runs "
    )
    try:
        components = [_built("dataset", call, manifest, trust) for call in calls(parse(name))]
    except CnnkitError as error:
        raise DataError(f"{closed}a plugin: {given}; {error}") from error
    for component in cast(list[Dataset], components[::-1]):  # arguments first
        complete = component.is_complete(folder)
        if complete is False:
            raise DataError(
                f"the model was trained on {name}, which is not complete in {folder}, and a model file never starts a "
                f"download: {given}"
            )
        if complete is None and is_built_in(component):
            raise DataError(f"{closed}a plugin: {given}")
    return cast(Dataset, components[0])


def _built(kind: str, expression: str | Call, manifest: Manifest, trust: Trust) -> Component:
    """A component that the version names; warns if its plugin has another version than when the model was saved."""
    from cnnkit.components.expressions import parse
    from cnnkit.registry.model_manifest import other_versions
    from cnnkit.registry.trust import build

    component = build(kind, expression, manifest, trust)
    call = parse(expression) if isinstance(expression, str) else expression
    for text in other_versions(kind, [call], manifest):
        warn(f"the model {text}")
    return component


def recorded_framing(manifest: Manifest, trust: Trust) -> Framing | None:
    """How the images of the dataset were framed, of a model that was saved before models kept that."""
    from cnnkit.data import load_dataset
    from cnnkit.errors import CnnkitError

    try:
        return load_dataset(recorded_dataset(manifest, None, trust)).framing
    except CnnkitError:  # not there, and nothing else says so
        return None


def recorded_level(model: Network, manifest: Manifest, trust: Trust) -> float | None:
    """How light the training images were, 0 to 1: of the samples themselves where the preprocessing says nothing."""
    import numpy as np

    from cnnkit.data import load_dataset
    from cnnkit.errors import CnnkitError
    from cnnkit.evaluation.file_inputs import trained_level

    level = trained_level(model.preprocessing)
    if level is None:
        try:
            samples = load_dataset(recorded_dataset(manifest, None, trust)).train
            level = float(np.mean(samples.x)) * model.preprocessing.scale
        except CnnkitError:  # nothing says so, and then there are no hints
            return None
    return level


def needed_options(manifest: Manifest, data_dir: str | None) -> str:
    """What must be added to a command that measures a version: "" if its file may choose everything on its own."""
    from cnnkit.components.plugin_metadata import BUILT_IN
    from cnnkit.errors import DataError
    from cnnkit.registry.model_manifest import present_name

    origins = [origin for key, origin in manifest.components.items() if key.startswith(MEASURED)]
    trust = frozenset(present_name(origin.distribution) for origin in origins) - {BUILT_IN}
    options = [f" --trust {distribution}" for distribution in sorted(trust)]
    try:
        recorded_dataset(manifest, data_dir, trust)
    except DataError:
        options += [f" --dataset {shlex.quote(manifest.dataset['name'])}"] if manifest.dataset else []
    return "".join(options)
