"""Evaluation of a model for several labels, label by label."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.class_indices import check_labels
from cnnkit.evaluation.class_evaluation import BLOCK, entries
from cnnkit.evaluation.confusion import ClassReport
from cnnkit.network import Network
from cnnkit.types import Samples


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


def evaluate_labels(model: Network, samples: Samples, labels: tuple[str, ...] = ()) -> LabelEvaluation | None:
    """Measure a model for several labels; None for another, and for targets that do not say which labels are there.

    A label is predicted where its probability is 1/2 or more. Arguments and errors as of `evaluate_classes`.
    """
    check_labels(model.labels, labels)
    if model.task.gives != "labels" or samples.y.shape[1:] != model.output_shape:
        return None
    model.check_report()
    count = model.output_shape[0]
    step = max(1, BLOCK // math.prod(model.output_shape))
    right, predicted, there = (np.zeros(count, np.int64) for _ in range(3))
    axes = (0, *range(2, samples.y.ndim))
    for start in range(0, len(samples), step):
        said = model.predict_proba(samples.x[start : start + step]) >= 0.5
        true = np.asarray(samples.y[start : start + step]) >= 0.5
        for total, found in ((right, said & true), (predicted, said), (there, true)):
            total += found.sum(axis=axes)
    names = next((given for given in (model.labels, labels) if len(given) == count), tuple(map(str, range(count))))
    report = ClassReport.of_counts(right, predicted, there, np.full(count, -1))
    return LabelEvaluation(names, report, len(axes) > 1)
