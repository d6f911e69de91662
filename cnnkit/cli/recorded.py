"""What a model file may choose by itself: components that come with cnnkit, and samples that are in place.

A model may come from anybody. What it says it was trained with never opens a file that it names, starts a download or
imports a plugin; for all that, the user gives the expression.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cnnkit.cli.output import warn

if TYPE_CHECKING:
    from cnnkit.components import Component
    from cnnkit.types import Data


def recorded_component(kind: str, expression: str) -> Component | None:
    """The component if cnnkit itself brings it; None for any other, and for what cannot be read."""
    from cnnkit.components import Catalog, installed_catalog
    from cnnkit.components.catalog import BUILT_IN
    from cnnkit.errors import CnnkitError

    own = Catalog(plugin for plugin in installed_catalog().plugins if plugin.distribution == BUILT_IN)
    try:
        return own.build(kind, expression)
    except CnnkitError:
        return None


def dataset_option(dataset: Mapping[str, str] | None, data_dir: str | None) -> str:
    """What must be added to a command that needs the samples again: "" if a model file may choose them by itself."""
    from cnnkit.components import Dataset
    from cnnkit.data import default_data_dir

    component = recorded_component("dataset", dataset["name"]) if dataset else None
    folder = Path(data_dir) if data_dir else default_data_dir()
    if not dataset or (isinstance(component, Dataset) and component.is_complete(folder)):
        return ""
    return f" --dataset {shlex.quote(dataset['name'])}"


def chosen_dataset(choice: str | None, ref: str, recorded: Mapping[str, str] | None, data_dir: str | None) -> Data:
    """The dataset that the user gives, else the recorded one; a warning if its samples are not those trained on."""
    from cnnkit.data import load_dataset

    data = load_dataset(choice, data_dir) if choice else recorded_dataset(recorded, data_dir)
    known = recorded or {}
    if data.name == known.get("name") and data.digest != known.get("digest"):
        warn(f"{data.name} has other samples now than when {ref} was trained on it: its content hash differs")
    return data


def recorded_dataset(dataset: Mapping[str, str] | None, data_dir: str | None) -> Data:
    """The samples that a model was trained on. Raises DataError, saying what to give, if they must be asked for."""
    from cnnkit.components import Dataset
    from cnnkit.data import default_data_dir, load_dataset
    from cnnkit.errors import DataError

    if not dataset:
        raise DataError("the model does not say what it was trained on: give a dataset, such as --dataset 'MNIST()'")
    component = recorded_component("dataset", dataset["name"])
    folder = Path(data_dir) if data_dir else default_data_dir()
    complete = component.is_complete(folder) if isinstance(component, Dataset) else None
    if isinstance(component, Dataset) and complete:
        return load_dataset(component, folder)
    if complete is False:
        reason = f"is not complete in {folder}, and a model file starts no download"
    else:
        reason = "a model file may not load by itself, as that opens files or runs a plugin"
    raise DataError(
        f"the model was trained on {dataset['name']}, which {reason}: pass --dataset {shlex.quote(dataset['name'])}"
    )
