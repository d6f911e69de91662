"""Metrics of the order of all predictions: how far those of a class are in front of the others."""

from __future__ import annotations

import math

import numpy as np

from cnnkit.components.checks import whole
from cnnkit.components.contracts import CollectingMetric
from cnnkit.errors import ShapeError
from cnnkit.metrics.class_metric import _ClassMetric
from cnnkit.types import Array, Example


class _RankingMetric(CollectingMetric, _ClassMetric):
    """Of each class, or label, against the rest; rows = [K probabilities, K times 1 or 0, whether it is there]."""

    of_probabilities = True

    def __init__(self, class_index: int | None = None, ignore_index: int | None = None) -> None:
        super().__init__(ignore_index)
        self.class_index = None if class_index is None else whole("class_index", class_index, 0)

    @property
    def name(self) -> str:
        """The key without its option."""
        raise NotImplementedError  # derived classes define it

    @property
    def key(self) -> str:
        return self.name if self.class_index is None else f"{self.name}_class_{self.class_index}"

    def sums(self, outputs: Array, targets: Array) -> Array:
        if targets.shape == outputs.shape and outputs.ndim > 1:
            if not ((targets == 0) | (targets == 1)).all():
                raise ShapeError(
                    f"{self!r} needs targets that say of each class, or label, whether it is there, 0 or 1; remove it "
                    "from the metrics"
                )
            y, there = (np.moveaxis(one, 1, -1).reshape(-1, outputs.shape[1]) for one in (outputs, targets))
        else:
            y, t = self.counted(outputs, targets)
            there = t[:, None] == np.arange(y.shape[1])
        if self.class_index is not None:
            if self.class_index >= y.shape[1]:
                raise ShapeError(
                    f"{self!r} is of class {self.class_index}, and the outputs have the classes 0 to {y.shape[1] - 1}"
                )
            y, there = (one[:, self.class_index, None] for one in (y, there))
        return np.concatenate([y, there.astype(y.dtype)], axis=1)

    def value(self, total: Array) -> float:
        if not np.isfinite(total).all():
            return math.nan
        scores, there = np.split(total, 2, axis=1)
        of_each = [self.of_curve(*_curve(*column)) for column in zip(scores.T, there.T > 0, strict=True)]
        known = [one for one in of_each if one is not None]
        return float(np.mean(known)) if known else math.nan

    def of_curve(self, right: Array, wrong: Array) -> float | None:
        """The metric of one class, None where it has none.

        right, wrong: how many samples with it, and without, have at least each of the different scores, the largest
        score first; int64.
        """
        raise NotImplementedError  # derived classes define it


class ROCAUC(_RankingMetric):
    """The area under the curve of true positives by false positives: how often a sample of a class scores above others.

    value = mean_k P(s_k of a sample of class k > s_k of another one) + P(they are equal) / 2

    Each class, or label, is compared with the rest, exactly, from the order of the probabilities s of all samples. The
    mean is over the classes that have both samples and others; only that of `class_index` with it. It is measured on
    validation and test samples, and not in training.

    Outputs: (N, K) or (N, K, H, W); targets: class indices, (N,) or (N, H, W), those that are `ignore_index` not
    counted, or labels of 0 and 1 of the outputs' shape; value: 0 to 1, 1/2 by guessing, and NaN where no class has
    both, and for probabilities that are not finite. Raises ShapeError for other targets.
    Source: Hanley, McNeil (1982), The Meaning and Use of the Area under a Receiver Operating Characteristic Curve; for
    several classes, Provost, Domingos (2000), Well-Trained PETs, with equal weights.
    """

    examples = (
        Example("ROCAUC()", (5,), targets="classes"),
        Example("ROCAUC()", (3,), targets="labels"),
        Example("ROCAUC(class_index=1)", (2,), targets="classes"),
        Example("ROCAUC(ignore_index=0)", (3, 2, 4), targets="classes"),
    )

    @property
    def name(self) -> str:
        return "roc_auc"

    def of_curve(self, right: Array, wrong: Array) -> float | None:
        if not len(right) or not right[-1] or not wrong[-1]:
            return None
        twice = int((np.diff(wrong, prepend=0) * (right + np.append(0, right[:-1]))).sum())  # whole numbers: exact
        return twice / (2 * int(right[-1]) * int(wrong[-1]))


class AveragePrecision(_RankingMetric):
    """The mean precision over all recalls, as one goes down the order of the probabilities.

    value = mean_k sum_i (R_i - R_{i-1}) P_i

    P_i and R_i: precision and recall of class k if the samples with at least the i-th largest of the different
    probabilities are taken for it. The mean is over the classes that have samples; all else is as of ROCAUC.
    Source: Zhu (2004), Recall, Precision and Average Precision.
    """

    examples = (
        Example("AveragePrecision()", (5,), targets="classes"),
        Example("AveragePrecision()", (3,), targets="labels"),
        Example("AveragePrecision(class_index=1)", (2,), targets="classes"),
        Example("AveragePrecision(ignore_index=0)", (3, 2, 4), targets="classes"),
    )

    @property
    def name(self) -> str:
        return "average_precision"

    def of_curve(self, right: Array, wrong: Array) -> float | None:
        if not len(right) or not right[-1]:
            return None
        return float((np.diff(right, prepend=0) * (right / (right + wrong))).sum() / right[-1])


def _curve(scores: Array, there: Array) -> tuple[Array, Array]:
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)[: len(scores)]
    right = np.cumsum(there[order], dtype=np.int64)[ends]
    return right, ends + 1 - right
