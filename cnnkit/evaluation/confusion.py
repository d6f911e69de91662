"""Which classes a classifier confuses, and its results for each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.class_indices import first_outside
from cnnkit.components.checks import whole
from cnnkit.components.predicted_class import NO_CLASS
from cnnkit.errors import ShapeError
from cnnkit.types import Array, as_array


@dataclass(frozen=True)
class ClassReport:
    """Results for each class; arrays (K,), with NaN where a share is one of no samples."""

    samples: Array
    """How many samples are of the class."""
    precision: Array
    """Share of those predicted as the class that are of it."""
    recall: Array
    """Share of those of the class that are predicted as it."""
    f1: Array
    """Harmonic mean of precision and recall."""
    confused_with: Array
    """The other class that its samples are most often taken for, the lowest of equals; -1 if they never are."""
    iou: Array
    """Intersection over union: those of the class that are predicted as it, of all that are one or the other."""

    @classmethod
    def of_counts(cls, right: Array, predicted: Array, samples: Array, confused_with: Array) -> ClassReport:
        """From three counts of each class: right predictions, predictions, and samples."""
        return cls(
            samples,
            share(right, predicted),
            share(right, samples),
            share(2 * right, samples + predicted),
            confused_with,
            share(right, samples + predicted - right),
        )


@dataclass(frozen=True)
class ConfusionPairs:
    """The counts of a confusion matrix that are not 0: their number grows with the samples, not with the classes.

    Arrays (P,), in the order of the matrix: by true class, then by predicted class.
    """

    true: Array
    predicted: Array
    times: Array
    classes: int
    unpredicted: Array
    """(classes,): how many samples of each class have no predicted one, because the model gives NaN for them."""

    def matrix(self) -> Array:
        """The confusion matrix, (classes, classes)."""
        matrix = np.zeros((self.classes, self.classes), np.int64)
        matrix[self.true, self.predicted] = self.times
        return matrix

    def rows(self) -> list[tuple[int, int, int]]:
        """True class, predicted class and how often."""
        return list(zip(self.true.tolist(), self.predicted.tolist(), self.times.tolist(), strict=True))

    def report(self) -> ClassReport:
        """Precision, recall and F1 of each class, as of `class_report`."""
        hit = self.true == self.predicted
        right, samples, predicted = (
            np.bincount(index, self.times[chosen], self.classes).astype(np.int64)
            for index, chosen in ((self.true[hit], hit), (self.true, slice(None)), (self.predicted, slice(None)))
        )
        samples += self.unpredicted
        true, other, times = self.true[~hit], self.predicted[~hit], self.times[~hit]
        order = np.lexsort((other, -times, true))  # of each class the most frequent confusion first
        first, place = np.unique(true[order], return_index=True)
        confused_with = np.full(self.classes, -1)
        confused_with[first] = other[order][place]
        return ClassReport.of_counts(right, predicted, samples, confused_with)


def confusion_matrix(targets: Array, predictions: Array, classes: int) -> Array:
    """How often samples of one class are predicted as another.

    C[i, j] = number of samples with target i and prediction j

    targets, predictions: (N,) class indices; C: (classes, classes) int64, rows true, columns predicted.
    Raises ShapeError unless both are as many whole numbers from 0 to classes - 1.
    Source: Stehman (1997), Selecting and Interpreting Measures of Thematic Classification Accuracy.
    """
    whole("classes", classes)
    predictions = as_array(predictions, "the predictions")
    check_classes("predictions", predictions, predictions.size, classes)
    return confusion_pairs(targets, predictions, classes).matrix()


def confusion_pairs(targets: Array, predictions: Array, classes: int) -> ConfusionPairs:
    """The confusion matrix without its zeros, for any number of classes; NO_CLASS is a sample without a prediction.

    Other arguments and errors as of `confusion_matrix`.
    """
    whole("classes", classes)
    targets, predictions = as_array(targets, "the targets"), as_array(predictions, "the predictions")
    check_classes("targets", targets, len(predictions) if predictions.ndim else 0, classes)
    told = predictions != NO_CLASS
    check_classes("predictions", np.where(told, predictions, 0), len(targets), classes)
    cells = targets[told].astype(np.int64) * classes + predictions[told].astype(np.int64)
    cells, times = np.unique(cells, return_counts=True)
    unpredicted = np.bincount(targets[~told].astype(np.int64), minlength=classes)
    return ConfusionPairs(*np.divmod(cells, classes), times.astype(np.int64), classes, unpredicted)


def class_report(confusion: Array) -> ClassReport:
    """Precision, recall, F1 and intersection over union of each class.

    precision_k = C[k, k] / sum_i C[i, k],  recall_k = C[k, k] / sum_j C[k, j]
    F1_k = 2 precision_k recall_k / (precision_k + recall_k) = 2 C[k, k] / (sum_i C[i, k] + sum_j C[k, j])
    IoU_k = C[k, k] / (sum_i C[i, k] + sum_j C[k, j] - C[k, k])

    A class without samples has no recall, one that is never predicted no precision, and one that is neither no F1 and
    no IoU: NaN.
    confusion: (K, K) counts, rows true, columns predicted. Raises ShapeError for any other shape.
    Source: van Rijsbergen (1979), Information Retrieval, chapter 7.
    """
    confusion = as_array(confusion, "the confusion matrix")
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1] or not confusion.size:
        raise ShapeError(
            f"expected a confusion matrix of shape (K, K), got {confusion.shape}: use the one from confusion_matrix"
        )
    true, predicted = np.nonzero(confusion)
    none = np.zeros(len(confusion), np.int64)
    return ConfusionPairs(true, predicted, confusion[true, predicted], len(confusion), none).report()


def share(part: Array, of: Array) -> Array:
    """part / of in float64, NaN where there is nothing to have a share of."""
    share: Array = np.divide(part, of, out=np.full(of.shape, np.nan), where=of > 0)
    return share


def check_classes(name: str, values: Any, count: int, classes: int) -> None:
    """Raise ShapeError unless these are so many class indices, 0 to classes - 1."""
    if values.shape != (count,) or not np.issubdtype(values.dtype, np.integer):
        raise ShapeError(
            f"the {name} must be class indices, integers of shape ({count},), got {values.dtype} of shape "
            f"{values.shape}"
        )
    if place := first_outside(values, classes):
        raise ShapeError(
            f"the {name} must be 0 to {classes - 1} for {classes} classes, at {place[0]} is {values[place]}"
        )
