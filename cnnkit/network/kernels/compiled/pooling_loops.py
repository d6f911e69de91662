"""Loops over the runs of a pixel's samples: maximum pooling, activation, and their gradients.

A run is `count` numbers that lie one after another from a place on; which of a window's pixels had the maximum is kept
as row * size + column. All of them keep NaN, as NumPy does.
"""

from __future__ import annotations

from numba import float32, uint8

from cnnkit.network.kernels.compiled.interface import CAPPED, CEILING, LEAKY, RECTIFIED
from cnnkit.network.kernels.compiled.jit import inner
from cnnkit.types import Array


@inner
def is_larger(value: float, largest: float) -> bool:
    """Whether the value takes the place of the largest one before it: of equal ones the first stays, NaN as well."""
    return (value > largest) | ((value != value) & (largest == largest))


@inner
def below(value: float, slope: float) -> float:
    """What an activation makes of a number that is not above 0; without a slope also of one that is infinite."""
    return float32(0) if slope == 0 else value * slope


@inner
def activate(x: Array, at: int, count: int, y: Array, to: int, bias: float, activation: int, slope: float) -> None:
    """y = activation(x + bias)."""
    if activation in (RECTIFIED, CAPPED):
        for n in range(count):
            value = x[at + n] + bias
            y[to + n] = float32(0) if value <= 0 else value
    elif activation == LEAKY:
        for n in range(count):
            value = x[at + n] + bias
            y[to + n] = value * slope if value <= 0 else value
    else:
        for n in range(count):
            y[to + n] = x[at + n] + bias
    if activation == CAPPED:
        cap(y, to, count)


@inner
def cap(y: Array, at: int, count: int) -> None:
    """y = min(y, CEILING)."""
    ceiling = float32(CEILING)
    for n in range(count):
        value = y[at + n]
        y[at + n] = ceiling if value > ceiling else value


@inner
def activation_passed(
    dy: Array, y: Array, at: int, count: int, dx: Array, to: int, activation: int, slope: float
) -> float:
    """The gradient before the activation for that after it, whose output is y; returns its sum.

    That is made in a loop of its own: one that also writes adds in another order where two arrays lie close together.
    """
    if activation == RECTIFIED:
        for n in range(count):
            dx[to + n] = dy[at + n] if y[at + n] > 0 else float32(0)
    elif activation == CAPPED:
        for n in range(count):
            is_inside = (y[at + n] > 0) & (y[at + n] < float32(CEILING))
            dx[to + n] = dy[at + n] if is_inside else float32(0)
    elif activation == LEAKY:
        for n in range(count):
            dx[to + n] = dy[at + n] if y[at + n] > 0 else dy[at + n] * slope
    else:
        for n in range(count):
            dx[to + n] = dy[at + n]
    total: float = float32(0)
    for n in range(count):
        total += dx[to + n]
    return total


@inner
def pool_of_two(
    lines: Array, at: int, step: int, count: int, y: Array, winners: Array, to: int, bias: float, slope: float
) -> None:
    """The maxima of 2 x 2 runs, + bias, times `slope` where that is below 0.

    The runs of a row lie one after another, the second row is `step` further on.
    """
    lower, right = at + step, at + count
    lower_right = lower + count
    for n in range(count):
        first, second = lines[at + n], lines[lower + n]
        left_is_lower = is_larger(second, first)
        left = second if left_is_lower else first
        first, second = lines[right + n], lines[lower_right + n]
        right_is_lower = is_larger(second, first)
        other = second if right_is_lower else first
        is_right = is_larger(other, left)
        value = (other if is_right else left) + bias
        y[to + n] = below(value, slope) if value <= 0 else value
        winners[to + n] = (1 | (right_is_lower << 1)) if is_right else (left_is_lower << 1)


@inner
def column_of_three(
    lines: Array, at: int, step: int, count: int, number: int, y: Array, to: int, winners: Array, mark: int
) -> None:
    """The maxima of three runs below each other, the first of which has this number in its window."""
    second, third = at + step, at + step + step
    for n in range(count):
        largest, winner = lines[at + n], number
        value = lines[second + n]
        is_new = is_larger(value, largest)
        largest = value if is_new else largest
        winner = number + uint8(3) if is_new else winner
        value = lines[third + n]
        is_new = is_larger(value, largest)
        y[to + n] = value if is_new else largest
        winners[mark + n] = number + uint8(6) if is_new else winner


@inner
def begin_column(lines: Array, at: int, count: int, number: int, y: Array, to: int, winners: Array, mark: int) -> None:
    """The first run of a column."""
    for n in range(count):
        y[to + n] = lines[at + n]
        winners[mark + n] = number


@inner
def further_run(lines: Array, at: int, count: int, number: int, y: Array, to: int, winners: Array, mark: int) -> None:
    """A further run of a column."""
    for n in range(count):
        value, largest = lines[at + n], y[to + n]
        is_new = is_larger(value, largest)
        y[to + n] = value if is_new else largest
        winners[mark + n] = number if is_new else winners[mark + n]


@inner
def further_column(
    y: Array, to: int, at: int, count: int, winners: Array, mark: int, others: Array, other: int
) -> None:
    """The larger one of two columns' maxima, y[to:] and y[at:]."""
    for n in range(count):
        value, largest = y[at + n], y[to + n]
        is_new = is_larger(value, largest)
        y[to + n] = value if is_new else largest
        winners[mark + n] = others[other + n] if is_new else winners[mark + n]


@inner
def pool_run(
    lines: Array, at: int, step: int, count: int, size: int, maxima: Array, winners: Array, mark: int, spare: Array
) -> None:
    """The maxima of size x size runs, in the first run of `maxima`; the second one, and `spare`, are for columns.

    Of equal numbers the upper one wins in a column, then the left column.
    """
    first = 0
    for j in range(size):
        column = at + j * count
        if j == 0:
            _column(lines, column, step, count, size, j, maxima, first, winners, mark)
        else:
            _column(lines, column, step, count, size, j, maxima, count, spare, first)
            further_column(maxima, first, count, count, winners, mark, spare, first)


@inner
def _column(
    lines: Array, at: int, step: int, count: int, size: int, j: int, y: Array, to: int, winners: Array, mark: int
) -> None:
    if size == 3:
        column_of_three(lines, at, step, count, uint8(j), y, to, winners, mark)
        return
    begin_column(lines, at, count, uint8(j), y, to, winners, mark)
    for i in range(1, size):
        further_run(lines, at + i * step, count, uint8(i * size + j), y, to, winners, mark)


@inner
def place_two(dy: Array, winners: Array, mark: int, count: int, number: int, dx: Array, to: int) -> None:
    """The gradient of two pixels beside each other: dy where they won, 0 elsewhere; number: of the left one."""
    right = to + count
    for n in range(count):
        value, winner = dy[n], winners[mark + n]
        dx[to + n] = value if winner == number else float32(0)
        dx[right + n] = value if winner == number + 1 else float32(0)


@inner
def place_one(dy: Array, winners: Array, mark: int, count: int, number: int, dx: Array, to: int) -> None:
    """The gradient of one pixel."""
    for n in range(count):
        dx[to + n] = dy[n] if winners[mark + n] == number else float32(0)


@inner
def unpool_run(dy: Array, winners: Array, mark: int, count: int, size: int, dx: Array, to: int, step: int) -> None:
    """Hand the first run of dy to where the maxima were; the rows of a window are `step` apart in dx."""
    for i in range(size):
        row = to + i * step
        j = 0
        while j + 1 < size:
            place_two(dy, winners, mark, count, uint8(i * size + j), dx, row + j * count)
            j += 2
        if j < size:
            place_one(dy, winners, mark, count, uint8(i * size + j), dx, row + j * count)
