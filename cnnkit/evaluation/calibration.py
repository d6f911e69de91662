"""Calibration: whether a classifier is right as often as it is confident."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cnnkit.components.checks import whole
from cnnkit.errors import ShapeError
from cnnkit.evaluation.confusion import check_classes, share
from cnnkit.types import Array, as_array


@dataclass(frozen=True)
class Calibration:
    """Confidence and accuracy, in bins of confidence; arrays (bins,), with NaN in a bin without samples."""

    confidence: Array
    """Mean probability of the predicted class."""
    accuracy: Array
    """Share of right predictions."""
    count: Array
    """Samples in the bin."""
    error: float
    """The expected calibration error, 0 (as often right as sure) to 1; NaN without samples."""

    @property
    def mean_confidence(self) -> float:
        """Mean probability of the predicted class over all samples, to compare with their accuracy; NaN without any."""
        total = int(self.count.sum())
        return float(np.nansum(self.confidence * self.count) / total) if total else math.nan


def calibration(probabilities: Array, targets: Array, bins: int = 15) -> Calibration:
    """Whether a classifier is right as often as it is confident.

    confidence p_n = max_k P[n, k];  bin b of B has the samples with (b - 1) / B < p_n <= b / B
    error = sum_b N_b / N |accuracy_b - confidence_b|

    probabilities: (N, K), each row with sum 1; targets: (N,) class indices; bins: of equal width.
    Raises ShapeError for other shapes or indices, and for values that are not probabilities.
    Source: Guo, Pleiss, Sun, Weinberger (2017), On Calibration of Modern Neural Networks, equations 2, 3 and 5.
    """
    whole("bins", bins)
    probabilities, targets = as_array(probabilities, "the probabilities"), as_array(targets, "the targets")
    if probabilities.ndim != 2 or not probabilities.shape[1]:
        raise ShapeError(
            f"expected probabilities of shape (N, K), got {probabilities.shape}: use those of predict_proba"
        )
    count, classes = probabilities.shape
    check_classes("targets", targets, count, classes)
    p = probabilities.max(axis=1)
    if not (p <= 1 + 1e-5).all() or (count and probabilities.min() < 0):  # NaN is not below either
        raise ShapeError("expected probabilities from 0 to 1, got others, perhaps logits: use those of predict_proba")
    return calibration_of(p, probabilities.argmax(axis=1) == targets, bins)


def calibration_of(confidence: Array, right: Array, bins: int = 15) -> Calibration:
    """Calibration from (N,) probabilities of the predicted classes, 0 to 1, and (N,) whether they are right."""
    whole("bins", bins)
    p, count = confidence.astype(np.float64), len(confidence)
    place = np.searchsorted(np.arange(1, bins) / bins, p)  # an edge belongs to the bin below it
    inside = np.bincount(place, minlength=bins)
    mean = share(np.bincount(place, p, bins), inside)
    accuracy = share(np.bincount(place, right, bins), inside)
    error = np.nansum(inside / count * np.abs(accuracy - mean)) if count else np.nan
    return Calibration(mean, accuracy, inside, float(error))
