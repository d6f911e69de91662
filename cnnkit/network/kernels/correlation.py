"""Correlation of pixels-first images with filters, a few output rows at a time; forward pass and input gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from cnnkit.layers.window import Axis
from cnnkit.network.kernels.layout import blocks
from cnnkit.network.kernels.patches import BLOCK_BYTES, Patches
from cnnkit.network.kernels.products import BLAS, Products
from cnnkit.types import Array, Context

PATCH_BYTES = 16 * BLOCK_BYTES
"""What the copies of a single sample's patches may take; kernels up to 16 pixels wide stay below."""


class Correlation(Protocol):
    """y[p, q] = the sum over i, j of weight[:, :, i, j] @ x[p*stride + i - before, q*stride + j - before]."""

    rows: Axis
    columns: Axis

    def over(
        self, x: Array, weight: Array, ctx: Context, out: Array | None = None, step: int = 1
    ) -> Iterator[tuple[slice, Array]]:
        """Compute some output rows at a time: their slice, and the rows.

        x: (H, W, C, N); weight: (F, C, kh, kw); the rows: (count, ow, F, N), in `out`, (oh, ow, F, N), if it is given,
        and else in memory that the next ones overwrite; step: what `count` is a multiple of, but for the last ones.
        """


class DirectCorrelation:
    """One product for each output pixel, with the patch that it sees; it equals

        np.einsum("pqcnij,fcij->pqfn", np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(0, 1)), weight)

    for strides of 1 and no padding.
    """

    def __init__(self, rows: Axis, columns: Axis, products: Products = BLAS) -> None:
        self.rows, self.columns, self._products = rows, columns, products
        self.patches = Patches(rows, columns)

    def over(
        self, x: Array, weight: Array, ctx: Context, out: Array | None = None, step: int = 1
    ) -> Iterator[tuple[slice, Array]]:
        """As `Correlation.over`."""
        filters, width, samples = len(weight), self.columns.positions, x.shape[3]
        inner = weight.transpose(0, 3, 2, 1)
        kernel = ctx.empty(inner.shape)
        kernel[...] = inner
        matrix = kernel.reshape(filters, -1)
        y: Array | None = None
        for block, windows in self.patches.over(x, ctx, width * filters * samples * x.itemsize, step):
            if out is not None:
                made = out[block]
            else:
                y = ctx.empty((len(windows), width, filters, samples)) if y is None else y
                made = y[: len(windows)]
            if samples == 1:
                _rows_product(matrix, windows, made, ctx)
            else:
                self._products.product(matrix, windows, made, ctx)
            yield block, made


def _rows_product(matrix: Array, windows: Array, out: Array, ctx: Context) -> None:
    """The correlation of a single sample: the pixels are the rows of a product, where each alone would be a vector.

    What each of them sees is copied. Of a wide kernel that is much, so then only a part of a row is, at once.
    """
    rows, width, depth, _ = windows.shape
    down = rows if windows.itemsize * rows * width * depth <= PATCH_BYTES else 1
    parts = blocks(width, windows.itemsize * down * depth, PATCH_BYTES)
    memory = ctx.empty((down, parts[0].stop, depth))
    for top in range(0, rows, down):
        for part in parts:
            patches = memory[:, : part.stop - part.start]
            patches[...] = windows[top : top + down, part, :, 0]
            np.matmul(patches, matrix.T, out=out[top : top + down, part, :, 0])
