"""The gradient of a convolution's weights: sums of products along the rows of its output.

Each is kept in as many sums as a vector has numbers, for some rows; then they are added together.
"""

from __future__ import annotations

from numba import float32

from cnnkit.network.kernels.compiled.jit import inner
from cnnkit.network.kernels.compiled.vector_code import LANES, SUMS, gradient_block, shifted
from cnnkit.types import Array

ROWS = SUMS // 4
"""Filters of a block, by three taps: with what they are multiplied with, their sums fill most of the registers."""

many_three, one_three = (gradient_block(rows, 3, partial=False) for rows in (ROWS, 1))
many_one, one_one = (gradient_block(rows, 1, partial=False) for rows in (ROWS, 1))
many_three_partly, one_three_partly = (gradient_block(rows, 3, partial=True) for rows in (ROWS, 1))
many_one_partly, one_one_partly = (gradient_block(rows, 1, partial=True) for rows in (ROWS, 1))


@inner
def weight_gradient(
    x: Array,
    at: int,
    places: Array,
    taps: int,
    dy: Array,
    begin: int,
    plane: int,
    length: int,
    filters: int,
    of_a_group: int,
    between_groups: int,
    sums: Array,
    first: int,
) -> None:
    """Add what one row of the output says: the products of each plane of dy, `length` numbers, with all taps of x.

    places: of the taps; sums: (filters, taps, LANES) from `first` on.
    """
    whole, row = length // LANES, taps * LANES
    rest, end = length - whole * LANES, whole * LANES
    f = 0
    while f < filters:
        many = f % of_a_group + ROWS <= of_a_group and f + ROWS <= filters
        met, line = at + f // of_a_group * between_groups, begin + f * plane
        a, b = shifted(dy, line), shifted(x, met)
        a_end, b_end = shifted(dy, line + end), shifted(x, met + end)
        k = 0
        while k < taps:
            of_taps, into = shifted(places, k), shifted(sums, first + f * row + k * LANES)
            if k + 3 <= taps:
                if many:
                    if whole:
                        many_three(a, plane, b, of_taps, into, row, whole)
                    if rest:
                        many_three_partly(a_end, plane, b_end, of_taps, into, row, rest)
                else:
                    if whole:
                        one_three(a, plane, b, of_taps, into, row, whole)
                    if rest:
                        one_three_partly(a_end, plane, b_end, of_taps, into, row, rest)
                k += 3
            else:
                if many:
                    if whole:
                        many_one(a, plane, b, of_taps, into, row, whole)
                    if rest:
                        many_one_partly(a_end, plane, b_end, of_taps, into, row, rest)
                else:
                    if whole:
                        one_one(a, plane, b, of_taps, into, row, whole)
                    if rest:
                        one_one_partly(a_end, plane, b_end, of_taps, into, row, rest)
                k += 1
        f += ROWS if many else 1


@inner
def add_sums(sums: Array, count: int, dweight: Array, first: int) -> None:
    """Add each vector of sums to dweight, from `first` on, and begin it again."""
    for n in range(count):
        total = float32(0)
        for lane in range(LANES):
            total += sums[n * LANES + lane]
            sums[n * LANES + lane] = 0
        dweight[first + n] += total
