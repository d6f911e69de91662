"""Losses of segmentation: how little the regions of the classes overlap with those of the targets."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cnnkit.components.checks import positive
from cnnkit.components.sums import sum_over
from cnnkit.errors import ShapeError
from cnnkit.losses.class_loss import _ClassLoss, as_shares, log_softmax
from cnnkit.losses.rows import as_outputs, check_outputs, mean_of_each, rows_of
from cnnkit.types import Array, Example

Kept = tuple[Array, Array, Array, Array, Array]


class _OverlapLoss(_ClassLoss):
    """1 - mean_k (a I_k + smooth) / (P_k + Q_k - b I_k + smooth), with sums over the pixels of a sample that count:
    I_k = sum p_k q_k, P_k = sum p_k and Q_k = sum q_k.
    """

    TWICE: ClassVar[int]
    """a."""
    ONCE: ClassVar[int]
    """b."""

    def __init__(self, smooth: float = 1.0, ignore_index: int | None = None) -> None:
        super().__init__(ignore_index)
        self.smooth = positive("smooth", smooth)

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Kept]:
        check_outputs(outputs)
        if outputs.ndim != 4:
            raise ShapeError(
                f"{type(self).__name__} compares regions of images, outputs of shape (N, K, H, W); got {outputs.shape}:"
                " for one class of each sample, use the loss CrossEntropy()"
            )
        rows, shares = self.checked(outputs, targets)
        q = as_outputs(as_shares(rows, rows_of(outputs)), outputs.shape)
        p = log_softmax(outputs)[1]
        counted = np.ones((len(outputs), 1, *outputs.shape[2:]), outputs.dtype)
        if shares is not None:
            counted = (shares > 0).astype(outputs.dtype).reshape(counted.shape)
            q = q * counted
        both, ours, theirs = (sum_over(one, (2, 3)) for one in (p * q, p * counted, q))
        over = self.TWICE * both + p.dtype.type(self.smooth)
        under = ours + theirs - self.ONCE * both + p.dtype.type(self.smooth)
        return 1 - mean_of_each(over / under), (p, q, over / under, under, counted)

    def backward(self, cache: Kept, weight: float) -> Array:
        p, q, ratio, under, counted = cache
        ratio, under = ratio[:, :, None, None], under[:, :, None, None]
        g = (self.TWICE * q - ratio * (counted - self.ONCE * q)) / under
        g *= -weight / p.shape[1]
        dz: Array = p * (g - np.expand_dims(sum_over(p * g, 1), 1))
        return dz


class Dice(_OverlapLoss):
    """1 - the soft Dice coefficient of the classes, from logits.

    Forward:   loss = 1 - mean_k D_k,  D_k = (2 I_k + smooth) / (P_k + Q_k + smooth)
    Backward:  dp_k = -weight / K * (2 q_k - D_k) / (P_k + Q_k + smooth),  dz_k = p_k (dp_k - sum_j p_j dp_j)

    p = softmax(z), q is 1 for a pixel's class and 0 elsewhere, or the shares of its classes; over the pixels of a
    sample whose target is not `ignore_index`, I_k = sum p_k q_k, P_k = sum p_k and Q_k = sum q_k. Each class counts the
    same, however many pixels it has. With a small `smooth`, a class that a sample lacks counts more.

    z: (N, K, H, W) logits; targets: class indices (N, H, W), or shares of the shape of z; loss: (N,), 0 to 1.
    Raises ConfigError unless smooth > 0, ShapeError for other outputs and targets.
    Source: Milletari, Navab, Ahmadi (2016), V-Net; Sudre et al. (2017), Generalised Dice Overlap as a Deep Learning
    Loss Function, without its class weights.
    """

    examples = (
        Example("Dice()", (3, 4, 5), targets="classes"),
        Example("Dice()", (2, 3, 2), targets="shares"),
        Example("Dice(smooth=0.01)", (4, 5, 3), targets="classes"),
        Example("Dice(ignore_index=1)", (3, 3, 4), targets="classes"),
    )
    TWICE, ONCE = 2, 0


class Jaccard(_OverlapLoss):
    """1 - the soft Jaccard index of the classes, their intersection over their union, from logits.

    Forward:   loss = 1 - mean_k J_k,  J_k = (I_k + smooth) / (U_k + smooth),  U_k = P_k + Q_k - I_k
    Backward:  dp_k = -weight / K * (q_k - J_k (1 - q_k)) / (U_k + smooth),  dz_k = p_k (dp_k - sum_j p_j dp_j)

    p, q, I, P, Q and the arguments as of Dice.

    z: (N, K, H, W) logits; targets: class indices (N, H, W), or shares of the shape of z; loss: (N,), 0 to 1.
    Raises ConfigError unless smooth > 0, ShapeError for other outputs and targets.
    Source: Rahman, Wang (2016), Optimizing Intersection-Over-Union in Deep Neural Networks for Image Segmentation.
    """

    examples = (
        Example("Jaccard()", (3, 4, 5), targets="classes"),
        Example("Jaccard()", (2, 3, 2), targets="shares"),
        Example("Jaccard(smooth=0.01)", (4, 5, 3), targets="classes"),
        Example("Jaccard(ignore_index=1)", (3, 3, 4), targets="classes"),
    )
    TWICE, ONCE = 1, 1
