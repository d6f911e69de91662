"""Cross-entropy of classes, from logits: plain, with weights of the classes, and focused on what is hard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnkit.components.checks import in_range, not_negative
from cnnkit.components.sums import sum_over
from cnnkit.losses.class_loss import _RowLoss, as_shares, largest_of_rows, log_softmax
from cnnkit.losses.rows import mean_of_each
from cnnkit.types import Array, Example

AT_ONCE = 4096
"""Rows whose numbers stay in the cache, and take no new memory: those of pixels are many."""


class CrossEntropy(_RowLoss):
    """Negative log-likelihood of the right class, from logits.

    Forward:   loss = log(sum_k exp(z_k)) - sum_k q_k z_k
    Backward:  dz = weight * (softmax(z) - q)

    q is 1 for the target class and 0 elsewhere, or the shares of the classes as they are given; smoothing by e mixes in
    the uniform distribution over the K classes, (1 - e) * q + e / K. The maximum is taken out of every exponent, so
    that no logit overflows. Of images it is the mean over the pixels whose target is not `ignore_index`; where all are,
    it is 0. Weights of the classes are the training option class_weight.

    z: (N, K) logits, or (N, K, L) or (N, K, H, W), those of each step or pixel; targets: class indices, (N,), (N, L) or
    (N, H, W), or shares that add up to 1, of the shape of z; loss: (N,), in nats.
    Raises ConfigError unless 0 <= label_smoothing < 1, ShapeError for targets that are neither.
    Source: Szegedy et al. (2016), Rethinking the Inception Architecture for Computer Vision, section 7; for pixels,
    Long, Shelhamer, Darrell (2015), Fully Convolutional Networks for Semantic Segmentation.
    """

    twin = "torch.nn.CrossEntropyLoss"
    examples = (
        Example("CrossEntropy()", (5,), "", "classes"),
        Example("CrossEntropy()", (3, 4, 5), "", "classes"),
        Example("CrossEntropy()", (3, 7), "", "classes"),
        Example("CrossEntropy()", (4,), "", "shares"),
        Example("CrossEntropy()", (1,), "", "classes"),
        Example("CrossEntropy(label_smoothing=0.2)", (7,), "label_smoothing=0.2", "classes"),
        Example("CrossEntropy(label_smoothing=0.1)", (3, 2, 3), "label_smoothing=0.1", "shares"),
        Example("CrossEntropy(ignore_index=2)", (4, 3, 5), "ignore_index=2", "classes"),
        Example("CrossEntropy(0.1, ignore_index=0)", (3, 5, 2), "label_smoothing=0.1, ignore_index=0", "classes"),
    )

    def __init__(self, label_smoothing: float = 0.0, ignore_index: int | None = None) -> None:
        super().__init__(ignore_index)
        self.label_smoothing = in_range("label_smoothing", label_smoothing, 0.0, 1.0)

    def of_rows(self, x: Array, targets: Array) -> tuple[Array, tuple[Array, Array]]:
        if len(x) <= AT_ONCE:
            loss, p = self._of_few_rows(x, targets)
            return loss, (p, targets)
        loss, p = np.empty(len(x), x.dtype), np.empty(x.shape, x.dtype)
        for first in range(0, len(x), AT_ONCE):
            rows = slice(first, first + AT_ONCE)
            loss[rows], p[rows] = self._of_few_rows(x[rows], targets[rows])
        return loss, (p, targets)

    def _of_few_rows(self, x: Array, targets: Array) -> tuple[Array, Array]:
        """The loss of each row, and its softmax."""
        z = x - largest_of_rows(x)
        p = np.exp(z)
        total = sum_over(p, 1)
        p /= total[:, None]
        loss = np.log(total)
        shares = targets.shape == p.shape
        right = sum_over(z * targets.astype(z.dtype, copy=False), 1) if shares else z[np.arange(len(z)), targets]
        loss -= (1 - self.label_smoothing) * right
        if self.label_smoothing:
            loss -= self.label_smoothing * mean_of_each(z)
        return loss, p

    def gradient_of_rows(self, kept: tuple[Array, Array]) -> Array:
        p, targets = kept
        dz = p - self.label_smoothing / p.shape[1] if self.label_smoothing else p.copy(order="K")
        if targets.shape == p.shape:
            dz -= (1 - self.label_smoothing) * targets
        else:
            dz[np.arange(len(dz)), targets] -= 1 - self.label_smoothing
        return dz


class WeightedCrossEntropy(CrossEntropy):
    """Cross-entropy in which each class has a weight; what the training option class_weight makes of CrossEntropy.

    Forward:   loss = -sum_k w_k q_k log softmax(z)_k
    Backward:  dz = weight * (softmax(z) * sum_k w_k q_k - w * q)

    q is that of CrossEntropy, smoothed; w: (K,). The mean over a batch divides by the number of samples, not by the sum
    of their weights.
    """

    def __init__(
        self, class_weight: Sequence[float], label_smoothing: float = 0.0, ignore_index: int | None = None
    ) -> None:
        super().__init__(label_smoothing, ignore_index)
        self.class_weight = list(class_weight)

    def of_rows(self, x: Array, targets: Array) -> tuple[Array, tuple[Array, Array]]:
        q = as_shares(targets, x)
        q = (1 - self.label_smoothing) * q + self.label_smoothing / q.shape[1]
        q *= np.array(self.class_weight, q.dtype)
        z = x - largest_of_rows(x)
        p = np.exp(z)
        total = sum_over(p, 1)
        p /= total[:, None]
        return np.log(total) * sum_over(q, 1) - sum_over(q * z, 1), (p, q)

    def gradient_of_rows(self, kept: tuple[Array, Array]) -> Array:
        p, q = kept
        dz: Array = p * sum_over(q, 1)[:, None] - q
        return dz


class Focal(_RowLoss):
    """Cross-entropy in which a sample counts the less, the surer its right class is.

    Forward:   loss = -sum_k q_k (1 - p_k)^gamma log(p_k),  with p = softmax(z)
    Backward:  dz = weight * (g - p sum_k g_k),  with g_k = q_k (1 - p_k)^gamma (gamma p_k log(p_k) / (1 - p_k) - 1)

    q as of CrossEntropy, and with gamma = 0 it is that loss. 1 - p is computed as -expm1(log(p)), so that it keeps its
    digits where p is close to 1. Of images it is the mean over the pixels whose target is not `ignore_index`.

    z: (N, K) logits, (N, K, L) or (N, K, H, W); targets: class indices, (N,), (N, L) or (N, H, W), or shares of the
    shape of z; loss: (N,), in nats. Raises ConfigError unless gamma >= 0, ShapeError for targets that are neither.
    Source: Lin et al. (2017), Focal Loss for Dense Object Detection, equation 4, for several classes.
    """

    examples = (
        Example("Focal()", (5,), targets="classes"),
        Example("Focal()", (3, 4, 3), targets="classes"),
        Example("Focal()", (3, 5), targets="classes"),
        Example("Focal(gamma=0.5)", (4,), targets="shares"),
        Example("Focal(0.0)", (7,), targets="classes"),
        Example("Focal(3.0, ignore_index=1)", (3, 2, 5), targets="classes"),
    )

    def __init__(self, gamma: float = 2.0, ignore_index: int | None = None) -> None:
        super().__init__(ignore_index)
        self.gamma = not_negative("gamma", gamma)

    def of_rows(self, x: Array, targets: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        q = as_shares(targets, x)
        log_p, p = log_softmax(x)
        return -sum_over(q * self._factor(-np.expm1(log_p)) * log_p, 1), (p, log_p, q)

    def gradient_of_rows(self, kept: tuple[Array, Array, Array]) -> Array:
        p, log_p, q = kept
        rest = -np.expm1(log_p)  # 0 where p is 1, and there the limit of log(p) / (1 - p) is -1
        ratio = np.divide(log_p, rest, out=np.full_like(p, -1), where=rest > 0)
        g = q * self._factor(rest) * (self.gamma * p * ratio - 1)
        dz: Array = g - p * sum_over(g, 1)[:, None]
        return dz

    def _factor(self, rest: Array) -> Array:
        factor: Array = rest**self.gamma if self.gamma else np.ones_like(rest)
        return factor
