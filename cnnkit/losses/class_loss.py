"""What losses of classes have in common: class indices or shares of the classes, of samples or of pixels."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from cnnkit.components.checks import index_or_none
from cnnkit.components.contracts import Loss
from cnnkit.components.sums import SHORT, sum_over
from cnnkit.losses.rows import as_outputs, check_classes, check_outputs, check_shares, mean_of_each, rows_of
from cnnkit.types import Array, Cache, Shape


class _ClassLoss(Loss):
    """A loss of classes. Targets that are `ignore_index` have no part in it."""

    gives = "classes"
    from_logits: ClassVar[bool] = True
    ignore_index: int | None = None

    def __init__(self, ignore_index: int | None = None) -> None:
        self.ignore_index = index_or_none("ignore_index", ignore_index)

    def checked(self, outputs: Array, targets: Array) -> tuple[Array, Array | None]:
        """Class indices (R,), or shares (R, K), of the rows, those of samples or of all their pixels; and what each row
        counts in the mean of its sample, None if all count alike.

        Raises ShapeError for targets that are neither.
        """
        if targets.shape == outputs.shape:
            check_shares(targets)
            return rows_of(targets), None
        if self.ignore_index is None or targets.shape != (len(outputs), *outputs.shape[2:]):
            check_classes(outputs, targets)
            return targets.reshape(-1), None
        counted = targets != self.ignore_index
        targets = np.where(counted, targets, 0).astype(targets.dtype)
        check_classes(outputs, targets)
        in_each = counted.reshape(len(outputs), math.prod(outputs.shape[2:]))
        counts = in_each / np.maximum(np.count_nonzero(in_each, axis=1), 1)[:, None]
        return targets.reshape(-1), counts.reshape(-1).astype(outputs.dtype)


class _RowLoss(_ClassLoss):
    """A loss of the scores of a row, that of a sample or of a pixel, and of its class; of pixels it is the mean.

    The mean of a sample is over its pixels that are not ignored; without any, loss and gradient are 0.
    """

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, tuple[Cache, Array | None, Shape]]:
        check_outputs(outputs)
        targets, counts = self.checked(outputs, targets)
        losses, kept = self.of_rows(rows_of(outputs), targets)
        if counts is not None:
            losses = sum_over((losses * counts).reshape(len(outputs), math.prod(outputs.shape[2:])), 1)
        elif outputs.ndim > 2:
            losses = mean_of_each(losses.reshape(len(outputs), *outputs.shape[2:]))
        return losses, (kept, counts, outputs.shape)

    def backward(self, cache: tuple[Cache, Array | None, Shape], weight: float) -> Array:
        kept, counts, shape = cache
        dx = self.gradient_of_rows(kept)
        dx *= weight / math.prod(shape[2:]) if counts is None else weight * counts[:, None]
        return as_outputs(dx, shape)

    def of_rows(self, x: Array, targets: Array) -> tuple[Array, Cache]:
        """The loss of each row, (R,), and what the gradient needs.

        x: (R, K); targets: class indices (R,), or shares (R, K).
        """
        raise NotImplementedError  # derived classes define it

    def gradient_of_rows(self, kept: Cache) -> Array:
        """The gradient of the sum of these losses, a new array (R, K)."""
        raise NotImplementedError  # derived classes define it


def ignored_by(loss: Loss) -> int | None:
    """The class index of samples, or pixels, that a loss does not count."""
    ignored = getattr(loss, "ignore_index", None)
    return ignored if isinstance(ignored, int) else None


def as_shares(targets: Array, x: Array) -> Array:
    """Shares of the classes, (R, K) in the dtype of x, of class indices as well, which are 1 and 0."""
    if targets.shape == x.shape:
        return targets.astype(x.dtype)
    q = np.zeros_like(x)
    q[np.arange(len(q)), targets] = 1
    return q


def largest_of_rows(x: Array) -> Array:
    """The largest number of each row, (R, K) -> (R, 1); NumPy compares columns ten times as fast as short rows."""
    columns = np.asfortranarray(x) if x.shape[1] <= SHORT else x
    largest: Array = columns.max(axis=1, keepdims=True)
    return largest


def log_softmax(x: Array) -> tuple[Array, Array]:
    """log(softmax(x)) and softmax(x) over axis 1; the maximum is taken out, so that no exponent overflows."""
    z = x - largest_of_rows(x)
    p = np.exp(z)
    total = sum_over(p, 1)
    p /= np.expand_dims(total, 1)
    return z - np.expand_dims(np.log(total), 1), p
