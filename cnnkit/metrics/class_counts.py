"""Metrics from three counts of each class: right predictions, predictions, and samples."""

from __future__ import annotations

import math

import numpy as np

from cnnkit.components.checks import from_to, one_of, whole
from cnnkit.components.predicted_class import NO_CLASS, predicted_classes
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.metrics.class_metric import _ClassMetric
from cnnkit.types import Array, Example


class _CountsMetric(_ClassMetric):
    """sums = [right predictions, predictions, samples], each of all classes, (3, K)."""

    def sums(self, outputs: Array, targets: Array) -> Array:
        y, t = self.counted(outputs, targets)
        classes, predicted = y.shape[1], predicted_classes(y)
        told = predicted[predicted != NO_CLASS]
        return np.stack([np.bincount(one, minlength=classes) for one in (t[predicted == t], told, t)], dtype=np.float64)


class _RateMetric(_CountsMetric):
    """A quotient of the counts, averaged over classes or labels."""

    def __init__(
        self,
        average: str = "macro",
        class_index: int | None = None,
        threshold: float | None = None,
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(ignore_index)
        self.average = one_of("average", average, ("macro", "micro"))
        self.class_index = None if class_index is None else whole("class_index", class_index, 0)
        self.threshold = None if threshold is None else from_to("threshold", threshold, 0.0, 1.0)
        self.of_probabilities = threshold is not None
        if class_index is not None and average != "macro":
            raise ConfigError(
                f"average must be left out for one class, class_index={class_index}, got {shown(average)}"
            )
        if threshold is not None and ignore_index is not None:
            raise ConfigError(
                f"ignore_index must be left out for labels, threshold={threshold}, got {shown(ignore_index)}"
            )

    @property
    def key(self) -> str:
        of = f"_class_{self.class_index}" if self.class_index is not None else ""
        at = f"_at_{self.threshold:g}".replace(".", "_") if self.threshold not in (None, 0.5) else ""
        return f"{type(self).__name__.lower()}{of}{'_micro' if self.average == 'micro' else ''}{at}"

    def sums(self, outputs: Array, targets: Array) -> Array:
        counts = super().sums(outputs, targets) if self.threshold is None else self._of_labels(outputs, targets)
        if self.class_index is not None and self.class_index >= counts.shape[1]:
            raise ShapeError(
                f"{self!r} is of class {self.class_index}, and the outputs have the classes 0 to {counts.shape[1] - 1}"
            )
        return counts

    def _of_labels(self, outputs: Array, targets: Array) -> Array:
        if targets.shape != outputs.shape or outputs.ndim < 2:
            raise ShapeError(
                f"{self!r} is of labels, each with a probability: it needs targets of 0 and 1 of the outputs' shape "
                f"{outputs.shape}, got {targets.dtype} of shape {targets.shape}; for one class of several, remove "
                "threshold"
            )
        said, there, axes = outputs >= self.threshold, targets >= 0.5, (0, *range(2, outputs.ndim))
        return np.stack([one.sum(axis=axes) for one in (said & there, said, there)], dtype=np.float64)

    def value(self, total: Array) -> float:
        right, predicted, samples = total
        if self.average == "micro":
            part, of = (one.sum(keepdims=True) for one in self.quotient(right, predicted, samples))
            present = np.array([samples.sum() + predicted.sum() > 0])
        else:
            part, of = self.quotient(right, predicted, samples)
            present = samples + predicted > 0
        if self.class_index is not None:
            chosen = slice(self.class_index, self.class_index + 1)
            part, of, present = part[chosen], of[chosen], present[chosen]
        rates = np.divide(part, of, out=np.zeros_like(part), where=of > 0)[present]
        return float(rates.mean()) if rates.size else math.nan

    def quotient(self, right: Array, predicted: Array, samples: Array) -> tuple[Array, Array]:
        """What is divided by what, of each class."""
        raise NotImplementedError  # derived classes define it


class Precision(_RateMetric):
    """Share of those predicted as a class that are of it.

    value = mean_k right_k / predicted_k over the classes ("macro"), or sum_k right_k / sum_k predicted_k ("micro")

    The mean is over the classes that samples or predictions have; one that is never predicted counts 0. Only that of
    the class `class_index` with it; NaN if no class is there. For one class of several, "micro" is the accuracy.
    With a `threshold`, outputs are of labels, any number of which may be there: each whose probability is not below it
    is predicted.

    Outputs and targets as of Accuracy; of labels, targets of 0 and 1 of the outputs' shape. Raises ShapeError for
    others, ConfigError for arguments that exclude each other.
    Source: van Rijsbergen (1979), Information Retrieval, chapter 7.
    """

    examples = (
        Example("Precision()", (5,), targets="classes"),
        Example('Precision("micro")', (3, 4, 5), targets="classes"),
        Example("Precision(class_index=1)", (4,), targets="shares"),
        Example("Precision(threshold=0.5)", (4,), targets="labels"),
        Example('Precision("micro", threshold=0.3)', (2, 3, 4), targets="labels"),
        Example("Precision(ignore_index=2)", (4, 3, 5), targets="classes"),
    )

    def quotient(self, right: Array, predicted: Array, samples: Array) -> tuple[Array, Array]:
        return right, predicted


class Recall(_RateMetric):
    """Share of the samples of a class that are predicted as it.

    value = mean_k right_k / samples_k over the classes ("macro"), or sum_k right_k / sum_k samples_k ("micro")

    The mean is over the classes that samples or predictions have; one without samples counts 0. All else is as of
    Precision.
    Source: van Rijsbergen (1979), Information Retrieval, chapter 7.
    """

    examples = (
        Example("Recall()", (5,), targets="classes"),
        Example('Recall("micro")', (3, 4, 5), targets="classes"),
        Example("Recall(class_index=1)", (4,), targets="shares"),
        Example("Recall(threshold=0.5)", (4,), targets="labels"),
        Example("Recall(class_index=0, threshold=0.7)", (2, 3, 4), targets="labels"),
        Example("Recall(ignore_index=2)", (4, 3, 5), targets="classes"),
    )

    def quotient(self, right: Array, predicted: Array, samples: Array) -> tuple[Array, Array]:
        return right, samples


class F1(_RateMetric):
    """Harmonic mean of precision and recall.

    value = mean_k 2 right_k / (predicted_k + samples_k) over the classes ("macro"), or the quotient of both sums
    ("micro")

    The mean is over the classes that samples or predictions have. All else is as of Precision.
    Source: van Rijsbergen (1979), Information Retrieval, chapter 7.
    """

    examples = (
        Example("F1()", (5,), targets="classes"),
        Example('F1("micro")', (3, 4, 5), targets="classes"),
        Example("F1(class_index=1)", (4,), targets="shares"),
        Example("F1(threshold=0.5)", (4,), targets="labels"),
        Example('F1("micro", threshold=0.5)', (1,), targets="labels"),
        Example("F1(ignore_index=2)", (4, 3, 5), targets="classes"),
    )

    def quotient(self, right: Array, predicted: Array, samples: Array) -> tuple[Array, Array]:
        return 2 * right, predicted + samples


class BalancedAccuracy(_CountsMetric):
    """Mean share of right predictions over the classes, so that rare ones count as much as frequent ones.

    value = mean_k right_k / samples_k over the classes with samples

    Outputs and targets as of Accuracy; value: 0 to 1, 1 / K by guessing, and NaN over no samples.
    Source: Brodersen et al. (2010), The Balanced Accuracy and Its Posterior Distribution.
    """

    examples = (
        Example("BalancedAccuracy()", (5,), targets="classes"),
        Example("BalancedAccuracy()", (4,), targets="shares"),
        Example("BalancedAccuracy(ignore_index=0)", (3, 4, 5), targets="classes"),
    )

    @property
    def key(self) -> str:
        return "balanced_accuracy"

    def value(self, total: Array) -> float:
        right, _, samples = total
        there = samples > 0
        return float((right[there] / samples[there]).mean()) if there.any() else math.nan


class Matthews(_CountsMetric):
    """Correlation of predicted and true classes, which guessing does not raise, however unequal the classes are.

    value = (c s - sum_k p_k t_k) / sqrt((s^2 - sum_k p_k^2) (s^2 - sum_k t_k^2))

    c: right predictions; s: samples; p_k, t_k: predictions and samples of class k. Samples without a predicted class
    are predictions of one more class. Outputs and targets as of Accuracy; value: -1 to 1, 0 where all predictions, or
    all samples, are of one class, and NaN over no samples.
    Source: Gorodkin (2004), Comparing Two K-Category Assignments by a K-Category Correlation Coefficient.
    """

    examples = (
        Example("Matthews()", (5,), targets="classes"),
        Example("Matthews()", (2,), targets="shares"),
        Example("Matthews(ignore_index=0)", (3, 4, 5), targets="classes"),
    )

    @property
    def key(self) -> str:
        return "matthews_correlation"

    def value(self, total: Array) -> float:
        right, predicted, samples = total
        s = samples.sum()
        if not s:
            return math.nan
        none = s - predicted.sum()
        covariance = right.sum() * s - predicted @ samples
        variances = (s * s - predicted @ predicted - none * none) * (s * s - samples @ samples)
        return float(covariance / math.sqrt(variances)) if variances else 0.0


class MeanIoU(_CountsMetric):
    """Intersection over union of predicted and true regions, averaged over the classes.

    value = mean_k right_k / (predicted_k + samples_k - right_k) over the classes that samples or predictions have

    Regions are those of all pixels together, not of each image. Outputs and targets as of Accuracy; value: 0 to 1, and
    NaN over no samples.
    Source: Everingham et al. (2015), The PASCAL Visual Object Classes Challenge: A Retrospective, section 4.
    """

    examples = (
        Example("MeanIoU()", (3, 4, 5), targets="classes"),
        Example("MeanIoU()", (4,), targets="shares"),
        Example("MeanIoU(ignore_index=0)", (4, 5, 3), targets="classes"),
    )

    @property
    def key(self) -> str:
        return "mean_iou"

    def value(self, total: Array) -> float:
        right, predicted, samples = total
        union = predicted + samples - right
        there = union > 0
        return float((right[there] / union[there]).mean()) if there.any() else math.nan
