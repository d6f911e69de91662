"""Metrics: measures of predictions, from sums that can be added up over tiles in any cut."""

from __future__ import annotations

import numpy as np

from cnnkit.components.checks import are_shares
from cnnkit.components.contracts import Metric
from cnnkit.components.predicted import NO_CLASS, predicted_classes
from cnnkit.errors import ShapeError
from cnnkit.types import Array


class Accuracy(Metric):
    """Share of the samples, or of their pixels, whose largest output is that of their class.

    sums = [number of samples with argmax_k y_k = t, number of samples]; value = sums[0] / sums[1]

    y: (N, K) or (N, K, H, W) outputs, logits or probabilities; t: class indices, (N,) or (N, H, W), or shares of the
    classes of the shape of y, of which the largest is taken; value: 0 to 1, and NaN over no samples. Raises ShapeError
    for other targets. Outputs that are not finite are those of no class: the sample counts as wrong.
    Source: Bishop (2006), Pattern Recognition and Machine Learning, section 1.5.1 (the misclassification rate's
    complement).
    """

    def sums(self, outputs: Array, targets: Array) -> Array:
        if targets.shape == outputs.shape and outputs.ndim > 1 and are_shares(targets).all():
            targets = targets.argmax(axis=1)
        expected = (len(outputs), *outputs.shape[2:])
        if outputs.ndim < 2 or targets.shape != expected or not np.issubdtype(targets.dtype, np.integer):
            raise ShapeError(
                "Accuracy needs outputs of shape (N, K) and N class indices as integers, got outputs of shape "
                f"{outputs.shape} and {targets.dtype} targets of shape {targets.shape}; for values to regress, or "
                "several labels, remove Accuracy() from the metrics"
            )
        predicted = predicted_classes(outputs)
        correct = np.count_nonzero((predicted == targets) & (predicted != NO_CLASS))
        return np.array([correct, targets.size], np.float64)

    def value(self, total: Array) -> float:
        correct, count = total.tolist()
        return correct / count if count else float("nan")


METRICS: tuple[type[Metric], ...] = (Accuracy,)
