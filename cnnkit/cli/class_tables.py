"""How `evaluate` shows a classifier: a table of its classes, and one of what it takes them for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnkit.cli.output import note, say, say_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cnnkit.evaluation.class_evaluation import ClassEvaluation

MAX_CLASSES = 15
"""What fits a screen."""


def say_classes(evaluation: ClassEvaluation) -> None:
    """Print both tables; of more than 15 classes only the first, with the 15 that fare worst."""
    from cnnkit.evaluation.class_evaluation import MAX_MATRIX

    report, count = evaluation.report, len(evaluation.labels)
    times = {(true, predicted): times for true, predicted, times in evaluation.confusion.rows()}
    names = [label if label == str(place) else f"{place} {label}" for place, label in enumerate(evaluation.labels)]
    shown = range(count) if count <= MAX_CLASSES else report.f1.argsort(kind="stable")[:MAX_CLASSES].tolist()
    say()
    say_table(
        ("class", "samples", "precision", "recall", "F1", "most confused with"),
        [
            (
                names[place],
                int(report.samples[place]),
                float(report.precision[place]),
                float(report.recall[place]),
                float(report.f1[place]),
                _confused(names, int(report.confused_with[place]), times, place),
            )
            for place in shown
        ],
    )
    if count > MAX_CLASSES:
        matrix = ", and the confusion matrix" if count <= MAX_MATRIX else ""
        note(f"the {MAX_CLASSES} classes with the lowest F1 of {count}; --json has all{matrix}")
        return
    say()
    say_table(("true \\ predicted", *map(str, range(count))), _rows(evaluation, names))


def _confused(names: Sequence[str], other: int, times: Mapping[tuple[int, int], int], place: int) -> str:
    return f"{names[other]} ({times[place, other]})" if other >= 0 else ""


def _rows(evaluation: ClassEvaluation, names: Sequence[str]) -> list[tuple[object, ...]]:
    return [(name, *counts) for name, counts in zip(names, evaluation.confusion.matrix().tolist(), strict=True)]
