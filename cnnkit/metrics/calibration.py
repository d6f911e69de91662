"""Calibration: whether predictions are right as often as they are sure."""

from __future__ import annotations

import math

import numpy as np

from cnnkit.components.checks import whole
from cnnkit.components.predicted_class import predicted_classes
from cnnkit.errors import ShapeError
from cnnkit.metrics.class_metric import _ClassMetric
from cnnkit.types import Array, Example


class CalibrationError(_ClassMetric):
    """The expected calibration error: how far confidence and accuracy are apart.

    confidence p_n = max_k P[n, k];  bin b of B has the samples with (b - 1) / B < p_n <= b / B
    value = sum_b N_b / N |accuracy_b - confidence_b|,  sums = [N_b, sum of p_n in b, right ones in b], (3, B)

    Outputs are probabilities: those that the network gives, or the softmax of its logits. Targets are as of Accuracy;
    value: 0 (as often right as sure) to 1, and NaN over no samples. Raises ShapeError for other targets, and for
    outputs that are no probabilities.
    Source: Guo, Pleiss, Sun, Weinberger (2017), On Calibration of Modern Neural Networks, equations 2, 3 and 5.
    """

    greater_is_better = False
    of_probabilities = True
    examples = (
        Example("CalibrationError()", (5,), targets="classes"),
        Example("CalibrationError(bins=4)", (3, 2, 5), targets="classes"),
        Example("CalibrationError(10, ignore_index=0)", (3, 4, 2), targets="classes"),
    )

    def __init__(self, bins: int = 15, ignore_index: int | None = None) -> None:
        super().__init__(ignore_index)
        self.bins = whole("bins", bins)

    @property
    def key(self) -> str:
        return "calibration_error"

    def sums(self, outputs: Array, targets: Array) -> Array:
        y, t = self.counted(outputs, targets)
        p = y.max(axis=1).astype(np.float64)
        if (p > 1 + 1e-5).any() or (y < 0).any():  # NaN, which the loss is told of, is neither
            raise ShapeError(
                f"{self!r} needs probabilities, from 0 to 1, and the loss takes other outputs: use a loss from logits, "
                "such as CrossEntropy(), or remove it from the metrics"
            )
        bins = np.searchsorted(np.arange(1, self.bins) / self.bins, p)  # an edge belongs to the bin below it
        right = predicted_classes(y) == t
        return np.stack([np.bincount(bins, one, self.bins) for one in (None, p, right)], dtype=np.float64)

    def value(self, total: Array) -> float:
        count, confidence, right = total
        return float(np.abs(right - confidence).sum() / count.sum()) if count.any() else math.nan
