"""Evaluation of a model for several labels, label by label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.class_indices import check_labels
from cnnkit.evaluation.class_evaluation import entries, names_of
from cnnkit.evaluation.confusion import ClassReport
from cnnkit.network import Network
from cnnkit.types import Array, Samples


@dataclass(frozen=True)
class LabelEvaluation:
    """Results for each label; those of a ClassReport, in which no label is confused with another."""

    labels: tuple[str, ...]
    report: ClassReport
    of_pixels: bool
    """Whether pixels were counted, not samples."""

    def to_dict(self) -> dict[str, Any]:
        """The evaluation as JSON values; a share of no samples is NaN."""
        return {"labels": entries(self.labels, self.report, self.of_pixels)}


class LabelTally:
    """Notes what a model for several labels says of samples, some after others, and measures it label by label."""

    def __init__(self, model: Network, targets: Array, labels: tuple[str, ...]) -> None:
        model.check_report()
        self.labels = names_of(model, labels)
        self._targets = targets
        self._counts: list[Array] = []
        """(3, K) for some of the samples: where a label is rightly predicted, is predicted, and is there."""

    def note(self, which: slice, scores: Array) -> None:
        """Note the probabilities of these samples, (n, K) or (n, K, H, W)."""
        said, true = scores >= 0.5, np.asarray(self._targets[which]) >= 0.5
        axes = (0, *range(2, said.ndim))
        self._counts.append(np.array([found.sum(axis=axes) for found in (said & true, said, true)]))

    def evaluation(self) -> LabelEvaluation:
        """What all samples have shown."""
        count = len(self.labels)
        right, predicted, there = sum(self._counts, np.zeros((3, count), np.int64))
        report = ClassReport.of_counts(right, predicted, there, np.full(count, -1))
        return LabelEvaluation(self.labels, report, self._targets.ndim > 2)


def label_tally(model: Network, samples: Samples, labels: tuple[str, ...] = ()) -> LabelTally | None:
    """What measures a model for several labels; None for another, and for targets that do not say which are there.

    A label is predicted where its probability is 1/2 or more. Arguments and errors as of `class_tally`.
    """
    check_labels(model.labels, labels)
    if model.task.gives != "labels" or samples.y.shape[1:] != model.output_shape:
        return None
    return LabelTally(model, samples.y, labels)
