"""`cnnkit reproduce`: train a registered model again and compare."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import warnings
from typing import TYPE_CHECKING

import typer

from cnnkit.cli.options import (
    DataFolder,
    DatasetChoice,
    Debug,
    Json,
    Reference,
    RegistryFolder,
    TrustChoice,
    Workers,
)
from cnnkit.cli.output import note, say, say_json
from cnnkit.cli.recorded_components import recorded_dataset
from cnnkit.terminal import console

if TYPE_CHECKING:
    from cnnkit.components import Dataset
    from cnnkit.evaluation.reproduce import Reproduction
    from cnnkit.registry import Record
    from cnnkit.registry.trust import Trust


def reproduce(
    ref: Reference,
    dataset: DatasetChoice = None,
    trust: TrustChoice = None,
    workers: Workers = None,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Train a model again and compare bit by bit.

    Retrains it from its stored recipe. Exits with 1 if something differs, and shows where the difference starts and
    what has changed.
    """
    from cnnkit.errors import CheckError
    from cnnkit.evaluation.reproduce import check_reproduction, retrain
    from cnnkit.registry import Registry
    from cnnkit.registry.trust import trusted
    from cnnkit.training.interruption import stop_on_signals
    from cnnkit.training.loop import STOPPED
    from cnnkit.training.progress import LiveProgress

    may_choose = trusted(trust)
    record = Registry(registry).read(ref)
    chosen = dataset or _recorded(record, data_dir, may_choose)
    with stop_on_signals() as stop, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # as in `cnnkit train`
        run = retrain(
            record,
            chosen,
            trust=may_choose,
            data_dir=data_dir,
            workers=workers,
            progress=LiveProgress(console(sys.stderr), record.version.name),
            stop=stop,
        )
    if run.reason == STOPPED:
        note("interrupted: nothing was compared")
        raise typer.Exit(128 + (run.signal or 0))
    result = check_reproduction(record, run)
    if as_json:
        say_json(dataclasses.asdict(result) | {"identical": result.identical})
        raise typer.Exit(0 if result.identical else CheckError.exit_code)
    if not result.identical:
        raise CheckError(_report(result))
    epochs = len(record.manifest.history.get("loss", ()))
    say(f"{result.ref} is reproduced bit for bit: {len(record.state)} arrays, and the history of {epochs} epochs")
    for difference in result.environment:
        note(f"although {difference}")


def _recorded(record: Record, data_dir: str | None, trust: Trust) -> Dataset:
    """The dataset that the model was trained on, if its recipe names no other."""
    from cnnkit.errors import RegistryError
    from cnnkit.evaluation.reproduce import whole_recipe
    from cnnkit.registry.trust import build

    named = whole_recipe(record).data.dataset
    dataset = recorded_dataset(record.manifest, data_dir, trust)
    with contextlib.suppress(RegistryError):  # then it is another one
        if build("dataset", named, record.manifest, trust) == dataset:
            return dataset
    raise RegistryError(
        f"{record.version.ref} cannot be trained again: its recipe names the dataset {named}, but it was trained on "
        f"{dataset!r}"
    )


def _report(result: Reproduction) -> str:
    lines = [f"{result.ref} is not reproduced bit for bit"]
    if result.quantity:
        lines.append(f"the history differs from epoch {result.epoch} on, first in {result.quantity}")
    if result.array:
        lines.append(
            f"the first array that differs is {result.array}, the largest relative difference {result.largest:.3g}"
        )
    lines += result.environment or (
        "Python, NumPy, cnnkit, processor, BLAS and the plugins all have the recorded versions",
    )
    return "\n  ".join(lines)
