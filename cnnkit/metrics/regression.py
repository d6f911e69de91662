"""Metrics of values to regress: how far outputs are from their targets."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from cnnkit.components.contracts import Metric
from cnnkit.errors import ShapeError
from cnnkit.types import Array, Example


class _RegressionMetric(Metric):
    """Of outputs (N, F), or (N, C, H, W), and targets of their shape, in float64."""

    def rows(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
        """Outputs and targets, (R, F); of images each pixel is a row of C. Raises ShapeError for other targets."""
        if targets.shape != outputs.shape or outputs.ndim < 2:
            raise ShapeError(
                f"{type(self).__name__} needs targets of the outputs' shape {outputs.shape}, got {targets.dtype} of "
                f"shape {targets.shape}: for classes, use a metric such as Accuracy()"
            )
        y, t = (np.moveaxis(one, 1, -1).reshape(-1, outputs.shape[1]) for one in (outputs, targets))
        return y.astype(np.float64), t.astype(np.float64)


class MAE(_RegressionMetric):
    """Mean absolute error over all values of all samples.

    sums = [sum |y - t|, number of values]; value = sums[0] / sums[1]

    y: (N, F) or (N, C, H, W); t: of the same shape; value: in the outputs' unit, NaN over no samples. Raises ShapeError
    for other targets.
    Source: Willmott, Matsuura (2005), Advantages of the Mean Absolute Error over the Root Mean Square Error.
    """

    greater_is_better = False
    examples = (Example("MAE()", (5,), targets="values"), Example("MAE()", (2, 3, 4), targets="values"))

    def sums(self, outputs: Array, targets: Array) -> Array:
        y, t = self.rows(outputs, targets)
        return np.array([np.abs(y - t).sum(), y.size])

    def value(self, total: Array) -> float:
        error, count = total.tolist()
        return error / count if count else math.nan


class RMSE(_RegressionMetric):
    """Root of the mean squared error of each output, averaged over the outputs.

    sums = [sum (y_f - t_f)^2 for each output f, ..., number of rows]; value = mean_f sqrt(sums_f / number)

    y: (N, F), or (N, C, H, W), each pixel a row of C outputs; t: of the same shape; value: in the outputs' unit, NaN
    over no samples. Raises ShapeError for other targets.
    Source: Willmott, Matsuura (2005), Advantages of the Mean Absolute Error over the Root Mean Square Error.
    """

    greater_is_better = False
    examples = (Example("RMSE()", (5,), targets="values"), Example("RMSE()", (2, 3, 4), targets="values"))

    def sums(self, outputs: Array, targets: Array) -> Array:
        y, t = self.rows(outputs, targets)
        return np.append(np.square(y - t).sum(axis=0), len(y))

    def value(self, total: Array) -> float:
        count = float(total[-1])
        return float(np.sqrt(total[:-1] / count).mean()) if count else math.nan


class R2(_RegressionMetric):
    """The share of the variance of the targets that the outputs explain, averaged over the outputs.

    value = mean_f (1 - sum (y_f - t_f)^2 / sum (t_f - mean(t_f))^2)

    Tiles give the number, mean and squared deviations of their targets, and are joined as batch normalisation joins its
    statistics, so that a large mean costs no digits. An output whose targets are all equal counts 1 if it is right, and
    else 0.

    y: (N, F), or (N, C, H, W), each pixel a row of C outputs; t: of the same shape; value: at most 1, 0 for the mean of
    the targets, NaN over fewer than two rows. Raises ShapeError for other targets.
    Source: Kvalseth (1985), Cautionary Note about R^2; Chan, Golub, LeVeque (1983), Algorithms for Computing the Sample
    Variance, for the joining.
    """

    examples = (Example("R2()", (5,), targets="values"), Example("R2()", (2, 3, 4), targets="values"))

    def sums(self, outputs: Array, targets: Array) -> Array:
        y, t = self.rows(outputs, targets)
        if not len(t):
            return np.zeros((4, y.shape[1]))
        shifted = t - t[0]
        mean = shifted.mean(axis=0)
        return np.stack(
            [
                np.full(y.shape[1], float(len(y))),
                mean + t[0],
                np.square(shifted - mean).sum(axis=0),
                np.square(y - t).sum(axis=0),
            ]
        )

    def join(self, parts: Sequence[Array]) -> Array:
        return functools.reduce(_joined, parts)

    def value(self, total: Array) -> float:
        count, _, deviations, errors = total
        if count[0] < 2:
            return math.nan
        unexplained = np.divide(errors, deviations, out=(errors > 0).astype(np.float64), where=deviations > 0)
        return float((1 - unexplained).mean())


def _joined(one: Array, other: Array) -> Array:
    """n, mean, sum of squared deviations, and sum of squared errors of two tiles together."""
    n = one[0] + other[0]
    share = other[0] / np.maximum(n, 1)
    apart = other[1] - one[1]
    return np.stack(
        [n, one[1] + apart * share, one[2] + other[2] + np.square(apart) * one[0] * share, one[3] + other[3]]
    )
