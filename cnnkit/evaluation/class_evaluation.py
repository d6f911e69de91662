"""Evaluation of a classifier on samples, class by class, with its calibration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.class_indices import are_indices, check_labels, indices_of
from cnnkit.components.predicted_class import predicted_classes
from cnnkit.evaluation.calibration import Calibration, calibration_of
from cnnkit.evaluation.confusion import ClassReport, ConfusionPairs, confusion_pairs
from cnnkit.network import Network
from cnnkit.types import Array, Samples

BLOCK = 2**24
"""Probabilities that are in memory together."""
MAX_MATRIX = 1000
"""Classes of a confusion matrix in the document: of more it would have millions of zeros."""


@dataclass(frozen=True)
class ClassEvaluation:
    """Confusions, results for each class, and calibration of a model."""

    labels: tuple[str, ...]
    confusion: ConfusionPairs
    report: ClassReport
    calibration: Calibration | None
    """None if the model has no probabilities, or some that are not finite."""
    of_pixels: bool = False
    """Whether pixels were counted, not samples."""

    def to_dict(self) -> dict[str, Any]:
        """The evaluation as JSON values; a share of no samples is NaN, and of many classes there is no matrix."""
        report, calibrated, confusion = self.report, self.calibration, self.confusion
        classes = entries(self.labels, report, self.of_pixels)
        for entry in classes:
            entry["confused_with"] = None
        for place, other, times in confusion.rows():
            if report.confused_with[place] == other:
                classes[place]["confused_with"] = {"label": self.labels[other], "times": times}
        return {
            "classes": classes,
            "confusion": confusion.matrix().tolist() if confusion.classes <= MAX_MATRIX else None,
            "unpredicted": int(confusion.unpredicted.sum()),
            "calibration": _calibration_dict(calibrated) if calibrated else None,
        }


def evaluate_classes(
    model: Network, samples: Samples, labels: tuple[str, ...] = (), ignored: int | None = None
) -> ClassEvaluation | None:
    """Measure a classifier class by class; None for a model or targets without classes.

    Where a model gives classes for each pixel, pixels are counted. labels: names for the classes of a model without its
    own; ignored: the class index of samples, or pixels, that are not counted. Raises ShapeError for samples of another
    shape than the model takes, or with classes that it does not have, or has in another order, and CostError for more
    classes than can be reported on one by one.
    """
    check_labels(model.labels, labels)
    y = indices_of(samples.y)
    if model.task.gives != "classes" or not are_indices(y) or y.shape[1:] != model.output_shape[1:]:
        return None
    model.check_report()
    count = model.output_shape[0]
    names = next((given for given in (model.labels, labels) if len(given) == count), tuple(map(str, range(count))))
    predicted, confidence = _predicted(model, samples)
    targets = y.reshape(-1)
    if ignored is not None:
        counted = targets != ignored
        targets, predicted, confidence = targets[counted], predicted[counted], confidence[counted]
    confusion = confusion_pairs(targets, predicted, count)
    believable = model.has_probabilities and np.isfinite(confidence).all()
    calibrated = calibration_of(confidence, predicted == targets) if believable else None
    return ClassEvaluation(names, confusion, confusion.report(), calibrated, y.ndim > 1)


def entries(labels: tuple[str, ...], report: ClassReport, of_pixels: bool) -> list[dict[str, Any]]:
    """The results of each class or label as JSON values; of pixels with their intersection over union."""
    columns = {"samples": report.samples, "precision": report.precision, "recall": report.recall, "f1": report.f1}
    columns |= {"iou": report.iou} if of_pixels else {}
    rows = zip(labels, *(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(("label", *columns), row, strict=True)) for row in rows]


def _predicted(model: Network, samples: Samples) -> tuple[Array, Array]:
    """The predicted class of each sample, or pixel, or NO_CLASS, and its probability or score: (N,) or (N*H*W,)."""
    step = max(1, BLOCK // math.prod(model.output_shape))
    asked = model.predict_proba if model.has_probabilities else model.logits
    found = []
    for start in range(0, max(1, len(samples)), step):
        scores = asked(samples.x[start : start + step])
        found.append((predicted_classes(scores).reshape(-1), scores.max(axis=1).reshape(-1)))
    predicted, confidence = map(np.concatenate, zip(*found, strict=True))
    return predicted, confidence


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
