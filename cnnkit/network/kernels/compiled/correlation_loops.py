"""Sums of shifted lines, each times a number: what a convolution is along a row of its output.

They are products of matrices whose second operand is gathered: of each tap a line, at an offset of its own. So nothing
is copied for them, and the sums of some filters stay in the processor's registers.
"""

from __future__ import annotations

from cnnkit.network.kernels.compiled.jit import inner
from cnnkit.network.kernels.compiled.vector_code import LANES, MOST_ROWS, SUMS, block, shifted
from cnnkit.types import Array

OF_EIGHT, OF_FOUR, OF_TWO, OF_ONE = LANES * SUMS // 8, LANES * SUMS // 4, LANES * SUMS // 2, LANES * min(SUMS, 8)
"""Numbers of a line in a block of so many filters."""

eight = block(8, SUMS // 8, partial=False, gathered=True)
four = block(4, SUMS // 4, partial=False, gathered=True)
two = block(2, SUMS // 2, partial=False, gathered=True)
one = block(1, min(SUMS, 8), partial=False, gathered=True)
eight_partly, four_partly, two_partly, one_partly = (
    block(rows, 1, partial=True, gathered=True) for rows in (8, 4, 2, 1)
)


@inner
def correlate(
    lines: Array,
    line: int,
    length: int,
    x: Array,
    at: int,
    places: Array,
    taps: int,
    weight: Array,
    w: int,
    filters: int,
) -> None:
    """A line for each filter, one after the other, of x from `at` on; places: of the taps; w: where weights begin."""
    f = 0
    while f < filters:
        n, c = 0, line + f * length
        a, left = shifted(weight, w + f * taps), filters - f
        if MOST_ROWS == 8 and left >= 8:
            while n + OF_EIGHT <= length:
                eight(a, taps, 1, shifted(x, at + n), places, shifted(lines, c + n), length, taps, True, OF_EIGHT)
                n += OF_EIGHT
            while n < length:
                rest = length - n
                eight_partly(a, taps, 1, shifted(x, at + n), places, shifted(lines, c + n), length, taps, True, rest)
                n += LANES
            f += 8
        elif left >= 4:
            while n + OF_FOUR <= length:
                four(a, taps, 1, shifted(x, at + n), places, shifted(lines, c + n), length, taps, True, OF_FOUR)
                n += OF_FOUR
            while n < length:
                rest = length - n
                four_partly(a, taps, 1, shifted(x, at + n), places, shifted(lines, c + n), length, taps, True, rest)
                n += LANES
            f += 4
        elif left >= 2:
            while n + OF_TWO <= length:
                two(a, taps, 1, shifted(x, at + n), places, shifted(lines, c + n), length, taps, True, OF_TWO)
                n += OF_TWO
            while n < length:
                rest = length - n
                two_partly(a, taps, 1, shifted(x, at + n), places, shifted(lines, c + n), length, taps, True, rest)
                n += LANES
            f += 2
        else:
            while n + OF_ONE <= length:
                one(a, taps, 1, shifted(x, at + n), places, shifted(lines, c + n), length, taps, True, OF_ONE)
                n += OF_ONE
            while n < length:
                rest = length - n
                one_partly(a, taps, 1, shifted(x, at + n), places, shifted(lines, c + n), length, taps, True, rest)
                n += LANES
            f += 1
