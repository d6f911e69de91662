"""`cnnkit evaluate`: loss and metrics of a registered model on test samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnnkit.cli.class_tables import say_classes, say_labels
from cnnkit.cli.options import (
    DataFolder,
    DatasetChoice,
    Debug,
    Json,
    LossChoice,
    MetricChoice,
    Quiet,
    Reference,
    RegistryFolder,
    TrustChoice,
    Workers,
)
from cnnkit.cli.output import note, say_json, say_table, warn, warn_in_short
from cnnkit.cli.recorded_components import chosen_dataset, recorded_loss, recorded_metrics
from cnnkit.wording import counted

if TYPE_CHECKING:
    from cnnkit.network import Network
    from cnnkit.registry import Manifest
    from cnnkit.registry.trust import Trust
    from cnnkit.training import Trainer
    from cnnkit.types import Samples


def evaluate(
    ref: Reference,
    dataset: DatasetChoice = None,
    loss: LossChoice = None,
    metric: MetricChoice = None,
    trust: TrustChoice = None,
    workers: Workers = None,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    _quiet: Quiet = False,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Measure a model on test samples.

    Shows loss and metrics; for a classifier also results per class, confusions and calibration; for several labels the
    results per label.
    """
    from cnnkit.class_indices import check_labels
    from cnnkit.components.predicted_class import not_finite
    from cnnkit.evaluation.model_evaluation import evaluate_model
    from cnnkit.metrics import CalibrationError
    from cnnkit.registry import Registry
    from cnnkit.registry.trust import trusted

    may_choose = trusted(trust)
    store = Registry(registry)
    record = store.read(ref)
    version, trained_on = record.version.ref, record.manifest.dataset or {}
    data = chosen_dataset(dataset, version, record.manifest, data_dir, may_choose)
    warn_in_short(data)
    same = trained_on.get("digest") == data.digest
    model = record.model()
    check_labels(model.labels, data.labels)
    trainer = measuring(model, record.manifest, data.test, loss, may_choose, metric, workers)
    found = evaluate_model(model, data.test, trainer, data.labels)
    metrics, classes, labels = found.metrics, found.classes, found.labels
    if found.problem:
        warn(f"no results per class: {found.problem}")
    if as_json:
        document = {"ref": version, "dataset": data.name, "digest": data.digest, "same_data": same}
        by_class = classes.to_dict() if classes else labels.to_dict() if labels else {}
        say_json({**document, "samples": len(data.test), "metrics": metrics, **by_class})
        return
    note(f"{version} on {counted(len(data.test), 'test sample')} of {data.name}")
    calibration = classes and classes.calibration
    if calibration:
        metrics["mean confidence"] = calibration.mean_confidence
        if CalibrationError().key not in metrics:  # else it is shown as it was asked for, perhaps in other bins
            metrics["calibration error"] = calibration.error
    say_table(("metric", "value"), metrics.items())
    if labels:
        say_labels(labels)
    if classes:
        say_classes(classes)
        if unpredicted := int(classes.confusion.unpredicted.sum()):
            what = "pixel" if len(model.output_shape) > 1 else "test sample"
            warn(f"{not_finite(version, counted(unpredicted, what))}. They count as wrong")


def measure(model: Network, manifest: Manifest, samples: Samples, loss: str | None, trust: Trust) -> dict[str, float]:
    """Loss and metrics on samples: those that it was trained with, as far as the file may choose them."""
    return measuring(model, manifest, samples, loss, trust).evaluate(model, samples)


def measuring(
    model: Network,
    manifest: Manifest,
    samples: Samples,
    loss: str | None,
    trust: Trust,
    metrics: list[str] | None = None,
    workers: int | None = None,
) -> Trainer:
    """What measures a model on samples: with what is given, else with what it was trained with, as far as may be.

    Raises ShapeError for samples of another shape than the model takes.
    """
    from cnnkit.class_indices import are_indices, indices_of
    from cnnkit.errors import ShapeError
    from cnnkit.training.trainer import Trainer

    chosen: dict[str, Any] = {}
    if measured := loss or recorded_loss(manifest, trust):
        chosen["loss"] = measured
    known = metrics or recorded_metrics(manifest, trust)
    if known is not None:
        chosen["metrics"] = known
    elif model.task.gives != "classes" or not (samples.y.dtype.kind == "U" or are_indices(indices_of(samples.y))):
        chosen["metrics"] = []  # the usual one counts right classes
    if samples.x.shape[1:] != model.input_shape:
        raise ShapeError(
            f"{manifest.name} takes inputs of shape {model.input_shape}, the dataset has {tuple(samples.x.shape[1:])}: "
            "choose a matching dataset with --dataset"
        )
    return Trainer(**chosen, workers=workers)
