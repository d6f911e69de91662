"""`cnnkit reproduce`: train a registered model again and compare."""

from __future__ import annotations

import dataclasses
import warnings
from typing import TYPE_CHECKING

import typer

from cnnkit.cli.options import DataFolder, DatasetChoice, Debug, Json, Reference, RegistryFolder, Workers
from cnnkit.cli.output import console, note, say, say_json
from cnnkit.cli.recorded import recorded_component, recorded_dataset

if TYPE_CHECKING:
    from cnnkit.registry import Record
    from cnnkit.reproduction import Reproduction
    from cnnkit.training.recipe import Recipe


def reproduce(
    ref: Reference,
    dataset: DatasetChoice = None,
    workers: Workers = None,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Train a model again and compare bit by bit.

    It is trained from what is stored with it. Exits with 1 if something differs, and says where it began and what is
    not as it was.
    """
    from cnnkit import api
    from cnnkit.errors import CheckError
    from cnnkit.registry import Registry
    from cnnkit.reproduction import compared
    from cnnkit.training.interruption import stop_on_signals
    from cnnkit.training.loop import STOPPED
    from cnnkit.training.progress import LiveProgress

    record = Registry(registry).read(ref)
    recipe = _recipe(record, dataset)
    _check_samples(record, recipe, dataset, data_dir)
    with stop_on_signals() as stop, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # as in `cnnkit train`
        progress = LiveProgress(console(stderr=True))
        run = api.train(recipe, data_dir=data_dir, workers=workers, progress=progress, stop=stop)
    if run.reason == STOPPED:
        note("interrupted: nothing was compared")
        raise typer.Exit(128 + (run.signal or 0))
    result = compared(record, run)
    if as_json:
        say_json(dataclasses.asdict(result) | {"identical": result.identical})
        raise typer.Exit(0 if result.identical else CheckError.exit_code)
    if not result.identical:
        raise CheckError(_report(result))
    epochs = len(record.manifest.history.get("loss", ()))
    say(f"{result.ref} is reproduced bit for bit: {len(record.state)} arrays, and the history of {epochs} epochs")
    for difference in result.environment:
        note(f"although {difference}")


def _recipe(record: Record, dataset: str | None) -> Recipe:
    """The stored recipe, if it is whole and a model file may choose what it names."""
    from cnnkit.errors import ConfigError, RegistryError
    from cnnkit.training.recipe import TRAINED, Recipe

    ref, stored = record.version.ref, record.manifest.recipe or {}
    if missing := [section for section in TRAINED if section not in stored]:
        raise RegistryError(
            f"{ref} cannot be trained again: its recipe has no {', '.join(f'[{title}]' for title in missing)}, as of "
            "models that were put together in Python; those that `cnnkit train` or cnnkit.train made have all"
        )
    recipe = Recipe.from_dict(stored, ref)
    if dataset:
        recipe = recipe.override({"data.dataset": dataset})
    train = recipe.train
    chosen = [("optimizer", train.optimizer), ("loss", train.loss), ("schedule", train.schedule)]
    chosen += [("gradient method", train.gradient)] if train.gradient else []
    chosen += [("augmentation", one) for one in train.augmentations]
    chosen += [("metric", one) for one in train.metrics] + [("callback", one) for one in train.callbacks]
    for kind, expression in chosen:
        if recorded_component(kind, expression) is None:
            raise ConfigError(
                f"{ref} was trained with the {kind} {expression}, and a model file can choose only those that come "
                "with cnnkit: train its recipe yourself and compare with `cnnkit models diff`"
            )
    return recipe


def _check_samples(record: Record, recipe: Recipe, dataset: str | None, data_dir: str | None) -> None:
    """Raise CheckError unless the samples are those that the model was trained on."""
    from cnnkit.data import load_dataset
    from cnnkit.errors import CheckError, RegistryError

    trained_on = record.manifest.dataset
    data = load_dataset(dataset, data_dir) if dataset else recorded_dataset(trained_on, data_dir)
    if not dataset and _written(recipe.data.dataset) != data.name:  # only what was checked is loaded
        raise RegistryError(
            f"{record.version.ref} cannot be trained again: its recipe names the dataset {recipe.data.dataset}, but it "
            f"was trained on {data.name}"
        )
    if trained_on and data.digest != trained_on["digest"]:
        raise CheckError(
            f"{record.version.ref} cannot be reproduced: {data.name} has other samples now, with the content hash "
            f"{data.digest[:12]}, and the model was trained on {trained_on['digest'][:12]}"
        )


def _written(expression: str) -> str:
    """A dataset's expression as its name is written, "" if it is none of cnnkit's own."""
    component = recorded_component("dataset", expression)
    return repr(component) if component else ""


def _report(result: Reproduction) -> str:
    lines = [f"{result.ref} is not reproduced bit for bit"]
    if result.quantity:
        lines.append(f"the history differs from epoch {result.epoch} on, first in {result.quantity}")
    if result.array:
        lines.append(
            f"the first array that differs is {result.array}, the largest relative difference {result.largest:.3g}"
        )
    lines += result.environment or ("the environment is as it was, as far as it was recorded",)
    return "\n  ".join(lines)
