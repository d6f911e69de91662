"""Losses: one number for each sample, and its gradient with respect to the network's outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from cnnkit.classes import first_outside
from cnnkit.components.checks import are_shares, in_range
from cnnkit.components.contracts import Loss, are_indices_for
from cnnkit.components.sums import sum_over
from cnnkit.errors import ShapeError
from cnnkit.types import Array, Shape, Task


class BinaryCrossEntropy(Loss):
    """Negative log-likelihood of several labels, each there or not, from logits.

    Forward:   loss = mean_k (max(z_k, 0) - z_k t_k + log(1 + exp(-|z_k|)))
    Backward:  dz = weight / K * (sigmoid(z) - t)

    This is -t log(sigmoid(z)) - (1 - t) log(1 - sigmoid(z)), written so that no exponent overflows.

    z: (N, K) logits, or (N, K, H, W), K of them for each pixel; t: 0 to 1, of the same shape; loss: (N,), in nats.
    Raises ShapeError for targets of another shape or outside 0 to 1.
    Source: Bishop (2006), Pattern Recognition and Machine Learning, section 4.3.2.
    """

    gives = "labels"
    from_logits: ClassVar[bool] = True

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, tuple[Array, Array]]:
        _check_outputs(outputs)
        if targets.shape != outputs.shape:
            raise ShapeError(
                f"the targets must say of each label whether it is there, zeros and ones of the outputs' shape "
                f"{outputs.shape}; got {targets.dtype} of shape {targets.shape}: for one class of several, use the "
                "loss CrossEntropy()"
            )
        t = targets.astype(outputs.dtype, copy=False)
        if targets.size and not (t.min() >= 0 and t.max() <= 1):  # NaN is not either
            wrong = int(np.argmin(((t >= 0) & (t <= 1)).reshape(len(t), -1).all(axis=1)))
            raise ShapeError(
                f"the targets must be 0 to 1, one for each label; target {wrong} is {targets[wrong]}: for values to "
                "regress, use the loss MSE()"
            )
        small = np.exp(-np.abs(outputs))
        losses = np.maximum(outputs, 0) - outputs * t + np.log1p(small)
        p = np.where(outputs >= 0, 1, small) / (1 + small)
        return _mean(losses), (p, t)

    def backward(self, cache: tuple[Array, Array], weight: float) -> Array:
        p, t = cache
        dz: Array = (p - t) * (weight / math.prod(p.shape[1:]))
        return dz


class CrossEntropy(Loss):
    """Negative log-likelihood of the right class, from logits.

    Forward:   loss = log(sum_k exp(z_k)) - sum_k q_k z_k
    Backward:  dz = weight * (softmax(z) - q)

    q is 1 for the target class and 0 elsewhere, or the shares of the classes as they are given; smoothing by e mixes in
    the uniform distribution over the K classes, (1 - e) * q + e / K. The maximum is taken out of every exponent, so
    that no logit overflows. Of images it is the mean over the pixels.

    z: (N, K) logits, or (N, K, H, W), those of each pixel; targets: class indices, (N,) or (N, H, W), or shares that
    add up to 1, of the shape of z; loss: (N,), in nats.
    Raises ConfigError unless 0 <= label_smoothing < 1, ShapeError for targets that are neither.
    Source: Szegedy et al. (2016), Rethinking the Inception Architecture for Computer Vision, section 7; for pixels,
    Long, Shelhamer, Darrell (2015), Fully Convolutional Networks for Semantic Segmentation.
    """

    gives = "classes"
    from_logits: ClassVar[bool] = True

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = in_range("label_smoothing", label_smoothing, 0.0, 1.0)

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, tuple[Array, Array, Shape]]:
        _check_outputs(outputs)
        if targets.shape == outputs.shape:
            _check_shares(targets)
            targets = _rows(targets)
        else:
            _check_classes(outputs, targets)
            targets = targets.reshape(-1)
        logits = _rows(outputs)
        z = logits - logits.max(axis=1, keepdims=True)
        p = np.exp(z)
        total = sum_over(p, 1)
        p /= total[:, None]
        loss = np.log(total)
        shares = targets.shape == p.shape
        right = sum_over(z * targets.astype(z.dtype, copy=False), 1) if shares else z[np.arange(len(z)), targets]
        loss -= (1 - self.label_smoothing) * right
        if self.label_smoothing:
            loss -= self.label_smoothing * _mean(z)
        if outputs.ndim > 2:
            loss = _mean(loss.reshape(len(outputs), *outputs.shape[2:]))
        return loss, (p, targets, outputs.shape)

    def backward(self, cache: tuple[Array, Array, Shape], weight: float) -> Array:
        p, targets, shape = cache
        dz = p - self.label_smoothing / p.shape[1] if self.label_smoothing else p.copy(order="K")
        if targets.shape == p.shape:
            dz -= (1 - self.label_smoothing) * targets
        else:
            dz[np.arange(len(dz)), targets] -= 1 - self.label_smoothing
        dz *= weight / math.prod(shape[2:])
        return _as_outputs(dz, shape)


class WeightedCrossEntropy(CrossEntropy):
    """Cross-entropy in which each class has a weight; what the training option class_weight makes of CrossEntropy.

    Forward:   loss = -sum_k w_k q_k log softmax(z)_k
    Backward:  dz = weight * (softmax(z) * sum_k w_k q_k - w * q)

    q is that of CrossEntropy, smoothed; w: (K,). The mean over a batch divides by the number of samples, not by the sum
    of their weights.
    """

    def __init__(self, class_weight: Sequence[float], label_smoothing: float = 0.0) -> None:
        super().__init__(label_smoothing)
        self.class_weight = list(class_weight)

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, tuple[Array, Array, Shape]]:
        _check_outputs(outputs)
        logits = _rows(outputs)
        if targets.shape == outputs.shape:
            _check_shares(targets)
            q = _rows(targets).astype(logits.dtype)
        else:
            _check_classes(outputs, targets)
            q = np.zeros_like(logits)
            q[np.arange(len(q)), targets.reshape(-1)] = 1
        q = (1 - self.label_smoothing) * q + self.label_smoothing / q.shape[1]
        q *= np.array(self.class_weight, q.dtype)
        z = logits - logits.max(axis=1, keepdims=True)
        p = np.exp(z)
        total = sum_over(p, 1)
        p /= total[:, None]
        loss = np.log(total) * sum_over(q, 1) - sum_over(q * z, 1)
        if outputs.ndim > 2:
            loss = _mean(loss.reshape(len(outputs), *outputs.shape[2:]))
        return loss, (p, q, outputs.shape)

    def backward(self, cache: tuple[Array, Array, Shape], weight: float) -> Array:
        p, q, shape = cache
        dz = p * sum_over(q, 1)[:, None] - q
        dz *= weight / math.prod(shape[2:])
        return _as_outputs(dz, shape)


class MSE(Loss):
    """Mean squared error over the features of a sample.

    Forward:   loss = mean_f (y_f - t_f)^2
    Backward:  dy = weight * 2 / F * (y - t)

    y: (N, F) or (N, C, H, W) outputs, with F the number of values of a sample; t: values of the same shape, or for
    (N, F) class indices (N,), which are taken as one-hot rows; loss: (N,), in the square of the outputs' unit.
    Raises ShapeError for targets of another shape, or class indices outside 0 .. F - 1.
    Source: Bishop (2006), Pattern Recognition and Machine Learning, section 5.2.
    """

    gives = "values"

    def task(self, targets: Array, output_shape: Shape) -> Task:
        """Values; of class indices, which are taken as one-hot rows, classes by scores."""
        return Task("classes") if are_indices_for(targets, output_shape) else Task("values")

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
        _check_outputs(outputs)
        if targets.shape == outputs.shape:
            difference = np.subtract(outputs, targets, dtype=outputs.dtype)
        elif outputs.ndim == 2 and targets.ndim == 1 and np.issubdtype(targets.dtype, np.integer):
            _check_classes(outputs, targets)
            difference = outputs.copy(order="K")
            difference[np.arange(len(difference)), targets] -= 1
        else:
            indices = f", or be class indices, integers of shape ({len(outputs)},)" if outputs.ndim == 2 else ""
            raise ShapeError(
                f"the targets must have the shape {outputs.shape} of the outputs{indices}; got {targets.dtype} of "
                f"shape {targets.shape}: reshape them, or change the last layer"
            )
        return _mean(np.square(difference)), difference

    def backward(self, cache: Array, weight: float) -> Array:
        dy: Array = cache * (2 / math.prod(cache.shape[1:]))
        dy *= weight
        return dy


LOSSES: tuple[type[Loss], ...] = (BinaryCrossEntropy, CrossEntropy, MSE)


def _check_outputs(outputs: Array) -> None:
    if outputs.ndim not in (2, 4) or 0 in outputs.shape[1:]:
        raise ShapeError(
            f"a loss needs network outputs of shape (N, K), or (N, K, H, W) for each pixel, got {outputs.shape}: end "
            "the network with a Flatten() or Dense(...) layer"
        )


def _rows(values: Array) -> Array:
    """What there is of each class in a row for each sample, or each pixel: (N, K, H, W) -> (N*H*W, K)."""
    return values if values.ndim == 2 else np.moveaxis(values, 1, -1).reshape(-1, values.shape[1])


def _as_outputs(rows: Array, shape: Shape) -> Array:
    """What `_rows` has taken apart: (N*H*W, K) -> (N, K, H, W)."""
    return rows if len(shape) == 2 else np.moveaxis(rows.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


def _mean(values: Array) -> Array:
    """The mean of each sample: (N, ...) -> (N,)."""
    return sum_over(values, tuple(range(1, values.ndim))) / math.prod(values.shape[1:])


def _check_shares(targets: Array) -> None:
    wrong = np.flatnonzero(~are_shares(targets).reshape(len(targets), -1).all(axis=1)) if len(targets) else np.empty(0)
    if wrong.size:
        raise ShapeError(
            f"the targets must be class indices, or for each sample shares of the classes that add up to 1; target "
            f"{wrong[0]} is {targets[wrong[0]]}: for values to regress, use the loss MSE()"
        )


def _check_classes(outputs: Array, targets: Array) -> None:
    classes, expected = outputs.shape[1], (len(outputs), *outputs.shape[2:])
    if targets.shape != expected or not np.issubdtype(targets.dtype, np.integer):
        raise ShapeError(
            f"the targets must be class indices, integers of shape {expected} for outputs of shape {outputs.shape}; "
            f"got {targets.dtype} of shape {targets.shape}"
        )
    if place := first_outside(targets, classes):
        first, *pixel = place
        where = f"{first} at pixel {tuple(pixel)}" if pixel else str(first)
        raise ShapeError(
            f"the network has {classes} outputs, so class indices must be 0 to {classes - 1}; target {where} is "
            f"{targets[first, *pixel]}: give the last layer one output for each class, or correct the targets"
        )
