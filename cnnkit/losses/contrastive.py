"""Losses that compare samples with each other, so that a network learns what is alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cnnkit.components.checks import positive
from cnnkit.components.contracts import BatchCoupledLoss
from cnnkit.errors import ShapeError
from cnnkit.losses.rows import check_outputs
from cnnkit.types import Array, Example


class _Compared(NamedTuple):
    """What the gradient needs of a batch of B samples, n of them a tile's own."""

    directions: Array
    """(B, F): the outputs with length 1; those of length 0 as they are."""
    lengths: Array
    """(n, 1): of the tile's own outputs, float64."""
    similar: Array
    """(n, B): of each own sample and each other one; -inf for itself."""
    alike: Array
    """(n, B): whether both have one class."""
    spread: Array
    """(n, 1): the logarithm of the sum of the exponentials of a row."""
    partners: Array
    """(B, 1): how many others have the class of each sample."""
    own: slice


class SupCon(BatchCoupledLoss):
    """Supervised contrastive loss: samples of one class come close to each other, and apart from all others.

    Forward:   z = x / |x|, s[i,a] = z_i . z_a / temperature, q[i,a] = exp(s[i,a]) / sum over b != i of exp(s[i,b]),
               loss_i = -mean over p in P(i) of log q[i,p]
    Backward:  r[i,a] = q[i,a] - [a in P(i)] / |P(i)| for a != i, else 0,
               dz_k = weight / temperature * sum over a of (r[k,a] + r[a,k]) z_a,
               dx_k = (dz_k - z_k (z_k . dz_k)) / |x_k|

    outputs x: (B, F), an embedding of each sample of the batch; targets: class indices (B,); P(i): the other samples of
    the batch that have the class of i. Without any, loss_i is 0, and others alone are compared with i. The larger the
    batch, the more is compared. An x of length 0 has no direction: it is like nothing, and its dx is 0.
    Raises ConfigError unless temperature > 0, ShapeError for other outputs or targets.
    Source: Khosla, Teterwak, Wang, Sarna, Tian, Isola, Maschinot, Liu, Krishnan (2020), Supervised Contrastive
    Learning, equation 2.
    """

    gives = "values"
    pairs = 3
    examples = (
        Example("SupCon()", (8,), targets="classes"),
        Example("SupCon(temperature=0.5)", (3,), targets="classes"),
    )

    def __init__(self, temperature: float = 0.1) -> None:
        self.temperature = positive("temperature", temperature)

    def forward(self, outputs: Array, targets: Array, own: slice = slice(None)) -> tuple[Array, _Compared]:
        """The own samples are compared with all of the batch."""
        check_outputs(outputs)
        if outputs.ndim > 2:
            raise ShapeError(
                f"SupCon needs an embedding of each sample, outputs of shape (N, F), got {outputs.shape}: end the "
                "network with a Flatten() or Dense(...) layer"
            )
        if targets.shape != outputs.shape[:1] or targets.dtype.kind not in "iu":
            raise ShapeError(
                f"the targets must be class indices, integers of shape {outputs.shape[:1]}; got {targets.dtype} of "
                f"shape {targets.shape}"
            )
        largest = np.abs(outputs).max(axis=1, keepdims=True).astype(np.float64)
        lengths = largest * np.linalg.norm(_divided(outputs, largest), axis=1, keepdims=True)  # no square overflows
        directions = _divided(outputs, lengths).astype(outputs.dtype)
        _, classes, counts = np.unique(targets, return_inverse=True, return_counts=True)
        partners = (counts[classes] - 1).astype(outputs.dtype)[:, None]
        similar = directions[own] @ directions.T
        similar /= self.temperature
        alike = targets[own][:, None] == targets
        rows = np.arange(len(similar))
        itself = np.arange(len(outputs))[own]
        similar[rows, itself], alike[rows, itself] = -np.inf, False
        spread = _log_sum_exp(similar)
        pulled = np.where(alike, similar, 0).sum(axis=1, keepdims=True) / np.maximum(partners[own], 1)
        losses = np.where(partners[own] > 0, spread - pulled, 0)[:, 0]
        return losses, _Compared(directions, lengths[own], similar, alike, spread, partners, own)

    def shared(self, cache: _Compared) -> Array:
        """By what the exponentials of each sample's row are divided, for what it is to those in its columns."""
        return cache.spread

    def backward(self, cache: _Compared, weight: float, everyones: Array | None = None) -> Array:
        """r by rows, as the own samples pick others, and by columns, as others pick them."""
        spreads = cache.spread if everyones is None else everyones.astype(cache.spread.dtype)
        r = np.zeros_like(cache.similar)
        for spread, partners in ((cache.spread, cache.partners[cache.own]), (spreads.T, cache.partners.T)):
            share = np.exp(cache.similar - spread)
            share -= cache.alike / np.maximum(partners, 1)
            share *= partners > 0
            r += share
        z = cache.directions[cache.own]
        dz = r @ cache.directions
        dz *= weight / self.temperature
        dz -= z * (z * dz).sum(axis=1, keepdims=True)
        return _divided(dz, cache.lengths).astype(z.dtype)


def _divided(values: Array, lengths: Array) -> Array:
    """Rows divided by their lengths; 0 for those of length 0."""
    return np.divide(values, lengths, out=np.zeros(values.shape), where=lengths > 0)


def _log_sum_exp(rows: Array) -> Array:
    """log(sum(exp(row))), (n, 1); 0 for rows of -inf alone."""
    largest = rows.max(axis=1, keepdims=True, initial=-np.inf)
    largest[np.isneginf(largest)] = 0
    total = np.exp(rows - largest).sum(axis=1, keepdims=True)
    return np.asarray(np.where(total > 0, largest + np.log(np.maximum(total, np.finfo(total.dtype).tiny)), 0))
