"""A loss with a weight for each sample, which comes with the sample's target."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from cnnkit.plugin import (
    Array,
    BatchCoupledLoss,
    Cache,
    ConfigError,
    Example,
    Gives,
    Loss,
    Shape,
    ShapeError,
    Task,
)


class SampleWeighted(Loss):
    """Another loss, of which each sample has its own weight.

    Forward:   loss_i = w_i * L(y_i, t_i)
    Backward:  dy_i = weight * w_i * dL/dy_i

    outputs: (N, K); targets: (N, 1 + F) floats: w_i, 0 or above, then the target of the sample as a row: for a loss of
    classes its class index, (N, 2), and otherwise as many values as outputs, (N, 1 + K); loss: (N,). The mean over a
    batch divides by the number of samples, not by the sum of their weights: give weights whose mean is 1.
    `weighted_targets` makes such targets.
    Raises ConfigError for a loss that compares samples with each other, ShapeError for other targets.
    """

    examples: ClassVar[tuple[Example, ...]] = ()  # targets that carry weights are none of the usual kinds

    def __init__(self, loss: Loss) -> None:
        given: Any = loss
        if not isinstance(given, Loss) or isinstance(given, BatchCoupledLoss | SampleWeighted):
            raise ConfigError(
                "SampleWeighted expects a loss of each sample by itself, such as SampleWeighted(CrossEntropy()), got "
                f"{given!r:.80}"
            )
        self.loss = loss
        self.gives: Gives | None = loss.gives  # type: ignore[misc]  # what the loss inside says
        self.from_logits = loss.from_logits  # type: ignore[misc]
        self._takes_classes = loss.gives == "classes" or (loss.gives is None and loss.from_logits)

    def task(self, targets: Array, output_shape: Shape) -> Task:
        return self.loss.task(self._targets(targets, output_shape)[1], output_shape)

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Cache]:
        weights, own = self._targets(targets, outputs.shape[1:])
        losses, cache = self.loss.forward(outputs, own)
        weights = weights.astype(losses.dtype, copy=False)
        return losses * weights, (cache, weights)

    def backward(self, cache: Cache, weight: float) -> Array:
        inner, weights = cache
        dy = self.loss.backward(inner, weight)
        dy *= weights[:, None]
        return dy

    def _targets(self, targets: Array, output_shape: Shape) -> tuple[Array, Array]:
        """The weights, (N,), and the targets of the loss inside."""
        features = 1 if self._takes_classes else output_shape[0]
        if len(output_shape) != 1 or targets.dtype.kind != "f" or targets.shape[1:] != (1 + features,):
            raise ShapeError(
                f"{self!r} needs outputs (N, K) and, in each row of the targets, the weight of the sample and its "
                f"{'class index' if self.gives == 'classes' else 'values'}, floats of shape (N, {1 + features}); got "
                f"{targets.dtype} of shape {targets.shape} for outputs (N, {', '.join(map(str, output_shape))}): "
                "`weighted_targets` makes them"
            )
        if not (targets[:, 0] >= 0).all():
            raise ShapeError(f"{self!r} needs weights of 0 or above, got {targets[:, 0].min():g}")
        if self._takes_classes:
            return targets[:, 0], targets[:, 1].astype(np.int64)
        return targets[:, 0], targets[:, 1:]


def weighted_targets(y: Array, weights: Array) -> Array:
    """Targets for `SampleWeighted`, (N, 1 + F) float64, of class indices (N,) or values (N, F), and weights (N,)."""
    return np.column_stack([weights, y]).astype(np.float64)
