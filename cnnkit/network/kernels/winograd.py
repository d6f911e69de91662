"""Correlation with kernels three rows high at two thirds of the multiplications."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cnnkit.layers.window import Axis
from cnnkit.network.kernels.correlation import Correlation, DirectCorrelation
from cnnkit.network.kernels.layout import blocks, constant
from cnnkit.network.kernels.patches import BLOCK_BYTES
from cnnkit.network.kernels.products import BLAS, Products
from cnnkit.network.kernels.window_axes import inside
from cnnkit.types import Array, Context

LEAST_CHANNELS = 16
"""Of input and output, from which on the products saved are worth the sums."""

SUMS = ((0, 2, np.subtract), (1, 2, np.add), (2, 1, np.subtract), (1, 3, np.subtract))
"""Of the four input rows under a pair of output rows."""
KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
"""The factors of the products, from the three rows of the kernel."""


class WinogradCorrelation:
    """Winograd's minimal filtering F(2, 3) along the columns of the image, for kernels (3, kw) with strides of 1.

    Four products make two output rows of three kernel rows, where one by one they take six. With d0 .. d3 the input
    rows under the kernels of the two, and g0 .. g2 the kernel's rows:

        m0 = (d0 - d2) g0,  m1 = (d1 + d2) (g0 + g1 + g2) / 2,  m2 = (d2 - d1) (g0 - g1 + g2) / 2,  m3 = (d1 - d3) g2
        y0 = m0 + m1 + m2,  y1 = m1 - m2 - m3

    Each product is one along the row, over the kernel's columns and the channels, as in `DirectCorrelation`, which it
    equals but for rounding. Input rows are sums of long contiguous runs.

    Source: Lavin, Gray (2016), Fast Algorithms for Convolutional Neural Networks, section 4.1.
    """

    def __init__(self, rows: Axis, columns: Axis, products: Products = BLAS) -> None:
        self.rows, self.columns, self._products = rows, columns, products
        self._width = columns.positions - 1 + columns.size
        """Of the padded image."""
        self._across, self._pixels = inside(columns, -columns.before, self._width)
        self._direct = DirectCorrelation(rows, columns)
        """For a single sample."""

    @staticmethod
    def fits(rows: Axis, columns: Axis, channels: int, filters: int) -> bool:
        """Whether it can do this, and is the faster way."""
        return (rows.size, rows.stride, columns.stride) == (3, 1, 1) and min(channels, filters) >= LEAST_CHANNELS

    def over(
        self, x: Array, weight: Array, ctx: Context, out: Array | None = None, step: int = 1
    ) -> Iterator[tuple[slice, Array]]:
        """As `Correlation.over`."""
        height, width, samples = self.rows.positions, self.columns.positions, x.shape[3]
        if samples == 1:
            yield from self._direct.over(x, weight, ctx, out, step)
            return
        filters, channels = weight.shape[:2]
        matrices = _transformed(weight, ctx)
        of_a_row = 2 * (self._width * channels + width * filters) * samples * x.itemsize
        parts = blocks(height, of_a_row, BLOCK_BYTES, 2 * step if step % 2 else step)
        pairs = -(-parts[0].stop // 2)
        memory = ctx.empty((4, pairs, self._width, channels, samples))
        products = ctx.empty((4, pairs, width, filters, samples))
        y = ctx.empty((parts[0].stop, width, filters, samples)) if out is None else None
        for block in parts:
            count = block.stop - block.start
            made = y[:count] if y is not None else out[block]  # type: ignore[index]  # one of them is there
            pairs = -(-count // 2)
            self._fill(memory[:, :pairs], x, block.start)
            self._products.product(matrices, self._windows(memory, pairs), products[:, :pairs], ctx)
            _combine(products[:, :pairs], made)
            yield block, made

    def _fill(self, sums: Array, x: Array, first: int) -> None:
        """The four sums of input rows for each pair of output rows from `first` on: (4, pairs, columns, C, N)."""
        pairs = sums.shape[1]
        if self._across.start:
            sums[:, :, : self._across.start] = 0
        if self._across.stop < self._width:
            sums[:, :, self._across.stop :] = 0
        top = first - self.rows.before
        begin = min(pairs, -(top // 2)) if top < 0 else 0
        end = max(begin, min(pairs, (len(x) - top - 2) // 2))
        if begin < end:
            add_rows(x[top + 2 * begin : top + 2 * end + 2, self._pixels], sums[:, begin:end, self._across])
        for pair in (*range(begin), *range(end, pairs)):
            self._fill_edge(sums[:, pair, self._across], x, top + 2 * pair)

    def _fill_edge(self, sums: Array, x: Array, top: int) -> None:
        """The sums for one pair, some of whose input rows lie outside and count as zeros."""
        zeros = constant(0, sums[0].size, x.dtype).reshape(sums[0].shape)
        rows = [x[row, self._pixels] if 0 <= row < len(x) else zeros for row in range(top, top + 4)]
        for target, (first, second, combine) in zip(sums, SUMS, strict=True):
            combine(rows[first], rows[second], out=target)

    def _windows(self, sums: Array, pairs: int) -> Array:
        """What the kernel sees along the rows: (4, pairs, ow, kw*C, N), a view."""
        channels, line = sums.shape[3:]
        shape = (4, pairs, self.columns.positions, self.columns.size * channels, line)
        return np.ndarray(shape, sums.dtype, sums, 0, (*sums.strides[:3], *sums.strides[3:]))


def fastest_correlation(
    rows: Axis, columns: Axis, channels: int, filters: int, products: Products = BLAS
) -> Correlation:
    """The fastest way there is for these sizes."""
    return products.correlation(rows, columns, channels, filters) or product_correlation(
        rows, columns, channels, filters, products
    )


def product_correlation(
    rows: Axis, columns: Axis, channels: int, filters: int, products: Products = BLAS
) -> Correlation:
    """The fastest one that is made of products of matrices."""
    if WinogradCorrelation.fits(rows, columns, channels, filters):
        return WinogradCorrelation(rows, columns, products)
    return DirectCorrelation(rows, columns, products)


def add_rows(rows: Array, sums: Array) -> None:
    """The four sums for each pair of output rows: (2 * pairs + 2, ...) -> (4, pairs, ...)."""
    lines = rows[0:-2:2], rows[1:-2:2], rows[2::2], rows[3::2]
    for target, (first, second, combine) in zip(sums, SUMS, strict=True):
        combine(lines[first], lines[second], out=target)


def _transformed(weight: Array, ctx: Context) -> Array:
    """(F, C, 3, kw) -> (4, 1, 1, F, kw*C): what the four sums are multiplied with."""
    filters, channels, _, across = weight.shape
    rows = ctx.empty((3, filters, across, channels))
    rows[...] = weight.transpose(2, 0, 3, 1)
    matrices = ctx.empty((4, 1, 1, filters, across * channels))
    np.matmul(KERNEL.astype(weight.dtype), rows.reshape(3, -1), out=matrices.reshape(4, -1))
    return matrices


def _combine(products: Array, y: Array) -> None:
    """y0 = m0 + m1 + m2 and y1 = m1 - m2 - m3, for each pair of rows; an odd last row has no second one."""
    m0, m1, m2, m3 = products
    even, odd = y[0::2], y[1::2]
    np.add(m1, m2, out=even)
    np.add(even, m0, out=even)
    whole = slice(len(odd))
    np.subtract(m1[whole], m2[whole], out=odd)
    np.subtract(odd, m3[whole], out=odd)
