"""Losses: one number for each sample, and its gradient with respect to the network's outputs."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cnnkit.components.checks import are_shares, in_range
from cnnkit.components.contracts import Loss
from cnnkit.errors import ShapeError
from cnnkit.types import Array


class CrossEntropy(Loss):
    """Negative log-likelihood of the right class, from logits.

    Forward:   loss = log(sum_k exp(z_k)) - sum_k q_k z_k
    Backward:  dz = weight * (softmax(z) - q)

    q is 1 for the target class and 0 elsewhere, or the shares of the classes as they are given; smoothing by e mixes in
    the uniform distribution over the K classes, (1 - e) * q + e / K. The maximum is taken out of every exponent, so
    that no logit overflows.

    z: (N, K) logits; targets: (N,) class indices, or (N, K) shares that add up to 1; loss: (N,), in nats.
    Raises ConfigError unless 0 <= label_smoothing < 1, ShapeError for targets that are neither.
    Source: Szegedy et al. (2016), Rethinking the Inception Architecture for Computer Vision, section 7.
    """

    from_logits: ClassVar[bool] = True

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = in_range("label_smoothing", label_smoothing, 0.0, 1.0)

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, tuple[Array, Array]]:
        _check_matrix(outputs)
        shares = targets.shape == outputs.shape
        if shares:
            _check_shares(targets)
        else:
            _check_classes(outputs, targets)
        z = outputs - outputs.max(axis=1, keepdims=True)
        p = np.exp(z)
        total = p.sum(axis=1, keepdims=True)
        p /= total
        loss = np.log(total[:, 0])
        right = np.vecdot(z, targets.astype(z.dtype, copy=False)) if shares else z[np.arange(len(z)), targets]
        loss -= (1 - self.label_smoothing) * right
        if self.label_smoothing:
            loss -= self.label_smoothing * z.mean(axis=1)
        return loss, (p, targets)

    def backward(self, cache: tuple[Array, Array], weight: float) -> Array:
        p, targets = cache
        dz = p - self.label_smoothing / p.shape[1] if self.label_smoothing else p.copy(order="K")
        if targets.shape == p.shape:
            dz -= (1 - self.label_smoothing) * targets
        else:
            dz[np.arange(len(dz)), targets] -= 1 - self.label_smoothing
        dz *= weight
        return dz


class MSE(Loss):
    """Mean squared error over the features of a sample.

    Forward:   loss = mean_f (y_f - t_f)^2
    Backward:  dy = weight * 2 / F * (y - t)

    y: (N, F) outputs; t: (N, F) values, or (N,) class indices, which are taken as one-hot rows; loss: (N,), in the
    square of the outputs' unit. Raises ShapeError for targets of another shape, or class indices outside 0 .. F - 1.
    Source: Bishop (2006), Pattern Recognition and Machine Learning, section 5.2.
    """

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
        _check_matrix(outputs)
        if targets.shape == outputs.shape:
            difference = np.subtract(outputs, targets, dtype=outputs.dtype)
        elif targets.ndim == 1 and np.issubdtype(targets.dtype, np.integer):
            _check_classes(outputs, targets)
            difference = outputs.copy(order="K")
            difference[np.arange(len(difference)), targets] -= 1
        else:
            raise ShapeError(
                f"the targets must have the shape {outputs.shape} of the outputs, or be class indices, integers of "
                f"shape ({len(outputs)},); got {targets.dtype} of shape {targets.shape}: reshape them, or change the "
                "number of features of the last layer"
            )
        return np.square(difference).mean(axis=1), difference

    def backward(self, cache: Array, weight: float) -> Array:
        dy: Array = cache * (2 / cache.shape[1])
        dy *= weight
        return dy


LOSSES: tuple[type[Loss], ...] = (CrossEntropy, MSE)


def _check_matrix(outputs: Array) -> None:
    if outputs.ndim != 2 or outputs.shape[1] == 0:
        raise ShapeError(
            f"a loss needs network outputs of shape (N, F), got {outputs.shape}: end the network with a Flatten() or "
            "Dense(...) layer"
        )


def _check_shares(targets: Array) -> None:
    wrong = np.flatnonzero(~are_shares(targets))
    if wrong.size:
        raise ShapeError(
            f"the targets must be class indices, or for each sample shares of the classes that add up to 1; target "
            f"{wrong[0]} is {targets[wrong[0]]}: for values to regress, take the loss MSE()"
        )


def _check_classes(outputs: Array, targets: Array) -> None:
    samples, classes = outputs.shape
    if targets.shape != (samples,) or not np.issubdtype(targets.dtype, np.integer):
        raise ShapeError(
            f"the targets must be class indices, integers of shape ({samples},) for outputs of shape {outputs.shape}; "
            f"got {targets.dtype} of shape {targets.shape}"
        )
    if samples and not 0 <= targets.min() <= targets.max() < classes:
        wrong = np.flatnonzero((targets < 0) | (targets >= classes))
        raise ShapeError(
            f"the network has {classes} outputs, so class indices must be 0 to {classes - 1}; target {wrong[0]} is "
            f"{targets[wrong[0]]}: give the last layer one output for each class, or correct the targets"
        )
