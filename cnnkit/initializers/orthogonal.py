"""Orthogonal weights."""

from __future__ import annotations

import math

import numpy as np

from cnnkit.components import Initializer, Weights
from cnnkit.components.checks import positive_float32
from cnnkit.errors import ShapeError
from cnnkit.initializers.constant_and_identity import matrix_shape
from cnnkit.types import Array, Example

LARGEST = 2**24
"""The weights that it is for: to decompose a square matrix of them takes about ten seconds, and 700 MB."""


class Orthogonal(Initializer):
    """Weights whose rows, or columns where these are fewer, are orthogonal to each other and of one length.

    W W^T = gain^2 I, or W^T W = gain^2 I where W has more rows than columns; W: weight as a matrix (out, in * kernel),
    or the rows of one group of channels; of SelfAttention2D those of the queries, of the keys, or of the values

    Q of the QR decomposition of normally distributed numbers, with the signs that make R's diagonal positive: so every
    orthogonal matrix is as likely. The length of no signal changes on its way through such layers, forward or back.
    Raises ConfigError unless gain is above 0, and finite in float32, ShapeError for weights with fewer than two axes or
    more than 2^24 weights.
    Source: Saxe, McClelland, Ganguli (2014), Exact Solutions to the Nonlinear Dynamics of Learning in Deep Linear
    Neural Networks; Mezzadri (2007), How to Generate Random Matrices from the Classical Compact Groups.
    """

    examples = (
        Example("Orthogonal()", (12, 4, 3, 3), ""),
        Example("Orthogonal(1.5)", (40, 10), "gain=1.5"),
        Example("Orthogonal(gain=0.5)", (7, 7), "gain=0.5"),
    )
    twin = "torch.nn.init.orthogonal_"

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = positive_float32("gain", gain)

    def values(self, weights: Weights, rng: np.random.Generator) -> Array:
        """A decomposition of a matrix with the longer axis first, for each group."""
        from threadpoolctl import threadpool_limits

        rows, columns = weights.shape[0] // weights.groups, math.prod(matrix_shape(self, weights)[1:])
        if (numbers := math.prod(weights.shape)) > LARGEST:
            raise ShapeError(
                f"{self!r} is for at most {LARGEST:,} weights, got {numbers:,} of shape {weights.shape}: more take too "
                "long to make orthogonal; use HeNormal() or GlorotUniform() here"
            )
        drawn = rng.standard_normal((weights.groups, max(rows, columns), min(rows, columns)))
        with threadpool_limits(1, "blas"):  # how sums are cut among threads would change their last bits
            q, r = np.linalg.qr(drawn)
        q *= np.where(np.diagonal(r, axis1=1, axis2=2) < 0, -self.gain, self.gain)[:, None]
        return (q if rows >= columns else q.swapaxes(1, 2)).reshape(weights.shape)
