"""Convolution with kernels three rows high at half of the multiplications, by machine code."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from cnnkit.layers.window import Axis
from cnnkit.network.kernels.compiled.addresses import address
from cnnkit.network.kernels.compiled.interface import INNER, MOST_LANES, OUTER, PRODUCTS
from cnnkit.network.kernels.compiled.machine_code import Function, functions
from cnnkit.network.kernels.correlation import Correlation
from cnnkit.network.kernels.layout import blocks, constant
from cnnkit.network.kernels.patches import BLOCK_BYTES
from cnnkit.network.kernels.products import LINE
from cnnkit.network.kernels.weight_gradient import WeightGradient
from cnnkit.types import Array, Context

ROWS = 4
"""Of the output, that are made together."""
FEWEST_ROWS = 3
"""Of the output: fewer take more products than without sums."""
FEWEST_SAMPLES = 16
"""Of a tile: they are the lanes of the processor's vectors."""
WIDE = 2 * MOST_LANES
"""Samples in a panel, at most."""
LEAST_CHANNELS = 8
"""Of input and output, from which on the products saved are worth the sums."""
SUMS_BYTES = 448 << 10
"""What the sums of some columns may take: with what they are multiplied with, they stay in the core's own cache."""
FLOAT = np.dtype(np.float32)


def _kernel() -> Array:
    """The factors of the products, (6, 3), from the three rows of the kernel."""
    a, b = INNER**2, OUTER**2
    of_inner, of_outer = 2 * a * (a - b), 2 * b * (b - a)
    points = (0, a * b), (INNER, of_inner), (-INNER, of_inner), (OUTER, of_outer), (-OUTER, of_outer)
    return np.array([*([1 / n, p / n, p * p / n] for p, n in points), [0, 0, 1]])


KERNEL = _kernel()


def fits(rows: Axis, columns: Axis, channels: int, filters: int) -> bool:
    """Whether it can be done, and is the faster way."""
    is_met = (rows.size, rows.stride, columns.stride, rows.dilation, columns.dilation) == (3, 1, 1, 1, 1)
    return is_met and rows.positions >= FEWEST_ROWS and min(channels, filters) >= LEAST_CHANNELS


class MachineWinograd:
    """Winograd's minimal filtering F(4, 3) along the columns of the image, for kernels (3, kw) with strides of 1.

    Six products make four output rows of three kernel rows, where one by one they take twelve. With d0 .. d5 the input
    rows under the kernels of the four, g0 .. g2 the kernel's rows, a and b two points, and `KERNEL` G:

        m0 = (a² b² d0 - (a² + b²) d2 + d4) (G g)0
        m1, m2 = (d4 - b² d2 ± a (d3 - b² d1)) (G g)1, 2
        m3, m4 = (d4 - a² d2 ± b (d3 - a² d1)) (G g)3, 4
        m5 = (a² b² d1 - (a² + b²) d3 + d5) (G g)5
        y0 = m0 + m1 + m2 + m3 + m4,   y1 = a (m1 - m2) + b (m3 - m4)
        y2 = a² (m1 + m2) + b² (m3 + m4),   y3 = a³ (m1 - m2) + b³ (m3 - m4) + m5

    It equals `DirectCorrelation` but for rounding.

    Source: Lavin, Gray (2016), Fast Algorithms for Convolutional Neural Networks, section 4.3; Alam et al. (2022),
    Winograd Convolution for Deep Neural Networks: Efficient Point Selection, for points that are not whole numbers.
    """

    def __init__(self, rows: Axis, columns: Axis, plain: Correlation) -> None:
        """plain: for tiles of few samples, and numbers that are not of float32."""
        self.rows, self.columns, self._plain = rows, columns, plain

    @functools.cached_property
    def _function(self) -> Function:
        """Loaded when it is first called."""
        return functions()["winograd_correlation"]

    def over(
        self, x: Array, weight: Array, ctx: Context, out: Array | None = None, step: int = 1
    ) -> Iterator[tuple[slice, Array]]:
        """As `Correlation.over`."""
        height, width, channels, samples = x.shape
        if samples < FEWEST_SAMPLES or x.dtype != FLOAT or (out is not None and out.dtype != FLOAT):
            yield from self._plain.over(x, weight, ctx, out, step)
            return
        filters, across, columns = len(weight), self.columns.size, self.columns.positions
        matrices = _transformed(weight, ctx)
        at_once = columns_at_once(columns, channels, across)
        sums = ctx.empty((PRODUCTS, at_once + across - 1, channels, WIDE))
        products, spare = ctx.empty((PRODUCTS, filters, WIDE)), ctx.empty((WIDE,))
        of_a_row = columns * filters * samples * x.itemsize
        multiple = ROWS * step // np.gcd(ROWS, step)
        parts = blocks(self.rows.positions, of_a_row, BLOCK_BYTES, int(multiple))
        y = ctx.empty((parts[0].stop, columns, filters, samples)) if out is None else None
        for block in parts:
            count = block.stop - block.start
            made = y[:count] if y is not None else out[block]  # type: ignore[index]  # one of them is there
            self._function.at(
                *(address(x), height, width, channels, samples),
                *(self.rows.before - block.start, self.columns.before, address(matrices), filters, across),
                *(count, columns, at_once, address(constant(0, WIDE, FLOAT)), address(sums), address(products)),
                *(
                    address(spare),
                    address(made),
                    made.strides[0] // FLOAT.itemsize,
                    made.strides[1] // FLOAT.itemsize,
                ),
            )
            yield block, made


class MachineWinogradGradient:
    """The transposed form of `MachineWinograd`, where that fits.

    With s0 .. s5 the same sums of input rows, and a and b as there, of four rows of dy:

        t0 = dy0,  t1, t2 = dy0 + a² dy2 ± (a dy1 + a³ dy3),  t3, t4 = dy0 + b² dy2 ± (b dy1 + b³ dy3),  t5 = dy3

    and with mk the sum of the products of sk and tk over all pixels and samples, dg = G^T m.
    """

    def __init__(self, rows: Axis, columns: Axis, plain: WeightGradient) -> None:
        """plain: for tiles of few samples, and numbers that are not of float32."""
        self.rows, self.columns, self._plain = rows, columns, plain

    @functools.cached_property
    def _function(self) -> Function:
        """Loaded when it is first called."""
        return functions()["winograd_gradient"]

    def of(self, x: Array, dy: Array, ctx: Context) -> Array:
        """As `WeightGradient.of`."""
        height, width, channels, samples = x.shape
        if samples < FEWEST_SAMPLES or x.dtype != FLOAT or dy.dtype != FLOAT:
            return self._plain.of(x, dy, ctx)
        rows, columns, filters, _ = dy.shape
        across = self.columns.size
        padded = -(-filters // MOST_LANES) * MOST_LANES
        at_once = columns_at_once(columns, channels + padded, across)
        line = (-(-(at_once + across - 1) * WIDE // LINE) | 1) * LINE  # an odd number of cache lines, as in `Lines`
        sums, of_dy = ctx.empty((PRODUCTS, channels, line)), ctx.empty((PRODUCTS, at_once, WIDE, padded))
        totals = ctx.empty((PRODUCTS, across * channels * filters))
        totals[...] = 0
        spare = ctx.empty((PRODUCTS, MOST_LANES, MOST_LANES))
        self._function.at(
            *(address(x), height, width, channels, samples, self.rows.before, self.columns.before),
            *(address(dy), filters, across, rows, columns, at_once, line, padded),
            *map(address, (constant(0, WIDE, FLOAT), sums, spare, of_dy, totals)),
        )
        gradient = np.matmul(KERNEL.T.astype(FLOAT), totals, out=ctx.empty((3, totals.shape[1])))
        return gradient.reshape(3, across, channels, filters).transpose(3, 2, 0, 1)


def columns_at_once(columns: int, channels: int, across: int) -> int:
    """How many columns of the output have their sums in the core's own cache, in even parts."""
    most = max(1, SUMS_BYTES // (PRODUCTS * channels * WIDE * FLOAT.itemsize) - across + 1)
    return -(-columns // -(-columns // most))


def _transformed(weight: Array, ctx: Context) -> Array:
    """(F, C, 3, kw) -> (6, F, kw*C): what the six sums are multiplied with."""
    filters, channels, _, across = weight.shape
    rows = ctx.empty((3, filters, across, channels))
    rows[...] = weight.transpose(2, 0, 3, 1)
    matrices = ctx.empty((PRODUCTS, filters, across * channels))
    np.matmul(KERNEL.astype(FLOAT), rows.reshape(3, -1), out=matrices.reshape(PRODUCTS, -1))
    return matrices
