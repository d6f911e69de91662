"""`cnnkit evaluate`: loss and metrics of a registered model on test samples."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from cnnkit.cli.classes import say_classes
from cnnkit.cli.options import DataFolder, DatasetChoice, Debug, Json, LossChoice, Reference, RegistryFolder, Workers
from cnnkit.cli.output import counted, note, say_json, say_table, warn
from cnnkit.cli.recorded import chosen_dataset, recorded_component

if TYPE_CHECKING:
    from cnnkit.components import Component
    from cnnkit.network import Sequential
    from cnnkit.registry import Manifest
    from cnnkit.types import Samples


def evaluate(
    ref: Reference,
    dataset: DatasetChoice = None,
    loss: LossChoice = None,
    workers: Workers = None,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Measure a model on test samples.

    Loss and metrics; of a classifier also each class, what it is taken for, and whether confidence is earned.
    """
    from cnnkit.errors import CostError
    from cnnkit.evaluation import evaluate_classes
    from cnnkit.registry import Registry

    store = Registry(registry)
    record = store.read(ref)
    version, trained_on = record.version.ref, record.manifest.dataset or {}
    data = chosen_dataset(dataset, version, trained_on, data_dir)
    same = trained_on.get("digest") == data.digest
    model = record.model()
    metrics = measure(model, record.manifest, data.test, loss, workers)
    try:
        classes = evaluate_classes(model, data.test, data.labels)
    except CostError as error:
        classes = None
        warn(f"the classes are left out: {error}")
    except MemoryError:
        classes = None
        warn(f"the classes are left out: the memory is too small for {model.output_shape[0]:,} of them")
    if as_json:
        document = {"ref": version, "dataset": data.name, "digest": data.digest, "same_data": same}
        by_class = classes.to_dict() if classes else {}
        say_json({**document, "samples": len(data.test), "metrics": metrics, **by_class})
        return
    note(f"{version} on {counted(len(data.test), 'test sample')} of {data.name}")
    calibration = classes and classes.calibration
    if calibration:
        metrics |= {"mean confidence": calibration.mean_confidence, "calibration error": calibration.error}
    say_table(("metric", "value"), metrics.items())
    if classes:
        say_classes(classes)


def measure(
    model: Sequential, manifest: Manifest, samples: Samples, loss: str | None, workers: int | None = None
) -> dict[str, float]:
    """Loss and metrics on samples: those that it was trained with, as far as they come with cnnkit."""
    from cnnkit.errors import ShapeError
    from cnnkit.training.trainer import Trainer

    settings = (manifest.recipe or {}).get("train", {})
    chosen: dict[str, Any] = {"loss": loss} if loss else {}
    if "loss" in settings and not loss:
        chosen["loss"] = recorded_loss(settings["loss"])
    if isinstance(settings.get("metrics"), list):
        chosen["metrics"] = []
        for expression in settings["metrics"]:
            if metric := recorded_component("metric", expression):
                chosen["metrics"].append(metric)
            else:
                warn(f"the metric {expression} is left out: a model file can choose only those that come with cnnkit")
    elif samples.y.dtype.kind == "f":
        chosen["metrics"] = []  # the usual one counts right classes
    trainer = Trainer(**chosen, workers=workers)
    if samples.x.shape[1:] != model.input_shape:
        raise ShapeError(
            f"{manifest.name} takes inputs of shape {model.input_shape}, the dataset has {tuple(samples.x.shape[1:])}: "
            "choose a dataset that fits with --dataset"
        )
    return trainer.evaluate(model, samples)


def recorded_loss(expression: str) -> Component:
    """The loss that a version was trained with. Raises ConfigError if it does not come with cnnkit."""
    from cnnkit.errors import ConfigError

    loss = recorded_component("loss", expression)
    if not loss:
        raise ConfigError(
            f"the model was trained with the loss {expression}, and a model file can choose only one that comes with "
            f"cnnkit: pass --loss {shlex.quote(str(expression))}"
        )
    return loss
