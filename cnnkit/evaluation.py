"""Evaluation of a classifier on samples, class by class, with what its probabilities are worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.measures import Calibration, ClassReport, ConfusionPairs, calibration, confusion_pairs
from cnnkit.network import Sequential
from cnnkit.types import Samples

MAX_MATRIX = 1000
"""Classes of a confusion matrix in the document: of more it would have millions of zeros."""


@dataclass(frozen=True)
class ClassEvaluation:
    """What a model confuses, how each class fares, and how far its probabilities can be believed."""

    labels: tuple[str, ...]
    confusion: ConfusionPairs
    report: ClassReport
    calibration: Calibration | None
    """None if the model has probabilities that are not finite."""

    def to_dict(self) -> dict[str, Any]:
        """The evaluation as JSON values; a share of no samples is NaN, and of many classes there is no matrix."""
        report, calibrated, confusion = self.report, self.calibration, self.confusion
        columns = (report.samples, report.precision, report.recall, report.f1)
        names = ("samples", "precision", "recall", "f1")
        rows = zip(self.labels, *(column.tolist() for column in columns), strict=True)
        classes: list[dict[str, Any]] = [dict(zip(("label", *names), row, strict=True)) for row in rows]
        for entry in classes:
            entry["confused_with"] = None
        for place, other, times in confusion.rows():
            if report.confused_with[place] == other:
                classes[place]["confused_with"] = {"label": self.labels[other], "times": times}
        return {
            "classes": classes,
            "confusion": confusion.matrix().tolist() if confusion.classes <= MAX_MATRIX else None,
            "calibration": _calibration_dict(calibrated) if calibrated else None,
        }


def evaluate_classes(model: Sequential, samples: Samples, labels: tuple[str, ...] = ()) -> ClassEvaluation | None:
    """Measure a classifier class by class; None for targets that are no class indices.

    labels: names for the classes of a model without its own.
    Raises ShapeError for samples of another shape than the model takes, or with classes that it does not have.
    """
    if samples.y.ndim != 1 or not np.issubdtype(samples.y.dtype, np.integer) or len(model.output_shape) != 1:
        return None
    count = model.output_shape[0]
    names = next((given for given in (model.labels, labels) if len(given) == count), tuple(map(str, range(count))))
    probabilities = model.predict_proba(samples.x)
    confusion = confusion_pairs(samples.y, probabilities.argmax(axis=1), count)
    calibrated = calibration(probabilities, samples.y) if np.isfinite(probabilities).all() else None
    return ClassEvaluation(names, confusion, confusion.report(), calibrated)


def _calibration_dict(calibrated: Calibration) -> dict[str, Any]:
    edges = np.linspace(0, 1, len(calibrated.count) + 1).tolist()
    columns = (calibrated.count, calibrated.confidence, calibrated.accuracy)
    rows = zip(edges[:-1], edges[1:], *(column.tolist() for column in columns), strict=True)
    names = ("above", "up_to", "samples", "confidence", "accuracy")
    return {
        "error": calibrated.error,
        "mean_confidence": calibrated.mean_confidence,
        "bins": [dict(zip(names, row, strict=True)) for row in rows],
    }
