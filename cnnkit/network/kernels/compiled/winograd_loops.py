"""Convolution with kernels three rows high by Winograd's F(4, 3): half of the multiplications, in the core's own cache.

What is summed up of a few columns, for a panel of samples, is multiplied and put together before the next columns'
turn, so that memory sees the images alone: they are read one and a half times, and written once.

Images are pixels first, (H, W, C, N), of which N are in panels of WIDE samples.
"""

from __future__ import annotations

from cnnkit.network.kernels.compiled.interface import PRODUCTS
from cnnkit.network.kernels.compiled.jit import inner
from cnnkit.network.kernels.compiled.product_loops import WIDE, add_columns
from cnnkit.network.kernels.compiled.vector_code import LANES, shifted, transpose_block
from cnnkit.network.kernels.compiled.vector_winograd import gradient_sums, input_sums, output_rows
from cnnkit.types import Array

ROWS = 4
"""Of the output, that are made together."""

_input_sums, _some_input_sums = input_sums(partial=False), input_sums(partial=True)
_output_rows, _some_output_rows = output_rows(partial=False), output_rows(partial=True)
_gradient_sums, _some_gradient_sums = gradient_sums(partial=False), gradient_sums(partial=True)
SQUARE = LANES * LANES


@inner
def _row(x: Array, zeros: Array, row: int, height: int, size: int, place: int) -> Array:
    """Where a row has this place; zeros outside of the image."""
    return shifted(x, row * size + place) if 0 <= row < height else zeros


@inner
def _sums_of_rows(
    x: Array,
    height: int,
    width: int,
    channels: int,
    samples: int,
    top: int,
    left: int,
    columns: int,
    first: int,
    count: int,
    zeros: Array,
    sums: Array,
    of_all: int,
    of_a_column: int,
    of_a_channel: int,
) -> None:
    """The six sums of the rows from `top` on, in so many columns, of `count` samples: WIDE numbers for each channel."""
    pixel = channels * samples
    row = width * pixel
    for q in range(columns):
        column = left + q
        inside = 0 <= column < width
        for c in range(channels):
            into = q * of_a_column + c * of_a_channel
            place = column * pixel + c * samples + first
            for begin in range(0, WIDE, LANES):
                here = min(LANES, count - begin) if inside else 0
                to = shifted(sums, into + begin)
                if here <= 0:
                    _some_input_sums(zeros, zeros, zeros, zeros, zeros, zeros, to, of_all, 0)
                    continue
                at = place + begin
                x0, x1 = _row(x, zeros, top, height, row, at), _row(x, zeros, top + 1, height, row, at)
                x2, x3 = _row(x, zeros, top + 2, height, row, at), _row(x, zeros, top + 3, height, row, at)
                x4, x5 = _row(x, zeros, top + 4, height, row, at), _row(x, zeros, top + 5, height, row, at)
                if here == LANES:
                    _input_sums(x0, x1, x2, x3, x4, x5, to, of_all, LANES)
                else:
                    _some_input_sums(x0, x1, x2, x3, x4, x5, to, of_all, here)


def winograd_correlation(
    x: Array,
    height: int,
    width: int,
    channels: int,
    samples: int,
    before: int,
    left: int,
    matrices: Array,
    filters: int,
    across: int,
    rows: int,
    columns: int,
    at_once: int,
    zeros: Array,
    sums: Array,
    products: Array,
    spare: Array,
    y: Array,
    y_row: int,
    y_pixel: int,
) -> None:
    """y[p, q] = the sum over i, j of weight[:, :, i, j] @ x[p + i - before, q + j - left].

    matrices: (6, F, across * C), of the weights; rows, columns: of y, of which at_once have their sums at once; zeros:
    WIDE; sums: room for (6, at_once + across - 1, C, WIDE); products: for (6, F, WIDE); spare: for WIDE.
    """
    pixel, depth = channels * WIDE, across * channels
    of_all, product = (at_once + across - 1) * pixel, filters * WIDE
    for row in range(0, rows, ROWS):
        for first in range(0, samples, WIDE):
            count = min(WIDE, samples - first)
            for column in range(0, columns, at_once):
                here = min(at_once, columns - column)
                _sums_of_rows(
                    *(x, height, width, channels, samples, row - before, column - left, here + across - 1),
                    *(first, count, zeros, sums, of_all, pixel, WIDE),
                )
                for q in range(here):
                    for k in range(PRODUCTS):
                        matrix, seen = shifted(matrices, k * filters * depth), shifted(sums, k * of_all + q * pixel)
                        into = shifted(products, k * product)
                        add_columns(matrix, depth, 1, seen, WIDE, into, WIDE, filters, depth, True, WIDE)
                    for f in range(filters):
                        place = row * y_row + (column + q) * y_pixel + f * samples + first
                        for begin in range(0, count, LANES):
                            at = place + begin
                            y0 = shifted(y, at)
                            y1 = shifted(y, at + y_row) if row + 1 < rows else spare
                            y2 = shifted(y, at + 2 * y_row) if row + 2 < rows else spare
                            y3 = shifted(y, at + 3 * y_row) if row + 3 < rows else spare
                            met = shifted(products, f * WIDE + begin)
                            if count - begin >= LANES:
                                _output_rows(met, product, y0, y1, y2, y3, LANES)
                            else:
                                _some_output_rows(met, product, y0, y1, y2, y3, count - begin)


@inner
def _sums_of_gradient(
    dy: Array,
    rows: int,
    columns: int,
    filters: int,
    samples: int,
    row: int,
    column: int,
    here: int,
    first: int,
    count: int,
    zeros: Array,
    spare: Array,
    sums: Array,
    of_all: int,
    of_a_sample: int,
) -> None:
    """The six sums of four rows of dy, in so many columns, of `count` samples: (6, here, WIDE, of_a_sample filters)."""
    size = columns * filters * samples
    for q in range(here):
        for f in range(0, filters, LANES):
            for begin in range(0, WIDE, LANES):
                lanes = min(LANES, count - begin)
                for i in range(min(LANES, filters - f)):
                    at = ((column + q) * filters + f + i) * samples + first + begin
                    to = shifted(spare, i * LANES)
                    if lanes <= 0:
                        _some_gradient_sums(zeros, zeros, zeros, zeros, to, SQUARE, 0)
                        continue
                    y0, y1 = _row(dy, zeros, row, rows, size, at), _row(dy, zeros, row + 1, rows, size, at)
                    y2, y3 = _row(dy, zeros, row + 2, rows, size, at), _row(dy, zeros, row + 3, rows, size, at)
                    if lanes == LANES:
                        _gradient_sums(y0, y1, y2, y3, to, SQUARE, LANES)
                    else:
                        _some_gradient_sums(y0, y1, y2, y3, to, SQUARE, lanes)
                for k in range(PRODUCTS):
                    into = shifted(sums, k * of_all + (q * WIDE + begin) * of_a_sample + f)
                    transpose_block(shifted(spare, k * SQUARE), LANES, into, of_a_sample)


def winograd_gradient(
    x: Array,
    height: int,
    width: int,
    channels: int,
    samples: int,
    before: int,
    left: int,
    dy: Array,
    filters: int,
    across: int,
    rows: int,
    columns: int,
    at_once: int,
    line: int,
    padded: int,
    zeros: Array,
    sums: Array,
    spare: Array,
    of_dy: Array,
    totals: Array,
) -> None:
    """Add to totals, (6, across, C, F), the products of the sums of x and of dy.

    line: from channel to channel in the sums, (at_once + across - 1) * WIDE at least; padded: the filters,
    in whole vectors; zeros: WIDE; sums: room for (6, C, line); spare: for (6, LANES, LANES); of_dy: for
    (6, at_once, WIDE, padded).
    """
    of_all, of_sums = channels * line, at_once * WIDE * padded
    for row in range(0, rows, ROWS):
        for first in range(0, samples, WIDE):
            count = min(WIDE, samples - first)
            for column in range(0, columns, at_once):
                here = min(at_once, columns - column)
                _sums_of_rows(
                    *(x, height, width, channels, samples, row - before, column - left, here + across - 1),
                    *(first, count, zeros, sums, of_all, WIDE, line),
                )
                _sums_of_gradient(
                    *(dy, rows, columns, filters, samples, row, column, here, first, count, zeros, spare),
                    *(of_dy, of_sums, padded),
                )
                for k in range(PRODUCTS):
                    met = shifted(of_dy, k * of_sums)
                    for j in range(across):
                        seen = shifted(sums, k * of_all + j * WIDE)
                        into = shifted(totals, (k * across + j) * channels * filters)
                        add_columns(seen, line, 1, met, padded, into, filters, channels, here * WIDE, False, filters)
