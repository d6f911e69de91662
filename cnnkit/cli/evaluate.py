"""`cnnkit evaluate`: loss and metrics of a registered model on test samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cnnkit.cli.options import DataFolder, Debug, Json, Reference, RegistryFolder, Workers
from cnnkit.cli.output import counted, note, say_json, say_table, warn

if TYPE_CHECKING:
    from cnnkit.network import Sequential
    from cnnkit.registry import Manifest
    from cnnkit.types import Samples


def evaluate(
    ref: Reference,
    dataset: Annotated[
        str | None, typer.Option(metavar="EXPR", help='A dataset, such as "MNIST()"; else the one trained on.')
    ] = None,
    workers: Workers = None,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Measure a model on test samples."""
    from cnnkit.data import load_dataset
    from cnnkit.errors import DataError
    from cnnkit.registry import Registry

    store = Registry(registry)
    record = store.read(ref)
    version, trained_on = record.version.ref, record.manifest.dataset or {}
    expression = dataset or trained_on.get("name")
    if not expression:
        raise DataError(f"{version} does not say what it was trained on: give a dataset, such as --dataset 'MNIST()'")
    data = load_dataset(expression, data_dir)
    same = trained_on.get("digest") == data.digest
    if data.name == trained_on.get("name") and not same:
        warn(f"{data.name} has other samples now than when {version} was trained on it: its content hash differs")
    metrics = _measure(store.load(version), record.manifest, data.test, workers)
    if as_json:
        document = {"ref": version, "dataset": data.name, "digest": data.digest, "same_data": same}
        say_json({**document, "samples": len(data.test), "metrics": metrics})
        return
    note(f"{version} on {counted(len(data.test), 'test sample')} of {data.name}")
    say_table(("metric", "value"), metrics.items())


def _measure(model: Sequential, manifest: Manifest, samples: Samples, workers: int | None) -> dict[str, float]:
    from cnnkit.errors import ShapeError
    from cnnkit.training.trainer import Trainer

    settings = (manifest.recipe or {}).get("train", {})
    trainer = Trainer(**{key: settings[key] for key in ("loss", "metrics") if key in settings}, workers=workers)
    if samples.x.shape[1:] != model.input_shape:
        raise ShapeError(
            f"{manifest.name} takes inputs of shape {model.input_shape}, the dataset has {tuple(samples.x.shape[1:])}: "
            "choose a dataset that fits with --dataset"
        )
    return trainer.evaluate(model, samples)
