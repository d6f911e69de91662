"""Batch normalisation of rows-first images, with the rectifier behind it."""

from __future__ import annotations

import numpy as np

from cnnkit.components import BatchCoupledLayer
from cnnkit.layers import BatchNorm2D
from cnnkit.layers.norm import statistics
from cnnkit.network.kernels.layout import logical, rows_first
from cnnkit.types import Array, Cache, Context, Grads


class BatchNormKernel(BatchCoupledLayer):
    """BatchNorm2D, then optionally ReLU.

    Equals the plain layers one after the other:

        y = norm.forward(x); y = relu.forward(y)

    With centred = x - mean and scale = gamma / sqrt(var + epsilon), forward is y = centred * scale + beta, and backward
    is a sum of three terms, each a number for a channel times dy, centred or 1. Folding the mean into the offset would
    save a pass, and lose digits wherever the mean is much larger than the deviation.
    """

    def __init__(self, norm: BatchNorm2D, *, relu: bool) -> None:
        self.norm = norm
        self.relu = relu

    def partial(self, x: Array, ctx: Context) -> Array:
        """As BatchNorm2D.partial."""
        rows = rows_first(x, ctx)
        count = rows.size // rows.shape[1]
        mean = rows.mean(axis=(0, 2, 3))
        centred = np.subtract(rows, mean[:, None, None], out=ctx.scratch(rows.shape))
        squares = _products(centred, centred)
        mean = mean.astype(np.float64)
        return np.stack([np.full_like(mean, count), count * mean, squares + count * mean * mean])

    def absorb(self, total: Array) -> None:
        """As BatchNorm2D.absorb."""
        self.norm.absorb(total)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """Three passes, four with the rectifier."""
        rows = rows_first(x, ctx)
        if ctx.training:
            count, mean, var = statistics(ctx.total)
        else:
            count, mean, var = 0.0, self.norm.buffers["running_mean"], self.norm.buffers["running_var"]
        inverse = 1 / np.sqrt(var + self.norm.epsilon)
        scale = self.norm.params["gamma"] * inverse
        centred = np.subtract(rows, _channels(mean, rows), out=ctx.empty(rows.shape))
        y = np.multiply(centred, _channels(scale, rows), out=ctx.empty(rows.shape))
        np.add(y, _channels(self.norm.params["beta"], rows), out=y)
        if self.relu:
            np.maximum(y, 0, out=y)
        return logical(y), [centred, y, count, inverse]

    def backward_partial(self, dy: Array, cache: Cache, ctx: Context) -> Array:
        """As BatchNorm2D.backward_partial; what passes the rectifier is put into the cache for `backward`."""
        centred, y, _, inverse = cache
        passed = rows_first(dy, ctx)
        if self.relu:
            passed = np.multiply(passed, np.greater(y, 0, out=ctx.scratch_bits(y.shape)), out=ctx.empty(y.shape))
        cache.append(passed)
        return np.stack([passed.sum(axis=(0, 2, 3), dtype=np.float64), _products(passed, centred) * inverse])

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """dx = scale * (dy - mean(dy) - xhat * mean(dy * xhat)), with xhat = centred * inverse."""
        centred, _, count, inverse, passed = cache
        mean_dy, mean_product = ctx.total / count
        scale = self.norm.params["gamma"] * inverse
        slope = -scale * inverse * mean_product
        dx = np.multiply(passed, _channels(scale, passed), out=ctx.empty(passed.shape))
        np.add(dx, np.multiply(centred, _channels(slope, passed), out=ctx.scratch(passed.shape)), out=dx)
        np.add(dx, _channels(-scale * mean_dy, passed), out=dx)
        dbeta, dgamma = ctx.partial.astype(passed.dtype)
        return logical(dx), {"gamma": dgamma, "beta": dbeta}


def _products(a: Array, b: Array) -> Array:
    """Sum of a * b for each channel of (H, C, W, N), (C,), float64; no image of products is made."""
    shape = (*a.shape[:2], -1)
    products: Array = np.vecdot(a.reshape(shape), b.reshape(shape))
    total: Array = products.sum(axis=0, dtype=np.float64)
    return total


def _channels(values: Array, rows: Array) -> Array:
    """(C,) -> (C, 1, 1) in the dtype of the rows."""
    return values.astype(rows.dtype, copy=False)[:, None, None]
