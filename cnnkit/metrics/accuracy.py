"""Accuracy: how many of the predicted classes are right."""

from __future__ import annotations

import numpy as np

from cnnkit.components.checks import whole
from cnnkit.components.predicted_class import NO_CLASS, predicted_classes
from cnnkit.metrics.class_metric import _ClassMetric
from cnnkit.types import Array, Example


class Accuracy(_ClassMetric):
    """Share of the samples, or of their pixels, whose largest output is that of their class.

    sums = [number of samples with argmax_k y_k = t, number of samples]; value = sums[0] / sums[1]

    y: (N, K) or (N, K, H, W) outputs, logits or probabilities; t: class indices, (N,) or (N, H, W), or shares of the
    classes of the shape of y, of which the largest is taken; those that are `ignore_index` are not counted; value: 0 to
    1, and NaN over no samples. Raises ShapeError for other targets. Outputs that are not finite are those of no class:
    the sample counts as wrong.
    Source: Bishop (2006), Pattern Recognition and Machine Learning, section 1.5.1 (the misclassification rate's
    complement).
    """

    examples = (
        Example("Accuracy()", (5,), targets="classes"),
        Example("Accuracy()", (3, 4, 5), targets="classes"),
        Example("Accuracy()", (4,), targets="shares"),
        Example("Accuracy(ignore_index=1)", (3, 2, 5), targets="classes"),
    )

    def sums(self, outputs: Array, targets: Array) -> Array:
        targets = self.classes_of(outputs, targets)
        predicted = predicted_classes(outputs)
        right = (predicted == targets) & (predicted != NO_CLASS)
        if self.ignore_index is None:
            return np.array([np.count_nonzero(right), targets.size], np.float64)
        counted = targets != self.ignore_index
        return np.array([np.count_nonzero(right & counted), np.count_nonzero(counted)], np.float64)

    def value(self, total: Array) -> float:
        right, count = total.tolist()
        return right / count if count else float("nan")


class TopKAccuracy(_ClassMetric):
    """Share of the samples, or of their pixels, whose class is among those with the k largest outputs.

    sums = [number of samples with rank(t) <= k, number of samples]; value = sums[0] / sums[1]

    rank(t) = 1 + number of classes with y_k > y_t, or with y_k = y_t and k > t: of equal outputs, the higher class
    comes first, as in scikit-learn. Arguments, targets and outputs that are not finite are as of Accuracy.
    Source: Russakovsky et al. (2015), ImageNet Large Scale Visual Recognition Challenge, section 4.1.
    """

    examples = (
        Example("TopKAccuracy()", (7,), targets="classes"),
        Example("TopKAccuracy(k=2)", (3, 4, 5), targets="classes"),
        Example("TopKAccuracy(2)", (4,), targets="shares"),
        Example("TopKAccuracy(3, ignore_index=1)", (5, 2, 5), targets="classes"),
    )

    def __init__(self, k: int = 5, ignore_index: int | None = None) -> None:
        super().__init__(ignore_index)
        self.k = whole("k", k)

    @property
    def key(self) -> str:
        return f"top_{self.k}_accuracy"

    def sums(self, outputs: Array, targets: Array) -> Array:
        y, t = self.counted(outputs, targets)
        of_target = y[np.arange(len(y)), t][:, None]
        before = (y > of_target) | ((y == of_target) & (np.arange(y.shape[1]) > t[:, None]))
        right = (np.count_nonzero(before, axis=1) < self.k) & np.isfinite(y.max(axis=1))
        return np.array([np.count_nonzero(right), len(t)], np.float64)

    def value(self, total: Array) -> float:
        right, count = total.tolist()
        return right / count if count else float("nan")
