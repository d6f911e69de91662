"""The gradient of a convolution's weights from pixels-first images."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from cnnkit.layers.window import Axis
from cnnkit.network.kernels.layout import blocks, constant
from cnnkit.network.kernels.patches import BLOCK_BYTES, Patches
from cnnkit.network.kernels.products import BLAS, LINE, UNPACKED_TRANSPOSED, Products
from cnnkit.network.kernels.window_axes import inside
from cnnkit.network.kernels.winograd import WinogradCorrelation, add_rows
from cnnkit.types import Array, Context

FEW_CHANNELS = 8
"""Below this, what a product takes is small beside the copies that longer ones need."""
MANY_CHANNELS = 32
"""From here on, what Winograd's sums save is more than they cost."""
SUMS_OF_LINES = 3
"""What lines and their sums take together, in lines."""


class WeightGradient(Protocol):
    """dweight[:, :, i, j] = the sum over p, q of dy[p, q] @ x[p*stride + i - before, q*stride + j - before]^T.

    It equals

        np.einsum("pqcnij,pqfn->fcij", np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(0, 1)), dy)

    for strides of 1 and no padding.
    """

    def of(self, x: Array, dy: Array, ctx: Context) -> Array:
        """x: (H, W, C, N), dy: (oh, ow, F, N) -> (F, C, kh, kw)."""


def weight_gradient(
    rows: Axis, columns: Axis, channels: int, filters: int, products: Products = BLAS
) -> WeightGradient:
    """The fastest way there is for these sizes."""
    return products.weight_gradient(rows, columns, channels, filters) or product_gradient(
        rows, columns, channels, filters, products
    )


def product_gradient(
    rows: Axis, columns: Axis, channels: int, filters: int, products: Products = BLAS
) -> WeightGradient:
    """The fastest one that is made of products of matrices."""
    if not products.packs and PixelGradient.fits(rows, columns):
        return PixelGradient(products)
    depth = channels * rows.size * columns.size
    if channels < FEW_CHANNELS and depth * filters <= UNPACKED_TRANSPOSED:
        return PatchGradient(rows, columns)
    if WinogradCorrelation.fits(rows, columns, channels, filters) and min(channels, filters) >= MANY_CHANNELS:
        return WinogradGradient(rows, columns, products)
    return LineGradient(rows, columns, products)


class PatchGradient:
    """One product for each output pixel; then their sum."""

    def __init__(self, rows: Axis, columns: Axis) -> None:
        self.patches = Patches(rows, columns)

    def of(self, x: Array, dy: Array, ctx: Context) -> Array:
        """As `WeightGradient.of`."""
        channels, filters = x.shape[2], dy.shape[2]
        size, across = self.patches.rows.size, self.patches.columns.size
        total, part = (ctx.empty((across * size * channels * filters,)) for _ in range(2))
        total[...] = 0
        for block, windows in self.patches.over(x, ctx, dy[0].nbytes):
            made = ctx.empty((*windows.shape[:3], filters))
            np.matmul(windows, dy[block].swapaxes(-1, -2), out=made)
            pixels = made.shape[0] * made.shape[1]
            total += np.matmul(constant(1, pixels, made.dtype), made.reshape(pixels, -1), out=part)  # the sum, by BLAS
        return total.reshape(across, size, channels, filters).transpose(3, 2, 1, 0)


class PixelGradient:
    """Sums of products of pixels as they lie, for kernels of one element; it equals

    np.einsum("pqcn,pqfn->fc", x, dy)[:, :, None, None]
    """

    def __init__(self, products: Products) -> None:
        self._products = products

    @staticmethod
    def fits(rows: Axis, columns: Axis) -> bool:
        """Whether each pixel is met once."""
        return all(axis.size == axis.stride == 1 and axis.before == axis.after == 0 for axis in (rows, columns))

    def of(self, x: Array, dy: Array, ctx: Context) -> Array:
        """As `WeightGradient.of`; of the two, the smaller one is transposed."""
        x, dy = (pixels.reshape(-1, *pixels.shape[2:], copy=False) for pixels in (x, dy))
        if x.shape[1] < dy.shape[1]:
            return self._products.summed(dy[None, :, None], x[None], ctx).reshape(dy.shape[1], x.shape[1], 1, 1)
        gradient: Array = self._products.summed(x[None, :, None], dy[None], ctx)[0, 0].T[..., None, None]
        return gradient


class LineGradient:
    """Long products: what they sum over is all samples of a line of pixels.

    Both images are copied into lines (C, W*N) first, whose pixels lie beside each other; what a column of the kernel
    meets in a line is then a view. With strides along the line it is not: there is a line for each column then.
    """

    def __init__(self, rows: Axis, columns: Axis, products: Products = BLAS) -> None:
        self.rows, self._products = rows, products
        self.lines = Lines(rows, columns)

    def of(self, x: Array, dy: Array, ctx: Context) -> Array:
        """As `WeightGradient.of`."""
        lines, size, stride = self.lines, self.rows.size, self.rows.stride
        channels, filters = x.shape[2], dy.shape[2]
        shifts = lines.columns.size // lines.copies
        total = ctx.empty((1, shifts, size * lines.copies * channels, filters))
        total[...] = 0
        for block in lines.blocks(x, dy):
            height = block.stop - block.start
            of_x = lines.of(x, block.start * stride, (height - 1) * stride + size, ctx)
            of_dy = lines_of_gradient(dy[block], ctx)
            row, line, item = of_x.strides
            shape = (1, height, shifts, total.shape[2], of_dy.shape[2])
            # What each output row sees, from each column of the kernel on: matrices that overlap.
            windows = np.ndarray(shape, of_x.dtype, of_x, 0, (0, stride * row, x.shape[3] * item, line, item))
            total += self._products.summed(windows, of_dy[None], ctx)
        parts = total.reshape(shifts, size, lines.copies, channels, filters).transpose(4, 3, 1, 0, 2)
        return parts.reshape(filters, channels, size, lines.columns.size)


class WinogradGradient:
    """The transposed form of `WinogradCorrelation`, where that fits, with products as long as in `LineGradient`.

    With the same sums of input lines s0 .. s3, t0 = dy0, t1 = dy0 + dy1, t2 = dy0 - dy1, t3 = -dy1 and mk the product
    of sk and tk,

        dg0 = m0 + (m1 + m2) / 2,  dg1 = (m1 - m2) / 2,  dg2 = (m1 + m2) / 2 + m3
    """

    def __init__(self, rows: Axis, columns: Axis, products: Products = BLAS) -> None:
        self.lines, self._products = Lines(rows, columns), products

    def of(self, x: Array, dy: Array, ctx: Context) -> Array:
        """As `WeightGradient.of`."""
        across, channels, filters = self.lines.columns.size, x.shape[2], dy.shape[2]
        total = ctx.empty((4, across, channels, filters))
        total[...] = 0
        for block in self.lines.blocks(x, dy, SUMS_OF_LINES):
            pairs = -(-(block.stop - block.start) // 2)
            sums = self._sums(self.lines.of(x, block.start, 2 * pairs + 2, ctx), ctx)
            of_dy = self._pair_sums(lines_of_gradient(dy[block], ctx), ctx)
            batch, row, line, item = sums.strides
            shape = (4, pairs, across, channels, of_dy.shape[3])
            windows = np.ndarray(shape, sums.dtype, sums, 0, (batch, row, x.shape[3] * item, line, item))
            total += self._products.summed(windows, of_dy, ctx)
        m0, m1, m2, m3 = total
        gradient = ctx.empty((3, across, channels, filters))
        np.subtract(m1, m2, out=gradient[1])
        gradient[1] /= 2
        half = np.add(m1, m2, out=m1)
        half /= 2
        np.add(half, m0, out=gradient[0])
        np.subtract(half, m3, out=gradient[2])  # what is summed up for t3 is dy1, without the sign
        return gradient.transpose(3, 2, 0, 1)

    @staticmethod
    def _sums(lines: Array, ctx: Context) -> Array:
        """s0 .. s3 of each pair of output rows: (2 * pairs + 2, C, ...) -> (4, pairs, C, ...)."""
        sums = ctx.empty((4, len(lines) // 2 - 1, *lines.shape[1:]))
        add_rows(lines, sums)
        return sums

    @staticmethod
    def _pair_sums(lines: Array, ctx: Context) -> Array:
        """t0 .. t2 and -t3 of each pair of rows, the last of which may have no second one: (4, pairs, F, ow*N)."""
        even, odd = lines[0::2], lines[1::2]
        sums = ctx.empty((4, *even.shape))
        sums[0] = even
        sums[3, : len(odd)] = odd
        sums[3, len(odd) :] = 0
        np.add(sums[0], sums[3], out=sums[1])
        np.subtract(sums[0], sums[3], out=sums[2])
        return sums


class Lines:
    """Rows of padded images as lines (C, columns*N), or, with strides along them, as (kw*C, ow*N)."""

    def __init__(self, rows: Axis, columns: Axis) -> None:
        self.rows, self.columns = rows, columns
        self.copies = columns.size if columns.stride > 1 else 1
        """How many columns of the kernel have their own lines."""
        self._width = columns.positions if columns.stride > 1 else columns.positions - 1 + columns.size

    def blocks(self, x: Array, dy: Array, copies: int = 1) -> tuple[slice, ...]:
        """Slices of the rows of dy whose lines, `copies` times, stay in the cache; of an even number of rows."""
        of_a_row = (self._width * self.copies * x[0, 0].size + dy[0].size) * x.itemsize
        return blocks(len(dy), copies * of_a_row, BLOCK_BYTES, 2)

    def of(self, x: Array, first: int, count: int, ctx: Context) -> Array:
        """`count` rows of the padded image from `first` on: (H, W, C, N) -> (count, copies*C, columns*N and more)."""
        channels, samples = x.shape[2:]
        memory = ctx.empty((count, self.copies, channels, _odd_lines(self._width * samples)))
        memory[..., self._width * samples :] = 0  # nobody reads it, but it may be added up with the rest
        down, lines = inside(self.rows, first - self.rows.before, count)
        if down.stop - down.start < count:
            memory[: down.start] = 0
            memory[down.stop :] = 0
        pixels = _pixels(memory[down], self._width, samples)
        for j in range(self.copies):
            across, met = inside(self.columns, j - self.columns.before, self._width, self.columns.stride)
            if across.stop - across.start < self._width:
                pixels[:, j, :, : across.start] = 0
                pixels[:, j, :, across.stop :] = 0
            pixels[:, j, :, across] = x[lines, met].transpose(0, 2, 1, 3)
        return memory.reshape(count, self.copies * channels, memory.shape[3])


def lines_of_gradient(dy: Array, ctx: Context) -> Array:
    """(oh, ow, F, N) -> (oh, F, ow*N), the last axis contiguous."""
    height, width, filters, samples = dy.shape
    memory = ctx.empty((height, filters, _odd_lines(width * samples)))
    _pixels(memory, width, samples)[...] = dy.transpose(0, 2, 1, 3)
    return memory[..., : width * samples]


def _pixels(lines: Array, width: int, samples: int) -> Array:
    """(..., columns*N and more) -> (..., columns, N), a view."""
    used = lines[..., : width * samples]
    return used.reshape(*used.shape[:-1], width, samples, copy=False)


def _odd_lines(count: int) -> int:
    """At least `count` numbers, in an odd number of cache lines.

    The rows of a matrix that are a power of two apart fall into the same few sets of the cache and push each other out.
    """
    return (-(-count // LINE) | 1) * LINE
