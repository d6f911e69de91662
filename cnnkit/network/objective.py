"""What a pass over samples measures, as sums, so that tiles can be added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnkit.components import Loss, Metric
from cnnkit.types import Array


@dataclass(frozen=True)
class Sums:
    """What a pass over samples adds up to: the loss and, for each metric, its sums; over `count` samples."""

    count: int
    loss: float
    metrics: tuple[Array, ...]

    def __add__(self, other: Sums) -> Sums:
        metrics = tuple(a + b for a, b in zip(self.metrics, other.metrics, strict=True))
        return Sums(self.count + other.count, self.loss + other.loss, metrics)

    def pack(self) -> Array:
        """All of it as one vector, float64."""
        return np.concatenate([[self.count, self.loss], *(np.ravel(metric) for metric in self.metrics)])

    def unpack(self, vector: Array) -> Sums:
        """Sums like these, read from a vector that `pack` gave."""
        ends = np.cumsum([2, *(metric.size for metric in self.metrics)])
        parts = np.split(vector[: ends[-1]], ends[:-1])[1:]
        metrics = tuple(part.reshape(metric.shape) for part, metric in zip(parts, self.metrics, strict=True))
        return Sums(int(vector[0]), float(vector[1]), metrics)


@dataclass(frozen=True)
class Objective:
    """What a pass measures: the loss, and metrics beside it."""

    loss: Loss
    metrics: Sequence[Metric] = ()

    def sums(self, outputs: Array, targets: Array, losses: Array) -> Sums:
        """The contribution of one tile."""
        metrics = tuple(np.asarray(metric.sums(outputs, targets), np.float64) for metric in self.metrics)
        return Sums(len(targets), float(losses.sum(dtype=np.float64)), metrics)
