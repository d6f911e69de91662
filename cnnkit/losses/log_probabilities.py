"""Losses of logarithms of probabilities, as a network gives them that ends in LogSoftmax."""

from __future__ import annotations

import numpy as np

from cnnkit.components.sums import sum_over
from cnnkit.losses.class_loss import _RowLoss, as_shares
from cnnkit.types import Array, Example


class NLL(_RowLoss):
    """Negative log-likelihood of the right class, from logarithms of probabilities.

    Forward:   loss = -sum_k q_k x_k
    Backward:  dx = -weight * q

    q as of CrossEntropy. After LogSoftmax it is that loss; the softmax of logarithms of probabilities are the
    probabilities again. Of images it is the mean over the pixels whose target is not `ignore_index`.

    x: (N, K), or (N, K, L) or (N, K, H, W) for each step or pixel; targets: class indices, (N,), (N, L) or (N, H, W),
    or shares of the shape of x; loss: (N,), in nats. Raises ShapeError for targets that are neither.
    Source: Bishop (2006), Pattern Recognition and Machine Learning, section 4.3.4.
    """

    twin = "torch.nn.NLLLoss"
    examples = (
        Example("NLL()", (5,), "", "classes"),
        Example("NLL()", (3, 4, 5), "", "classes"),
        Example("NLL()", (3, 7), "", "classes"),
        Example("NLL()", (4, 1, 3), targets="shares"),
        Example("NLL(ignore_index=1)", (3, 4, 3), "ignore_index=1", "classes"),
    )

    def of_rows(self, x: Array, targets: Array) -> tuple[Array, Array]:
        q = as_shares(targets, x)
        return -sum_over(q * x, 1), q

    def gradient_of_rows(self, kept: Array) -> Array:
        return -kept


class KLDiv(_RowLoss):
    """How far the probabilities of a network are from those of the targets: the Kullback-Leibler divergence.

    Forward:   loss = sum_k q_k (log(q_k) - x_k),  with 0 log(0) = 0
    Backward:  dx = -weight * q

    x are logarithms of probabilities, as LogSoftmax gives them. Of images it is the mean over the pixels.

    x: (N, K), or (N, K, L) or (N, K, H, W) for each step or pixel; targets q: shares that add up to 1, of the shape of
    x, such as the probabilities of another network, or class indices; loss: (N,), in nats.
    Raises ShapeError for other targets.
    Source: Kullback, Leibler (1951), On Information and Sufficiency.
    """

    twin = "torch.nn.KLDivLoss"
    examples = (
        Example("KLDiv()", (5,), 'reduction="batchmean"', "shares"),
        Example("KLDiv()", (3, 4, 5), targets="shares"),
        Example("KLDiv()", (3, 7), targets="shares"),
        Example("KLDiv()", (7,), targets="classes"),
    )

    def __init__(self) -> None:
        super().__init__()

    def of_rows(self, x: Array, targets: Array) -> tuple[Array, Array]:
        q = as_shares(targets, x)
        log_q = np.log(q, out=np.zeros_like(q), where=q > 0)
        return sum_over(q * (log_q - x), 1), q

    def gradient_of_rows(self, kept: Array) -> Array:
        return -kept
