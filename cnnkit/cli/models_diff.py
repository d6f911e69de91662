"""`cnnkit models diff`: what differs between two versions, and between their predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cnnkit.cli.evaluate import measure
from cnnkit.cli.options import DataFolder, Debug, Json, LossChoice, RegistryFolder, TrustChoice
from cnnkit.cli.output import note, say, say_json, say_table
from cnnkit.printable_text import on_one_line
from cnnkit.wording import counted, sizes

if TYPE_CHECKING:
    from cnnkit.registry import Record
    from cnnkit.registry.prediction_diff import ClassDifference, OutputDifference
    from cnnkit.registry.trust import Trust
    from cnnkit.registry.version_diff import Difference, MetricPair
    from cnnkit.types import Data

MARKS = {"same": " ", "added": "+", "removed": "-", "changed": "~"}


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A reference, such as name@1.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another, such as name@2.")],
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", metavar="EXPR", help='Compare predictions on its test samples, such as "MNIST()".'),
    ] = None,
    loss: LossChoice = None,
    trust: TrustChoice = None,
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Show what differs between two versions.

    Compares layers, recipe, metrics, versions and weights, without needing the plugins of the layers; and
    predictions on request.
    """
    from cnnkit.data import load_dataset
    from cnnkit.data.named import named_dataset
    from cnnkit.registry import Registry
    from cnnkit.registry.trust import trusted
    from cnnkit.registry.version_diff import diff as compare

    may_choose = trusted(trust)
    store = Registry(registry)
    records = store.read(a), store.read(b)
    found = compare(*records)
    data = load_dataset(named_dataset(dataset), data_dir) if dataset else None
    predictions = _predictions(*records, data, loss, may_choose) if data else None
    if as_json:
        document = found.to_dict()
        if data and predictions:
            metrics, changes = predictions
            pairs = {pair.name: {"a": pair.a, "b": pair.b, "difference": pair.difference} for pair in metrics}
            document["predictions"] = {"dataset": data.name, "digest": data.digest, "metrics": pairs}
            document["predictions"] |= changes.to_dict()
        say_json(document)
        return
    _show(found)
    if data and predictions:
        _show_predictions(found, data, *predictions)


def _predictions(
    a: Record, b: Record, data: Data, loss: str | None, trust: Trust
) -> tuple[tuple[MetricPair, ...], ClassDifference | OutputDifference]:
    from cnnkit.class_indices import check_labels
    from cnnkit.registry.prediction_diff import ClassDifference, diff_predictions
    from cnnkit.registry.version_diff import metric_pairs

    models = a.model(), b.model()
    for record, model in zip((a, b), models, strict=True):
        check_labels(model.labels, data.labels, record.version.ref)
    measured = [
        measure(model, record.manifest, data.test, loss, trust) for model, record in zip(models, (a, b), strict=True)
    ]
    changes = diff_predictions(*models, data.test)
    metrics = metric_pairs(*measured)
    if isinstance(changes, ClassDifference):
        metrics = (*(metric for metric in metrics if metric.name != "accuracy"), changes.accuracy)
    return metrics, changes


def _show(found: Difference) -> None:
    from cnnkit.registry.manifest_rows import shown

    if all(line.kind == "same" for line in found.layers):
        note(f"layers: the same {len(found.layers):,}")
    else:
        say("layers")
        for line in found.layers:
            texts = dict.fromkeys(text for text in (line.a, line.b) if text is not None)
            say(f"  {MARKS[line.kind]} {'  ->  '.join(map(on_one_line, texts))}")
    rows = [(change.key, shown(change.a), shown(change.b)) for change in found.changes]
    _section(("value", found.a, found.b), rows, "recipe, settings and versions: the same")
    _show_metrics("recorded metric", found, found.metrics)
    shapes = [
        (array.name, *(sizes(shape) if shape is not None else "-" for shape in shapes))
        for array in found.arrays
        if (shapes := (array.a_shape, array.b_shape)) and array.relative_change is None
    ]
    _section(("shape of", found.a, found.b), shapes, "")
    weights = [
        (array.name, array.relative_change, array.cosine) for array in found.arrays if array.relative_change is not None
    ]
    if weights and not any(change for _, change, _ in weights):
        note(f"values: the same in all {counted(len(weights), 'array')} that both have")
    else:
        _section(("array", "relative change", "cosine"), weights, "")


def _show_metrics(heading: str, found: Difference, metrics: tuple[MetricPair, ...]) -> None:
    rows = [
        (pair.name, *("-" if value is None else value for value in (pair.a, pair.b, pair.difference)))
        for pair in metrics
    ]
    _section((heading, found.a, found.b, "difference"), rows, "")


def _show_predictions(
    found: Difference, data: Data, metrics: tuple[MetricPair, ...], changes: ClassDifference | OutputDifference
) -> None:
    from cnnkit.registry.prediction_diff import OutputDifference

    say()
    say(f"on {counted(changes.samples, 'test sample')} of {data.name}")
    _show_metrics("metric", found, metrics)
    if isinstance(changes, OutputDifference):
        say(
            f"largest difference of an output: {changes.largest:.6g}, sample {changes.index}, output "
            f"{changes.output}: {changes.a:.6g} and {changes.b:.6g}"
        )
        return
    say(
        f"{counted(changes.changed, 'prediction')} changed: {changes.corrected:,} from wrong to right, "
        f"{changes.spoiled:,} from right to wrong"
    )

    def name(index: int | None) -> str:
        if index is None:
            return "no class"
        return data.labels[index] if index < len(data.labels) else str(index)

    def said(index: int | None, probability: float) -> str:
        return name(index) if math.isnan(probability) else f"{name(index)} ({probability:.3f})"

    rows = [(e.index, name(e.target), said(e.a, e.a_probability), said(e.b, e.b_probability)) for e in changes.examples]
    _section(("sample", "label", found.a, found.b), rows, "")


def _section(headings: tuple[str, ...], rows: Sequence[Sequence[object]], none: str) -> None:
    """A table, or one line if it would be empty."""
    if rows:
        say_table(headings, rows)
    elif none:
        note(none)
