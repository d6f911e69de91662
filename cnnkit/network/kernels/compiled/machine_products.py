"""Products of matrices by machine code of our own, in place of BLAS."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnkit.layers.window import Axis
from cnnkit.network.kernels.compiled.addresses import address
from cnnkit.network.kernels.compiled.interface import DEPTH, MOST_LANES
from cnnkit.network.kernels.compiled.machine_code import Function, functions
from cnnkit.network.kernels.compiled.machine_winograd import MachineWinograd, MachineWinogradGradient, fits
from cnnkit.network.kernels.correlation import Correlation
from cnnkit.network.kernels.products import BLAS
from cnnkit.network.kernels.weight_gradient import WeightGradient, product_gradient
from cnnkit.network.kernels.winograd import product_correlation
from cnnkit.types import Array, Context, Shape

FEWEST = 100_000
"""Multiplications of all products of a call below which BLAS, called by NumPy, is faster."""
FLOAT = np.dtype(np.float32)
ITEM = FLOAT.itemsize
AXES = 3
"""Of a stack of matrices, at most."""


class MachineProducts:
    """Equals `BlasProducts`, up to the order of its sums; what is small, or not of float32, is left to that."""

    packs = False

    @functools.cached_property
    def _product(self) -> Function:
        """Loaded when it is first called."""
        return functions()["product"]

    def product(self, matrix: Array, stack: Array, out: Array, ctx: Context) -> None:
        """As `Products.product`; of the stack, either of the last two axes may be the contiguous one."""
        shapes = matrix.shape, matrix.strides, stack.shape, stack.strides, out.shape, out.strides
        layout = _layout(*shapes, (matrix.dtype, stack.dtype, out.dtype))
        if layout is None:
            BLAS.product(matrix, stack, out, ctx)
        else:
            panel = (
                ctx.empty((DEPTH * 2 * MOST_LANES,)) if layout.is_transposed else matrix
            )  # nothing is written there then
            self._product.at(*map(address, (matrix, stack, out, panel)), layout.address)

    def summed(self, left: Array, right: Array, ctx: Context) -> Array:
        """As `Products.summed`."""
        layout = _layout_of_sums(left.shape, left.strides, right.shape, right.strides, (left.dtype, right.dtype))
        if layout is None:
            return BLAS.summed(left, right, ctx)
        batch, _, shifts, rows, _ = left.shape
        made = ctx.empty((batch, shifts, rows, right.shape[2]))
        made[...] = 0
        panel = ctx.empty((DEPTH * 2 * MOST_LANES,))
        self._product.at(*map(address, (left, right, made, panel)), layout.address)
        return made

    def correlation(self, rows: Axis, columns: Axis, channels: int, filters: int) -> Correlation | None:
        """As `Products.correlation`."""
        sizes = rows, columns, channels, filters
        return MachineWinograd(rows, columns, product_correlation(*sizes, self)) if fits(*sizes) else None

    def weight_gradient(self, rows: Axis, columns: Axis, channels: int, filters: int) -> WeightGradient | None:
        """As `Products.weight_gradient`."""
        sizes = rows, columns, channels, filters
        return MachineWinogradGradient(rows, columns, product_gradient(*sizes, self)) if fits(*sizes) else None


MACHINE = MachineProducts()


class Layout:
    """Where the numbers of the operands are, as `product_loops.product` takes it."""

    def __init__(
        self, axes: Sequence[tuple[int, ...]], sizes: Shape, a: Shape, b: Shape, c_row: int, *, adds: bool
    ) -> None:
        """axes: of each its length, and the steps along it in a, b and c; sizes: rows, columns and depth; a, b: steps.

        All steps in bytes.
        """
        lengths, *steps = zip(*axes, strict=True)
        strides = [stride // ITEM for stride in (*(step for one in steps for step in one), *a, *b, c_row)]
        of_axes = len(steps) * len(axes)
        self._numbers = np.array([*lengths, *strides[:of_axes], *sizes, *strides[of_axes:], adds], np.intp)
        self.address = address(self._numbers)
        self.is_transposed = b[1] != ITEM


@functools.lru_cache(maxsize=1024)
def _layout(
    a_shape: Shape, a: Shape, b_shape: Shape, b: Shape, shape: Shape, c: Shape, dtypes: tuple[np.dtype[Any], ...]
) -> Layout | None:
    """Of a product, by the shapes and the strides of its operands; None for what BLAS should do, or refuse."""
    *lead, rows, columns = shape
    depth = a_shape[-1]
    fits = a_shape[-2:] == (rows, depth) and b_shape[-2:] == (depth, columns) and len(lead) <= AXES
    if not fits or any(dtype != FLOAT for dtype in dtypes) or math.prod((*shape, depth)) < FEWEST:
        return None
    if c[-1] != ITEM or ITEM not in b[-2:]:
        return None
    axes = [
        (length, _step(a_shape, a, axis), _step(b_shape, b, axis), c[axis])
        for axis, length in zip(range(-len(shape), -2), lead, strict=True)
    ]
    alone = (1, 0, 0, 0)
    axes = [*[alone] * (AXES - len(axes)), *axes, alone]
    return Layout(axes, (rows, columns, depth), a[-2:], b[-2:], c[-2], adds=False)


@functools.lru_cache(maxsize=1024)
def _layout_of_sums(
    left_shape: Shape, left: Shape, right_shape: Shape, right: Shape, dtypes: tuple[np.dtype[Any], ...]
) -> Layout | None:
    """Of sums of products, whose second operand is transposed; the result is contiguous."""
    batch, stack, shifts, rows, depth = left_shape
    columns = right_shape[2]
    fits = right_shape == (batch, stack, columns, depth) and left[-1] == right[-1] == ITEM
    if not fits or any(dtype != FLOAT for dtype in dtypes):
        return None
    row = columns * ITEM
    axes = [
        (1, 0, 0, 0),
        (batch, left[0], right[0], shifts * rows * row),
        (stack, left[1], right[1], 0),
        (shifts, left[2], 0, rows * row),
    ]
    return Layout(axes, (rows, columns, depth), left[3:], (right[3], right[2]), row, adds=True)


def _step(shape: Shape, strides: Shape, axis: int) -> int:
    """Along an axis of a stack, counted from the end; none where the operand has one matrix for all of it."""
    return strides[axis] if -axis <= len(shape) and shape[axis] > 1 else 0
