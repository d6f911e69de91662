"""Sums of shifted lines, each times a number: what a convolution is along a row of its output.

They are products of matrices whose second operand is gathered: of each tap a line, at an offset of its own. So nothing
is copied for them, and the sums of some filters stay in the processor's registers.
"""

from __future__ import annotations

from collections.abc import Callable

from cnnkit.network.kernels.compiled.jit import inner
from cnnkit.network.kernels.compiled.vector_code import LANES, MOST_ROWS, SUMS, block, shifted
from cnnkit.types import Array


def _lines_of(filters: int, vectors: int) -> Callable[..., None]:
    """The loop for so many filters, whose sums of so many vectors of a line are in registers together."""
    whole, part = block(filters, vectors, partial=False, gathered=True), block(filters, 1, partial=True, gathered=True)
    width = LANES * vectors

    @inner
    def lines_of_filters(
        lines: Array, line: int, length: int, x: Array, at: int, places: Array, taps: int, weight: Array, w: int
    ) -> None:
        n, a = 0, shifted(weight, w)
        while n + width <= length:
            whole(a, taps, 1, shifted(x, at + n), places, shifted(lines, line + n), length, taps, True, width)
            n += width
        while n < length:
            part(a, taps, 1, shifted(x, at + n), places, shifted(lines, line + n), length, taps, True, length - n)
            n += LANES

    return lines_of_filters


eight, four, two, one = (_lines_of(filters, min(8, SUMS // filters)) for filters in (8, 4, 2, 1))


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
    while MOST_ROWS == 8 and f + 8 <= filters:
        eight(lines, line + f * length, length, x, at, places, taps, weight, w + f * taps)
        f += 8
    while f + 4 <= filters:
        four(lines, line + f * length, length, x, at, places, taps, weight, w + f * taps)
        f += 4
    if f + 2 <= filters:
        two(lines, line + f * length, length, x, at, places, taps, weight, w + f * taps)
        f += 2
    if f < filters:
        one(lines, line + f * length, length, x, at, places, taps, weight, w + f * taps)
