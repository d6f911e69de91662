"""What a pass over samples measures, as sums, so that tiles can be added."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from cnnkit.components import BatchCoupledLoss, CollectingMetric, Loss, Metric
from cnnkit.components.error_naming import Naming
from cnnkit.components.value_description import described
from cnnkit.errors import ComponentError, ShapeError
from cnnkit.layers.special_functions import sigmoid
from cnnkit.network.graph.final_layers import softmax, takes_logits
from cnnkit.types import Array, Cache, Shape

NUMBERS = "fiub"
"""The kinds of dtypes that are real numbers."""
Told = Callable[[slice, Array], None]
"""Who is told of an evaluation: which samples a tile has, and what the network gives for them, as the loss takes it.

Several threads tell, and the memory of the outputs is used again afterwards.
"""
COMPARED = 256
"""About how many samples a coupled loss compares with each other in an evaluation, which has no batches."""


@dataclass(frozen=True)
class Sums:
    """What a pass over samples adds up to: the loss and, for each metric, its sums; over `count` samples."""

    count: int
    loss: float
    metrics: tuple[Array, ...]

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
    """What a pass measures: the loss, and the metrics; refuses what they must not give."""

    loss: Loss
    metrics: Sequence[Metric] = ()

    @property
    def coupled(self) -> bool:
        """Whether a sample's loss depends on the whole batch."""
        return isinstance(self.loss, BatchCoupledLoss)

    def losses(self, outputs: Array, targets: Array, own: slice | None = None) -> tuple[Array, Cache]:
        """The loss of each sample, (N,), and what `gradient` needs. Raises ShapeError if they are not (N,).

        own: of a coupled loss the samples to answer for, among those of the whole batch.
        """
        count = len(outputs) if own is None else len(range(*own.indices(len(outputs))))
        with Naming(self.loss):
            if isinstance(self.loss, BatchCoupledLoss) and own is not None:
                given = self.loss.forward(outputs, targets, own)
            else:
                given = self.loss.forward(outputs, targets)
        if not (isinstance(given, tuple) and len(given) == 2 and _are_numbers(given[0], (count,))):
            raise ShapeError(
                f"the loss {self.loss!r} must return (losses, cache) with one number for each sample, losses of shape "
                f"{(count,)}; forward gave {described(given)}"
            )
        return given

    def losses_of_tiles(self, outputs: Sequence[Array], targets: Sequence[Array]) -> list[Array]:
        """The losses of a batch, tile by tile."""
        if not self.coupled:
            return [self.losses(one, those)[0] for one, those in zip(outputs, targets, strict=True)]
        losses, _ = self.losses(np.concatenate(outputs), np.concatenate(targets))
        return np.split(losses, np.cumsum([len(one) for one in outputs])[:-1])

    def evaluated(self, outputs: Array, targets: Array) -> float:
        """The sum of a coupled loss over all samples of an evaluation, in groups that do not follow their order."""
        order = np.random.default_rng(0).permutation(len(outputs))
        groups = np.array_split(order, -(-len(outputs) // COMPARED))
        return sum(float(self.losses(outputs[group], targets[group])[0].sum(dtype=np.float64)) for group in groups)

    def shared(self, cache: Cache) -> Array:
        """What a coupled loss lets other tiles know of this one's samples. Raises ShapeError unless it is in rows."""
        with Naming(self.loss):
            given = cast(BatchCoupledLoss, self.loss).shared(cache)
        if not isinstance(given, np.ndarray) or given.ndim != 2 or given.dtype.kind not in NUMBERS:
            raise ShapeError(f"the loss {self.loss!r} must share a row for each sample; shared gave {described(given)}")
        return given

    def pair_bytes(self, batch_size: int, itemsize: int) -> int:
        """What a coupled loss holds in memory of the pairs of a batch."""
        pairs = self.loss.pairs if isinstance(self.loss, BatchCoupledLoss) else 0
        return pairs * batch_size**2 * itemsize

    def gradient(self, cache: Cache, weight: float, shape: Shape, everyones: Array | None = None) -> Array:
        """The gradient of `weight * sum(losses)` by the outputs. Raises ShapeError if it has not this, their shape.

        everyones: what a coupled loss shared of the whole batch.
        """
        with Naming(self.loss):
            if isinstance(self.loss, BatchCoupledLoss):
                given = self.loss.backward(cache, weight, everyones)
            else:
                given = self.loss.backward(cache, weight)
        if not _are_numbers(given, shape):
            raise ShapeError(
                f"the loss {self.loss!r} must return a gradient of the outputs' shape {shape}; backward gave "
                f"{described(given)}"
            )
        return given

    def sums(self, outputs: Array, targets: Array, losses: Array) -> Sums:
        """The contribution of one tile."""
        probabilities = outputs
        if any(metric.of_probabilities for metric in self.metrics):
            probabilities = self.probabilities(outputs)
        given = ((metric, probabilities if metric.of_probabilities else outputs) for metric in self.metrics)
        metrics = tuple(_sums(metric, one, targets) for metric, one in given)
        return Sums(len(targets), float(losses.sum(dtype=np.float64)), metrics)

    def probabilities(self, outputs: Array) -> Array:
        """As `predict_proba` gives them, of what the loss takes; the outputs themselves where it is not from logits."""
        if not self.loss.from_logits:
            return outputs
        return softmax(outputs) if takes_logits(self.loss) else sigmoid(outputs)

    def in_training(self) -> Objective:
        """What is measured from step to step: without the metrics that need all predictions of one model."""
        return Objective(self.loss, tuple(one for one in self.metrics if not isinstance(one, CollectingMetric)))

    def total(self, parts: Iterable[Sums]) -> Sums:
        """All parts together, joined in their order. Raises ShapeError if a metric's sums are not of one shape."""
        first, *others = parts
        for other in others:
            self.require_alike(first, other)
        each = (first, *others)
        metrics = tuple(_joined(metric, [one.metrics[at] for one in each]) for at, metric in enumerate(self.metrics))
        loss = functools.reduce(operator.add, (one.loss for one in each))
        return Sums(sum(one.count for one in each), loss, metrics)

    def require_alike(self, one: Sums, other: Sums) -> None:
        """Raises ShapeError, naming the metric, if the sums of two tiles cannot be joined."""
        for metric, here, there in zip(self.metrics, one.metrics, other.metrics, strict=True):
            collects = isinstance(metric, CollectingMetric)
            if collects and (here.ndim != 2 or here.shape[1:] != there.shape[1:]):
                raise ShapeError(
                    f"the metric {metric!r} must give rows of one length for every tile, (rows, R); sums() returned "
                    f"{here.shape} for one and {there.shape} for another"
                )
            if not collects and here.shape != there.shape:
                raise ShapeError(
                    f"the metric {metric!r} must give sums of one shape for every tile; sums() returned {here.shape} "
                    f"for one and {there.shape} for another: add up over the samples of the tile"
                )

    def means(self, sums: Sums) -> dict[str, float]:
        """The mean loss and the metrics, by name, of what was summed up."""
        values = zip(self.metrics, sums.metrics, strict=True)
        return {"loss": sums.loss / sums.count} | {metric.key: _value(metric, total) for metric, total in values}


def _sums(metric: Metric, outputs: Array, targets: Array) -> Array:
    with Naming(metric):
        given = metric.sums(outputs, targets)
        array = np.asarray(given)
    if array.dtype.kind not in NUMBERS:
        raise ComponentError(
            f"the metric {metric!r} must give what a tile adds as an array of numbers; sums() returned "
            f"{described(given)}"
        )
    return array if isinstance(metric, CollectingMetric) else array.astype(np.float64, copy=False)


def _joined(metric: Metric, parts: Sequence[Array]) -> Array:
    if len(parts) == 1:
        return parts[0]
    with Naming(metric):
        given = metric.join(parts)
    if not isinstance(given, np.ndarray) or given.dtype.kind not in NUMBERS:
        raise ComponentError(
            f"the metric {metric!r} must join what tiles give to an array of numbers; join() gave {described(given)}"
        )
    return given


def _value(metric: Metric, total: Array) -> float:
    with Naming(metric):
        given = metric.value(total)
    if not _are_numbers(np.asarray(given), ()):
        raise ComponentError(f"the metric {metric!r} must be one number; value() gave {described(given)}")
    return float(given)


def _are_numbers(given: object, shape: Shape) -> bool:
    return isinstance(given, np.ndarray) and given.shape == shape and given.dtype.kind in NUMBERS
