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
from cnnkit.network import Network, Told
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


class ClassTally:
    """Notes what a classifier says of samples, some after others, and measures it class by class.

    Arguments and errors as of `class_tally`.
    """

    def __init__(self, model: Network, targets: Array, labels: tuple[str, ...], ignored: int | None) -> None:
        model.check_report()
        self.labels = names_of(model, labels)
        self._targets, self._ignored, self._believable = targets, ignored, model.has_probabilities
        self._predicted = np.empty(targets.shape, np.int64)
        self._confidence = np.empty(targets.shape, model.dtype)

    def note(self, which: slice, scores: Array) -> None:
        """Note the scores of these samples, (n, K) or (n, K, H, W), as `Network.scores` gives them."""
        self._predicted[which] = predicted_classes(scores)
        self._confidence[which] = scores.max(axis=1)

    def evaluation(self) -> ClassEvaluation:
        """What all samples have shown. Raises ShapeError for targets that are no class of the model."""
        of_all = self._targets, self._predicted, self._confidence
        targets, predicted, confidence = (array.reshape(-1) for array in of_all)
        if self._ignored is not None:
            counted = targets != self._ignored
            targets, predicted, confidence = targets[counted], predicted[counted], confidence[counted]
        confusion = confusion_pairs(targets, predicted, len(self.labels))
        believable = self._believable and np.isfinite(confidence).all()
        calibrated = calibration_of(confidence, predicted == targets) if believable else None
        return ClassEvaluation(self.labels, confusion, confusion.report(), calibrated, self._targets.ndim > 1)


def class_tally(
    model: Network, samples: Samples, labels: tuple[str, ...] = (), ignored: int | None = None
) -> ClassTally | None:
    """What measures a classifier class by class; None for a model or targets without classes.

    Where a model gives classes for each pixel, pixels are counted. labels: names for the classes of a model without its
    own; ignored: the class index of samples, or pixels, that are not counted. Raises ShapeError for samples with
    classes that the model does not have, or has in another order, and CostError for more classes than can be reported
    on one by one.
    """
    check_labels(model.labels, labels)
    y = indices_of(samples.y)
    if model.task.gives != "classes" or not are_indices(y) or y.shape[1:] != model.output_shape[1:]:
        return None
    return ClassTally(model, y, labels, ignored)


def evaluate_classes(
    model: Network, samples: Samples, labels: tuple[str, ...] = (), ignored: int | None = None
) -> ClassEvaluation | None:
    """Measure a classifier class by class; None for a model or targets without classes.

    Arguments and errors as of `class_tally`, with ShapeError for samples of another shape than the model takes.
    """
    tally = class_tally(model, samples, labels, ignored)
    if tally is None:
        return None
    ask(model, samples, tally.note)
    return tally.evaluation()


def ask(model: Network, samples: Samples, note: Told) -> None:
    """Let `note` have the model's scores of all samples, block by block."""
    step = max(1, BLOCK // math.prod(model.output_shape))
    for start in range(0, len(samples), step):
        block = slice(start, start + step)
        note(block, model.scores(model.logits(samples.x[block])))


def names_of(model: Network, labels: tuple[str, ...]) -> tuple[str, ...]:
    """The names of classes or labels: the model's own, else these if they are as many, else numbers."""
    count = model.output_shape[0]
    return next((given for given in (model.labels, labels) if len(given) == count), tuple(map(str, range(count))))


def entries(labels: tuple[str, ...], report: ClassReport, of_pixels: bool) -> list[dict[str, Any]]:
    """The results of each class or label as JSON values; of pixels with their intersection over union."""
    columns = {"samples": report.samples, "precision": report.precision, "recall": report.recall, "f1": report.f1}
    columns |= {"iou": report.iou} if of_pixels else {}
    rows = zip(labels, *(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(("label", *columns), row, strict=True)) for row in rows]


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
