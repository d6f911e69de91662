"""Training a registered model again from what is stored with it, and comparing bit by bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit.components.distribution_names import normalized
from cnnkit.components.plugin_metadata import BUILT_IN
from cnnkit.components.quantities import MEMORY
from cnnkit.errors import CheckError, ConfigError, RegistryError
from cnnkit.registry.environment import OWN, differences
from cnnkit.registry.model_manifest import RECIPE_KINDS, layer_calls, plugin_versions, recipe_origins, shown_version
from cnnkit.registry.trust import Trust, build
from cnnkit.training.assembly import data_for, model_for, trainer_for
from cnnkit.training.recipe import TRAINED, Recipe
from cnnkit.types import Array

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cnnkit.components import Component, Dataset
    from cnnkit.registry import Manifest, Record
    from cnnkit.training import Run
    from cnnkit.training.interruption import StopRequest
    from cnnkit.training.progress import Progress

UNTRACED = ("seconds", MEMORY)
"""The quantities of a history that no two trainings have in common."""


@dataclass(frozen=True)
class Reproduction:
    """How a model that was trained again compares with the registered one."""

    ref: str
    epoch: int | None
    """The first epoch, from 1, whose history differs; None if none does."""
    quantity: str
    """What differs there, "" if nothing does."""
    array: str
    """The first array, in the order of the layers, that differs in the end; "" if none does."""
    largest: float
    """The largest |a - b| / max|b| of all arrays."""
    environment: tuple[str, ...]
    """What has changed since the model was registered, as text."""

    @property
    def identical(self) -> bool:
        """Whether history and arrays are the same, bit for bit."""
        return not self.quantity and not self.array


def whole_recipe(record: Record) -> Recipe:
    """The recipe of a version. Raises RegistryError if it lacks what a training needs, RecipeError if it is wrong."""
    ref, stored = record.version.ref, record.manifest.recipe or {}
    if missing := [section for section in TRAINED if section not in stored]:
        raise RegistryError(
            f"{ref} cannot be trained again: its recipe has no {', '.join(f'[{title}]' for title in missing)}, as of "
            "models that were built in Python; those from `cnnkit train` or cnnkit.train have all of them"
        )
    return Recipe.from_dict(stored, ref)


def retrain(
    record: Record,
    dataset: str | Dataset,
    *,
    trust: Trust = frozenset(),
    data_dir: str | Path | None = None,
    workers: int | None = None,
    progress: Progress | bool | None = None,
    stop: StopRequest | None = None,
) -> Run:
    """Train a version again by its recipe, with components of cnnkit and of the trusted distributions alone.

    dataset: the one that it was trained on; trust: as `cnnkit.trusted` gives it; the others as of
    `cnnkit.train`. Raises RegistryError for an incomplete recipe, ConfigError for one that names what may not be
    built, CheckError for other samples than those that the version was trained on, and what `cnnkit.train` raises.
    """
    recipe, trained_on = whole_recipe(record), record.manifest.dataset
    components = _components(record, recipe, trust)
    try:
        layers = layer_calls(recipe.model.expressions, record.manifest)
    except RegistryError as error:
        raise RegistryError(f"{record.version.ref} cannot be trained again: {error}") from error
    data = data_for(recipe, data_dir, dataset)
    if trained_on and data.digest != trained_on["digest"]:
        raise CheckError(
            f"{record.version.ref} cannot be reproduced: {data.name} has different samples now, with the content hash "
            f"{data.digest[:12]}, but the model was trained on {trained_on['digest'][:12]}"
        )
    trainer = trainer_for(recipe, workers, progress, components)
    return trainer.fit(model_for(recipe, data, layers, trainer.loss), data, stop=stop)


def _components(record: Record, recipe: Recipe, trust: Trust) -> dict[str, Any]:
    """What the expressions of the recipe's table [train] are built to, by their keys."""
    refused: list[str] = []

    def built(kind: str, expression: str) -> Component | None:
        try:
            return build(kind, expression, record.manifest, trust)
        except RegistryError as error:
            refused.append(
                f"{record.version.ref} was trained with the {kind} {expression}, and a model file can use only those "
                f"that come with cnnkit; {error}"
            )
            return None

    components: dict[str, Any] = {}
    for key, kind in RECIPE_KINDS["train"].items():
        value = getattr(recipe.train, key)
        if value is not None:
            components[key] = built(kind, value) if isinstance(value, str) else [built(kind, one) for one in value]
    if refused:
        raise ConfigError("\n  ".join(refused))
    return components


def check_reproduction(record: Record, run: Run) -> Reproduction:
    """Compare a run with the version that it should repeat."""
    epoch, quantity = _first_difference(record.manifest.history, run.history)
    again = run.model.state()
    differing = [name for name, array in record.state.items() if not _same(array, again.get(name))]
    differing += [name for name in again if name not in record.state]
    distances = [
        _distance(again[name], record.state[name]) for name in differing if name in again and name in record.state
    ]
    return Reproduction(
        record.version.ref,
        epoch,
        quantity,
        differing[0] if differing else "",
        max(distances, default=0.0),
        (*differences(record.manifest.versions | record.manifest.environment), *_other_plugins(record.manifest)),
    )


def _other_plugins(manifest: Manifest) -> Iterator[str]:
    """The plugins that took part in another version than they do now, or of which nothing is known, as text."""
    took_part = {name: version for name, version in manifest.versions.items() if name not in OWN}
    recorded = {(normalized(name), version) for name, version in took_part.items()}
    recorded |= {(normalized(one.distribution), one.version) for one in manifest.components.values()}
    named = {name for name, _ in recorded}
    here = plugin_versions()
    taking_part = {normalized(one.distribution) for one in recipe_origins(manifest.recipe, manifest.dataset).values()}
    for name, version in sorted(recorded):
        if name not in ("", BUILT_IN) and version != here.get(name):
            yield f"{name} was {shown_version(version)}, it is {here.get(name, 'not installed')}"
    for name in sorted(taking_part - named - {BUILT_IN}):
        yield f"{name} was an unknown version, it is {here[name]}"


def _first_difference(there: dict[str, Any], here: dict[str, list[float]]) -> tuple[int | None, str]:
    names = [name for name in {**there, **here} if name not in UNTRACED]
    for epoch in range(max((len(values) for values in (*there.values(), *here.values())), default=0)):
        for name in names:
            values = [history.get(name, [])[epoch : epoch + 1] for history in (there, here)]
            if not _same(np.array(values[0], np.float64), np.array(values[1], np.float64)):
                return epoch + 1, name
    return None, ""


def _same(a: Array, b: Array | None) -> bool:
    return b is not None and (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def _distance(a: Array, b: Array) -> float:
    if a.shape != b.shape:
        return np.inf
    difference = np.abs(a.astype(np.float64) - b).max(initial=0.0)
    return float(difference / max(np.abs(b).max(initial=0.0), np.finfo(np.float64).tiny))
