"""Products of many matrices, in blocks that stay in the processor's registers; only a transposed operand is copied.

BLAS copies ("packs") its operands first, which takes as long as the product itself where one of them is as small as a
tile of samples.
"""

from __future__ import annotations

from collections.abc import Callable

from cnnkit.network.kernels.compiled.interface import DEPTH
from cnnkit.network.kernels.compiled.jit import inner
from cnnkit.network.kernels.compiled.vector_code import LANES, MOST_ROWS, block, shifted, transpose_block
from cnnkit.types import Array

WIDE = 2 * LANES
"""Columns of a panel."""


def _panel(vectors: int, *, partial: bool) -> Callable[..., None]:
    """The loop over all rows of the result, for so many vectors of its columns, or a part of one."""
    eight, four, two, one = (block(rows, vectors, partial=partial) for rows in (8, 4, 2, 1))
    has_eight = partial or MOST_ROWS == 8

    @inner
    def rows_of_panel(
        a: Array,
        a_row: int,
        a_column: int,
        b: Array,
        b_row: int,
        c: Array,
        c_row: int,
        rows: int,
        depth: int,
        begins: bool,
        columns: int,
    ) -> None:
        row = 0
        while has_eight and row + 8 <= rows:
            x, y = shifted(a, row * a_row), shifted(c, row * c_row)
            eight(x, a_row, a_column, b, b_row, y, c_row, depth, begins, columns)
            row += 8
        while row + 4 <= rows:
            x, y = shifted(a, row * a_row), shifted(c, row * c_row)
            four(x, a_row, a_column, b, b_row, y, c_row, depth, begins, columns)
            row += 4
        if row + 2 <= rows:
            x, y = shifted(a, row * a_row), shifted(c, row * c_row)
            two(x, a_row, a_column, b, b_row, y, c_row, depth, begins, columns)
            row += 2
        if row < rows:
            x, y = shifted(a, row * a_row), shifted(c, row * c_row)
            one(x, a_row, a_column, b, b_row, y, c_row, depth, begins, columns)

    return rows_of_panel


_wide_panel, _narrow_panel = _panel(2, partial=False), _panel(1, partial=True)


@inner
def _transpose(x: Array, x_row: int, rows: int, columns: int, y: Array) -> None:
    """y[j, i] = x[i, j], y with WIDE numbers in a row."""
    i = 0
    while i + LANES <= rows:
        j = 0
        while j + LANES <= columns:
            transpose_block(shifted(x, i * x_row + j), x_row, shifted(y, j * WIDE + i), WIDE)
            j += LANES
        while j < columns:
            for k in range(LANES):
                y[j * WIDE + i + k] = x[(i + k) * x_row + j]
            j += 1
        i += LANES
    while i < rows:
        for j in range(columns):
            y[j * WIDE + i] = x[i * x_row + j]
        i += 1


@inner
def add_columns(
    a: Array,
    a_row: int,
    a_column: int,
    b: Array,
    b_row: int,
    c: Array,
    c_row: int,
    rows: int,
    depth: int,
    begins: bool,
    columns: int,
) -> None:
    """c = a @ b, or c += a @ b, where the numbers of a row of b lie beside each other."""
    for first in range(0, depth, DEPTH):
        deep, begins_here = min(DEPTH, depth - first), begins and first == 0
        x, met = shifted(a, first * a_column), shifted(b, first * b_row)
        column = 0
        while column < columns:
            part, into = shifted(met, column), shifted(c, column)
            if column + WIDE <= columns:
                _wide_panel(x, a_row, a_column, part, b_row, into, c_row, rows, deep, begins_here, WIDE)
                column += WIDE
            else:
                across = min(LANES, columns - column)
                _narrow_panel(x, a_row, a_column, part, b_row, into, c_row, rows, deep, begins_here, across)
                column += across


def product(a: Array, b: Array, c: Array, panel: Array, layout: Array) -> None:
    """c = a @ b for each of three axes of matrices, or c += a @ b; of a fourth one, all have the same b.

    layout: the lengths of the four axes; the steps along them in a, b and c; rows, columns and depth; the steps from
    row to row and from column to column in a, from row to row and from column to column in b, one of which is 1, and
    from row to row in c; whether to add. panel: room for DEPTH rows of WIDE columns.
    """
    rows, columns, depth = layout[16], layout[17], layout[18]
    a_row, a_column, b_row, b_column, c_row = layout[19], layout[20], layout[21], layout[22], layout[23]
    for u in range(layout[0]):
        for v in range(layout[1]):
            for w in range(layout[2]):
                of_a = u * layout[4] + v * layout[5] + w * layout[6]
                of_b = u * layout[8] + v * layout[9] + w * layout[10]
                of_c = u * layout[12] + v * layout[13] + w * layout[14]
                for first in range(0, depth, DEPTH):
                    deep, begins = min(DEPTH, depth - first), first == 0 and layout[24] == 0
                    column = 0
                    while column < columns:
                        across = min(WIDE, columns - column)
                        met, met_row = shifted(b, of_b + first * b_row + column * b_column), b_row
                        if b_column != 1:
                            _transpose(met, b_column, across, deep, panel)
                            met, met_row = panel, WIDE
                        for same in range(layout[3]):
                            x = shifted(a, of_a + same * layout[7] + first * a_column)
                            y = shifted(c, of_c + same * layout[15] + column)
                            if across == WIDE:
                                _wide_panel(x, a_row, a_column, met, met_row, y, c_row, rows, deep, begins, WIDE)
                            else:
                                part = min(LANES, across)
                                _narrow_panel(x, a_row, a_column, met, met_row, y, c_row, rows, deep, begins, part)
                                if across > LANES:
                                    more, into = shifted(met, LANES), shifted(y, LANES)
                                    part = across - LANES
                                    _narrow_panel(
                                        x, a_row, a_column, more, met_row, into, c_row, rows, deep, begins, part
                                    )
                        column += across
