"""Metrics of scikit-learn that need all predictions at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cnnkit.plugin import Array, CollectingMetric, ShapeError, one_of


class _Kind(NamedTuple):
    """How a function of sklearn.metrics is called."""

    takes: str
    """What it is given beside the targets: "classes", the predicted ones, "probabilities" or "values"."""
    greater_is_better: bool = True


KINDS = {
    "cohen_kappa_score": _Kind("classes"),
    "hamming_loss": _Kind("classes", greater_is_better=False),
    "d2_log_loss_score": _Kind("probabilities"),
    "d2_absolute_error_score": _Kind("values"),
    "explained_variance_score": _Kind("values"),
    "max_error": _Kind("values", greater_is_better=False),
    "mean_absolute_percentage_error": _Kind("values", greater_is_better=False),
    "median_absolute_error": _Kind("values", greater_is_better=False),
}
"""Functions of sklearn.metrics that cnnkit has no metric for."""


class SklearnScore(CollectingMetric):
    """A function of sklearn.metrics, of all validation or test samples at once.

    value = sklearn.metrics.name(targets, predictions)

    name: of classes, cohen_kappa_score or hamming_loss, from the class with the largest output, and d2_log_loss_score,
    from probabilities; of values, d2_absolute_error_score, explained_variance_score, max_error,
    mean_absolute_percentage_error or median_absolute_error. It is the metric's name in a history, too.
    outputs: (N, K); targets: class indices (N,), or values (N, K). NaN where scikit-learn's is not defined. Raises
    ConfigError for another name, ShapeError for other targets.
    Source: https://scikit-learn.org/stable/api/sklearn.metrics.html
    """

    def __init__(self, name: str) -> None:
        self.name = one_of("name", name, tuple(KINDS))
        self.greater_is_better = KINDS[name].greater_is_better  # type: ignore[misc]  # it depends on the name
        self.of_probabilities = KINDS[name].takes == "probabilities"

    @property
    def key(self) -> str:
        return self.name

    def sums(self, outputs: Array, targets: Array) -> Array:
        takes = KINDS[self.name].takes
        if takes == "values":
            if outputs.ndim != 2 or targets.shape != outputs.shape:
                raise ShapeError(
                    f"{self!r} needs outputs of shape (N, K) and values of that shape, got outputs of shape "
                    f"{outputs.shape} and targets of shape {targets.shape}: remove it from the metrics"
                )
            return np.concatenate([outputs, targets], axis=1, dtype=np.float64)
        if outputs.ndim != 2 or targets.shape != outputs.shape[:1] or targets.dtype.kind not in "iu":
            raise ShapeError(
                f"{self!r} needs outputs of shape (N, K) and N class indices, got outputs of shape {outputs.shape} and "
                f"{targets.dtype} targets of shape {targets.shape}: remove it from the metrics"
            )
        predicted = outputs if takes == "probabilities" else outputs.argmax(axis=1)[:, None]
        missing = np.isnan(outputs).any(axis=1, keepdims=True)  # such a sample has no class
        return np.concatenate([np.where(missing, np.nan, predicted), targets[:, None]], axis=1, dtype=np.float64)

    def value(self, total: Array) -> float:
        from sklearn import metrics

        if not len(total) or not np.isfinite(total).all():
            return float("nan")
        score: Callable[..., Any] = getattr(metrics, self.name)
        takes = KINDS[self.name].takes
        if takes == "values":
            predicted, targets = np.split(total, 2, axis=1)
            if self.name == "max_error":  # of one value alone
                predicted, targets = predicted.reshape(-1), targets.reshape(-1)
            return float(score(targets, predicted))
        targets = total[:, -1].astype(np.int64)
        if takes == "classes":
            return float(score(targets, total[:, 0].astype(np.int64)))
        shares = total[:, :-1] / total[:, :-1].sum(axis=1, keepdims=True)  # float32 adds up to 1 less exactly
        return float(score(targets, shares, labels=np.arange(shares.shape[1])))
