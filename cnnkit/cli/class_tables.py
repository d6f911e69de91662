"""How `evaluate` shows classes or labels: a table of them, and of classes one of what they are taken for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnkit.cli.output import note, say, say_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cnnkit.evaluation.class_evaluation import ClassEvaluation
    from cnnkit.evaluation.confusion import ClassReport
    from cnnkit.evaluation.label_evaluation import LabelEvaluation

MAX_CLASSES = 15
"""What fits a screen."""
MAX_LETTERS = 40
"""Of all labels, as the columns of a matrix that fits a screen."""
CONFUSED = "most confused with"


def say_classes(evaluation: ClassEvaluation) -> None:
    """Print both tables; of more than 15 classes only the first, with the 15 that fare worst."""
    from cnnkit.evaluation.class_evaluation import MAX_MATRIX

    report, count = evaluation.report, len(evaluation.labels)
    times = {(true, predicted): times for true, predicted, times in evaluation.confusion.rows()}
    names, headings = _names(evaluation.labels)
    shown = _worst(report)
    confused = [_confused(names, int(report.confused_with[place]), times, place) for place in shown]
    more = {"IoU": [float(report.iou[place]) for place in shown]} if evaluation.of_pixels else {}
    say()
    what = "pixels" if evaluation.of_pixels else "samples"
    _say_report("class", names, report, shown, what, more | {CONFUSED: confused})
    if count > MAX_CLASSES:
        matrix = ", and the confusion matrix" if count <= MAX_MATRIX else ""
        note(f"the {MAX_CLASSES} classes with the lowest F1 of {count}; --json has all{matrix}")
        return
    say()
    say_table(("true \\ predicted", *headings), _rows(evaluation, names))


def say_labels(evaluation: LabelEvaluation) -> None:
    """Print the table of a model for several labels; of more than 15 the 15 that fare worst."""
    report, shown, count = evaluation.report, _worst(evaluation.report), len(evaluation.labels)
    more = {"IoU": [float(report.iou[place]) for place in shown]} if evaluation.of_pixels else {}
    say()
    _say_report("label", evaluation.labels, report, shown, "pixels" if evaluation.of_pixels else "samples", more)
    if count > MAX_CLASSES:
        note(f"the {MAX_CLASSES} labels with the lowest F1 of {count}; --json has all")


def _names(labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """What classes are called, and the columns of the matrix: labels, or numbers where these make it too wide."""
    distinct = len(set(labels)) == len(labels)
    if distinct and (len(labels) > MAX_CLASSES or sum(map(len, labels)) <= MAX_LETTERS):
        return list(labels), list(labels)
    numbers = [str(place) for place in range(len(labels))]
    return [name if name == at else f"{at} {name}" for at, name in zip(numbers, labels, strict=True)], numbers


def _worst(report: ClassReport) -> list[int]:
    """All classes, or of many those with the lowest F1."""
    count = len(report.f1)
    return list(range(count)) if count <= MAX_CLASSES else report.f1.argsort(kind="stable")[:MAX_CLASSES].tolist()


def _say_report(
    what: str,
    names: Sequence[str],
    report: ClassReport,
    shown: Sequence[int],
    counted: str,
    more: Mapping[str, Sequence[object]],
) -> None:
    """A line for each; counted: what samples are; more: further columns."""
    columns = {counted: report.samples, "precision": report.precision, "recall": report.recall, "F1": report.f1}
    rows = [
        (names[place], *(column[place].item() for column in columns.values()), *others)
        for place, *others in zip(shown, *more.values(), strict=True)
    ]
    say_table((what, *columns, *more), rows)


def _confused(names: Sequence[str], other: int, times: Mapping[tuple[int, int], int], place: int) -> str:
    return f"{names[other]} ({times[place, other]})" if other >= 0 else ""


def _rows(evaluation: ClassEvaluation, names: Sequence[str]) -> list[tuple[object, ...]]:
    return [(name, *counts) for name, counts in zip(names, evaluation.confusion.matrix().tolist(), strict=True)]
