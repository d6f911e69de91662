"""Losses that compare samples with each other, so that a network learns what is alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cnnkit.components.checks import positive
from cnnkit.components.contracts import BatchCoupledLoss
from cnnkit.errors import ShapeError
from cnnkit.losses.rows import check_outputs
from cnnkit.types import Array, Example

SHORTEST = 1e-12
"""What a length is at least, by which an output is divided."""


class _Compared(NamedTuple):
    """What the gradient needs of a batch of B samples."""

    directions: Array
    """(B, F): the outputs with length 1."""
    lengths: Array
    """(B, 1): of the outputs."""
    pull: Array
    """(B, B): the derivative of each sample's loss, a row, by its similarity to each other one."""
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
    batch, the more is compared.
    Raises ConfigError unless temperature > 0, ShapeError for other outputs or targets.
    Source: Khosla, Teterwak, Wang, Sarna, Tian, Isola, Maschinot, Liu, Krishnan (2020), Supervised Contrastive
    Learning, equation 2.
    """

    gives = "values"
    examples = (
        Example("SupCon()", (8,), targets="classes"),
        Example("SupCon(temperature=0.5)", (3,), targets="classes"),
    )

    def __init__(self, temperature: float = 0.1) -> None:
        self.temperature = positive("temperature", temperature)

    def forward(self, outputs: Array, targets: Array, own: slice = slice(None)) -> tuple[Array, _Compared]:
        """Of all pairs, as each sample's gradient depends on how it is compared with every other."""
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
        lengths = np.maximum(np.linalg.norm(outputs, axis=1, keepdims=True), SHORTEST).astype(outputs.dtype)
        directions = outputs / lengths
        similar = directions @ directions.T
        similar /= self.temperature
        np.fill_diagonal(similar, -np.inf)
        if len(similar) > 1:
            similar -= similar.max(axis=1, keepdims=True)
        share = np.exp(similar)
        total = share.sum(axis=1, keepdims=True)
        alike = targets[:, None] == targets
        np.fill_diagonal(alike, False)
        partners = alike.sum(axis=1, keepdims=True, dtype=outputs.dtype)
        weights = alike / np.maximum(partners, 1)
        np.fill_diagonal(similar, 0)  # of no weight, and -inf times 0 would be NaN
        with np.errstate(divide="ignore"):
            losses = np.where(partners > 0, np.log(total) - (weights * similar).sum(axis=1, keepdims=True), 0)[:, 0]
        pull = np.where(partners > 0, share / np.maximum(total, SHORTEST) - weights, 0).astype(outputs.dtype)
        return losses[own].astype(outputs.dtype), _Compared(directions, lengths, pull, own)

    def backward(self, cache: _Compared, weight: float) -> Array:
        z, own = cache.directions, cache.own
        dz = (cache.pull[own] + cache.pull.T[own]) @ z
        dz *= weight / self.temperature
        dx = dz - z[own] * (z[own] * dz).sum(axis=1, keepdims=True)
        dx /= cache.lengths[own]
        return np.asarray(dx)
