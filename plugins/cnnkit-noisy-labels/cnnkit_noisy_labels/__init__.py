"""Losses that learn from labels of which many are wrong: no sample pulls without bound."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cnnkit.plugin import Array, Example, Loss, ShapeError, from_to, hookimpl, not_negative, positive

__all__ = ["GeneralizedCrossEntropy", "SymmetricCrossEntropy"]


class _OfClasses(Loss):
    """A loss of class indices, (N,), from logits, (N, K)."""

    gives = "classes"
    from_logits = True

    def _probabilities(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
        """softmax(z), (N, K), and its logarithm at the target classes, (N,)."""
        right = outputs.ndim == 2 and targets.shape == outputs.shape[:1] and targets.dtype.kind in "iu"
        if not right or (len(targets) and not 0 <= targets.min() <= targets.max() < outputs.shape[1]):
            raise ShapeError(
                f"{self!r} needs outputs of shape (N, K) and N class indices from 0 to K - 1, got outputs of shape "
                f"{outputs.shape} and {targets.dtype} targets of shape {targets.shape}"
            )
        z = outputs - outputs.max(axis=1, keepdims=True)
        log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        return np.exp(log_p), log_p[np.arange(len(targets)), targets]

    def backward(self, cache: tuple[Array, Array, Array], weight: float) -> Array:
        """weight * f * (p_k - [k = t]); cache: p, f of each sample, and t."""
        p, factor, targets = cache
        dz = p.copy()
        dz[np.arange(len(dz)), targets] -= 1
        dz *= weight * factor[:, None]
        return dz


class GeneralizedCrossEntropy(_OfClasses):
    """Between cross-entropy, which q = 0 would be, and the mean absolute error, which q = 1 is.

    Forward:   loss = (1 - p_t^q) / q,  p = softmax(z), t: the target class
    Backward:  dz_k = weight * p_t^q * (p_k - [k = t])

    The gradient of a sample whose label seems wrong, with a small p_t, is small, too, so that it is not learned by
    heart; a larger q bears more wrong labels, and learns more slowly.
    z: (N, K) logits; targets: class indices, (N,); loss: (N,), 0 to 1 / q. Raises ConfigError unless 0 < q <= 1,
    ShapeError for other targets.
    Source: Zhang, Sabuncu (2018), Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels.
    """

    examples: ClassVar[tuple[Example, ...]] = (
        Example("GeneralizedCrossEntropy()", (5,), targets="classes"),
        Example("GeneralizedCrossEntropy(q=1.0)", (3,), targets="classes"),
    )

    def __init__(self, q: float = 0.7) -> None:
        self.q = from_to("q", positive("q", q), 0, 1)

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        p, log_p = self._probabilities(outputs, targets)
        # expm1 keeps the digits of a loss near 0
        return -np.expm1(self.q * log_p) / self.q, (p, np.exp(self.q * log_p), targets)


class SymmetricCrossEntropy(_OfClasses):
    """Cross-entropy, and cross-entropy with label and prediction exchanged.

    Forward:   loss = -alpha log(p_t) + beta * 4 * (1 - p_t),  p = softmax(z), t: the target class
    Backward:  dz_k = weight * (alpha + 4 beta p_t) * (p_k - [k = t])

    4 stands for -log 0 of the classes that are not the label's. The first part learns, the second bears wrong labels.
    z: (N, K) logits; targets: class indices, (N,); loss: (N,), in nats. Raises ConfigError unless alpha and beta are 0
    or above, ShapeError for other targets.
    Source: Wang, Ma, Chen, Luo, Yi, Bailey (2019), Symmetric Cross Entropy for Robust Learning with Noisy Labels.
    """

    examples: ClassVar[tuple[Example, ...]] = (
        Example("SymmetricCrossEntropy()", (5,), targets="classes"),
        Example("SymmetricCrossEntropy(alpha=1.0, beta=0.0)", (3,), targets="classes"),
    )

    def __init__(self, alpha: float = 0.1, beta: float = 1.0) -> None:
        self.alpha = not_negative("alpha", alpha)
        self.beta = not_negative("beta", beta)

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        p, log_p = self._probabilities(outputs, targets)
        loss = -self.alpha * log_p - 4 * self.beta * np.expm1(log_p)
        return loss, (p, self.alpha + 4 * self.beta * np.exp(log_p), targets)


@hookimpl
def cnnkit_losses() -> list[type[Loss]]:
    """Losses that bear wrong labels."""
    return [GeneralizedCrossEntropy, SymmetricCrossEntropy]
