"""What metrics of classes have in common: which classes are right, and which are not counted."""

from __future__ import annotations

import numpy as np

from cnnkit.class_indices import first_outside
from cnnkit.components.checks import are_shares, index_or_none
from cnnkit.components.contracts import Metric
from cnnkit.errors import ShapeError
from cnnkit.types import Array


class _ClassMetric(Metric):
    """A metric of one class of several; targets that are `ignore_index` are not counted."""

    ignore_index: int | None = None

    def __init__(self, ignore_index: int | None = None) -> None:
        self.ignore_index = index_or_none("ignore_index", ignore_index)

    def classes_of(self, outputs: Array, targets: Array) -> Array:
        """The class of each sample, (N,), or of each pixel, (N, H, W): of shares of the classes, the largest one.

        Raises ShapeError for other targets.
        """
        if targets.shape == outputs.shape and outputs.ndim > 1 and are_shares(targets).all():
            targets = targets.argmax(axis=1)
        expected = (len(outputs), *outputs.shape[2:])
        if outputs.ndim < 2 or targets.shape != expected or not np.issubdtype(targets.dtype, np.integer):
            raise ShapeError(
                f"{type(self).__name__} needs outputs of shape (N, K) and N class indices as integers, got outputs of "
                f"shape {outputs.shape} and {targets.dtype} targets of shape {targets.shape}; for values to regress, "
                f"or several labels, remove {self!r} from the metrics"
            )
        return targets

    def counted(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
        """The outputs of the samples, or pixels, that are counted, (R, K), and their classes, (R,).

        Raises ShapeError as `classes_of`, and for an index that no class of the outputs has.
        """
        t = self.classes_of(outputs, targets).reshape(-1)
        y = outputs if outputs.ndim == 2 else np.moveaxis(outputs, 1, -1).reshape(-1, outputs.shape[1])
        if self.ignore_index is not None:
            chosen = t != self.ignore_index
            y, t = y[chosen], t[chosen]
        if place := first_outside(t, y.shape[1]):
            raise ShapeError(
                f"{type(self).__name__} needs class indices from 0 to {y.shape[1] - 1}, as the outputs have "
                f"{y.shape[1]} classes, and one is {t[place]}: correct the targets, or write "
                f"{type(self).__name__}(ignore_index={t[place]}) so that it is not counted"
            )
        return y, t
