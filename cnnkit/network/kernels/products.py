"""Products of many small matrices, cut so that BLAS can work on them where they lie.

Before it multiplies, BLAS copies ("packs") its operands into blocks for its innermost loop. With few rows, as a
convolution with few filters has them, that copy costs more than the product. OpenBLAS has kernels for AVX-512 that do
without it, for products below a size (sgemm_small_kernel_permit of its target Skylake-X, from 0.3.17 on); elsewhere
the cuts cost next to nothing.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Protocol

import numpy as np

from cnnkit.network.kernels.layout import constant
from cnnkit.types import Array, Context

if TYPE_CHECKING:
    from cnnkit.layers.window import Axis
    from cnnkit.network.kernels.correlation import Correlation
    from cnnkit.network.kernels.weight_gradient import WeightGradient

UNPACKED = 1_000_000
"""rows * columns * depth up to which a product is not packed."""
UNPACKED_TRANSPOSED = 1_200
"""Rows * columns of the result up to which a product with a transposed second operand is not packed."""
FEWEST = 8
"""Rows below which a piece is not worth its call."""
WIDEST_TRANSPOSED = 32
"""Columns of the result beyond which such a product gets slower."""
LINE = 16
"""Numbers in one line of the processor's cache, and in one AVX-512 register; float32."""


class Products(Protocol):
    """How kernels multiply matrices."""

    packs: bool
    """Whether operands are copied first, so that sums along few numbers take long."""

    def product(self, matrix: Array, stack: Array, out: Array, ctx: Context) -> None:
        """out = matrix @ stack.

        matrix: (..., m, k); stack: (..., k, n); out: (..., m, n), with up to three axes before them; the last axis of
        the latter two contiguous. It equals

            np.matmul(matrix, stack, out=out)
        """

    def summed(self, left: Array, right: Array, ctx: Context) -> Array:
        """Sums over s of left[b, s, j] @ right[b, s]^T.

        left: (b, s, j, k, n); right: (b, s, m, n); the last axis of each contiguous; result: (b, j, k, m). It equals

            np.matmul(left, right[:, :, None].swapaxes(-1, -2)).sum(axis=1)
        """

    def correlation(self, rows: Axis, columns: Axis, channels: int, filters: int) -> Correlation | None:
        """A way with other products that is faster than all that are made of these; None if there is none."""

    def weight_gradient(self, rows: Axis, columns: Axis, channels: int, filters: int) -> WeightGradient | None:
        """As `correlation`."""


class BlasProducts:
    """Products by NumPy, which calls BLAS."""

    packs = True

    def product(self, matrix: Array, stack: Array, out: Array, ctx: Context) -> None:
        """As `Products.product`, in pieces of some rows each."""
        rows, depth = matrix.shape[-2:]
        most = UNPACKED // (depth * stack.shape[-1])
        pieces = rows // _divisor(rows, most) if 0 < most < rows else 1
        if pieces == 1 or rows < pieces * FEWEST:
            np.matmul(matrix, stack, out=out)
            return
        cut = matrix.reshape(*matrix.shape[:-2], pieces, rows // pieces, depth, copy=False)
        made = out.reshape(*out.shape[:-2], pieces, rows // pieces, out.shape[-1], copy=False)
        np.matmul(cut, stack[..., None, :, :], out=made)

    def summed(self, left: Array, right: Array, ctx: Context) -> Array:
        """As `Products.summed`, in pieces of all three axes of the products.

        With the smaller operand on the right, BLAS is up to twice as fast as the other way round.
        """
        batch, stack, shifts, k, columns = left.shape
        m = right.shape[2]
        across = _divisor(m, WIDEST_TRANSPOSED)
        down = _divisor(k, UNPACKED_TRANSPOSED // across)
        if min(down, across) < min(FEWEST, k, m):  # they cannot be cut well: BLAS does what it can
            down, across = k, m
        # Each piece of rows of the one meets each of the other.
        left = left.reshape(batch, stack, shifts, k // down, 1, down, columns, copy=False)
        right = right.reshape(batch, stack, 1, 1, m // across, across, columns, copy=False).swapaxes(-1, -2)
        cut = down * across <= UNPACKED_TRANSPOSED
        pieces = max(1, -(-columns * down * across // UNPACKED)) if cut else 1
        width = -(-columns // pieces // LINE) * LINE
        made = ctx.empty((batch, stack, shifts, k // down, m // across, down, across))
        total, part = (ctx.empty((batch, made[0, 0].size)) for _ in range(2))
        total[...] = 0
        for first in range(0, columns, width):
            np.matmul(left[..., first : first + width], right[..., first : first + width, :], out=made)
            total += np.matmul(
                constant(1, stack, made.dtype), made.reshape(batch, stack, -1), out=part
            )  # the sum, by BLAS
        result = ctx.empty((batch, shifts, k // down, down, m // across, across))
        result[...] = total.reshape(batch, shifts, k // down, m // across, down, across).swapaxes(3, 4)
        return result.reshape(batch, shifts, k, m)

    def correlation(self, rows: Axis, columns: Axis, channels: int, filters: int) -> None:
        """None."""

    def weight_gradient(self, rows: Axis, columns: Axis, channels: int, filters: int) -> None:
        """None."""


BLAS = BlasProducts()


@functools.lru_cache(maxsize=256)
def _divisor(count: int, most: int) -> int:
    """The largest divisor that is not above `most`, or 1."""
    return next((n for n in range(min(count, most), 0, -1) if count % n == 0), 1)
