"""Batch normalisation of pixels first, (H, W, C, N): its sums, its output and its gradient, each in one pass.

`coefficients` are rows of one number for each channel, (rows, C). The shift is taken from x first, so that no digits
are lost where means are large: y = activation((x - shift) * scale + offset). Whether a number passed the activation is
computed from x again, which is at hand: y is neither kept nor read. An activation is a slope below 0, and a ceiling.

A maximum pooling may follow, of which `winners` has the pixels; those at the ends of rows and columns that fill no
window are left out, as their gradient is 0 behind the normalisation, though not before it.

The numbers of a pixel's channel, one for each sample, are added up in float32, and what they give in float64. All
memory is read from its beginning to its end, as the processor expects; and what is 0 is a product, because a choice
would have a number read only after the one that it depends on has come from memory.
"""

from __future__ import annotations

from math import inf

from numba import float32, uint8

from cnnkit.network.kernels.compiled.interface import FACTOR, OFFSET, SCALE, SHIFT, START
from cnnkit.network.kernels.compiled.jit import inner
from cnnkit.network.kernels.compiled.pooling_loops import below, is_larger, pool_run
from cnnkit.types import Array


@inner
def bent(value: float, slope: float, ceiling: float) -> float:
    """What an activation makes of a number; NaN stays NaN."""
    bent_below = below(value, slope) if value <= 0 else value
    return ceiling if bent_below > ceiling else bent_below


@inner
def share(value: float, slope: float, ceiling: float) -> float:
    """How much of its gradient passes the activation for this number."""
    return slope if not value > 0 else (float32(1) if value < ceiling else float32(0))


def moments(x: Array, shifts: Array, pixels: int, channels: int, samples: int, sums: Array, squares: Array) -> None:
    """Add to sums and squares, (C,), those of x - shift over all pixels and samples."""
    for p in range(pixels):
        for c in range(channels):
            run, shift = (p * channels + c) * samples, shifts[c]
            total = square = float32(0)
            for n in range(samples):
                value = x[run + n] - shift
                total += value
                square += value * value
            sums[c] += total
            squares[c] += square


def normalise(
    x: Array,
    coefficients: Array,
    slope: float,
    ceiling: float,
    channels: int,
    samples: int,
    row: int,
    height: int,
    width: int,
    pool: int,
    window: Array,
    maxima: Array,
    spare: Array,
    y: Array,
    winners: Array,
) -> None:
    """y = the maximum over pool x pool pixels of (x - shift) * scale + offset, then the activation.

    row: pixels of x; y: (height, width, C, N), and winners likewise if there is a pooling; window: (pool, pool, N),
    maxima: (2, N) and spare: (N,) are overwritten if it is of more than two.
    """
    pixel = channels * samples
    for p in range(height):
        for q in range(width):
            for c in range(channels):
                run = (p * pool * row + q * pool) * pixel + c * samples
                to, shift = ((p * width + q) * channels + c) * samples, coefficients[SHIFT * channels + c]
                scale, offset = coefficients[SCALE * channels + c], coefficients[OFFSET * channels + c]
                if pool == 1:
                    _normalise(x, run, samples, shift, scale, offset, slope, ceiling, y, to)
                elif pool == 2:
                    _normalise_two(
                        x, run, pixel, row * pixel, samples, shift, scale, offset, slope, ceiling, y, to, winners
                    )
                else:
                    for i in range(pool):
                        for j in range(pool):
                            place, at = (i * pool + j) * samples, run + (i * row + j) * pixel
                            _normalise(x, at, samples, shift, scale, offset, float32(1), float32(inf), window, place)
                    pool_run(window, 0, pool * samples, samples, pool, maxima, winners, to, spare)
                    _normalise(maxima, 0, samples, float32(0), float32(1), float32(0), slope, ceiling, y, to)


def gradient_sums(
    dy: Array,
    winners: Array,
    x: Array,
    coefficients: Array,
    slope: float,
    ceiling: float,
    channels: int,
    samples: int,
    row: int,
    height: int,
    width: int,
    pool: int,
    sums: Array,
    products: Array,
) -> None:
    """Add to sums those of g, and to products those of g * (x - shift), (C,); g: dy, before activation and pooling.

    row: pixels of x; dy, and winners if there is a pooling: (height, width, C, N).
    """
    for p in range(height * pool):
        for q in range(width * pool):
            number = uint8(p % pool * pool + q % pool)
            for c in range(channels):
                at = ((p // pool * width + q // pool) * channels + c) * samples
                run, shift = ((p * row + q) * channels + c) * samples, coefficients[SHIFT * channels + c]
                scale, offset = coefficients[SCALE * channels + c], coefficients[OFFSET * channels + c]
                total = product = float32(0)
                if pool == 1:
                    for n in range(samples):
                        value = x[run + n] - shift
                        passed = dy[at + n] * share(value * scale + offset, slope, ceiling)
                        total += passed
                        product += passed * value
                else:
                    for n in range(samples):
                        value = x[run + n] - shift
                        part = share(value * scale + offset, slope, ceiling)
                        passed = dy[at + n] * (part if winners[at + n] == number else float32(0))
                        total += passed
                        product += passed * value
                sums[c] += total
                products[c] += product


def gradient(
    dy: Array,
    winners: Array,
    x: Array,
    coefficients: Array,
    slope: float,
    ceiling: float,
    channels: int,
    samples: int,
    rows: int,
    row: int,
    height: int,
    width: int,
    pool: int,
    dx: Array,
) -> None:
    """dx = (g + (x - shift) * factor + start) * scale, with g as of `gradient_sums`; x, dx: (rows, row, C, N)."""
    for p in range(rows):
        for q in range(row):
            is_seen, number = p < height * pool and q < width * pool, uint8(p % pool * pool + q % pool)
            for c in range(channels):
                at = ((p // pool * width + q // pool) * channels + c) * samples
                run, shift = ((p * row + q) * channels + c) * samples, coefficients[SHIFT * channels + c]
                scale, offset = coefficients[SCALE * channels + c], coefficients[OFFSET * channels + c]
                factor, start = coefficients[FACTOR * channels + c], coefficients[START * channels + c]
                if pool == 1:
                    for n in range(samples):
                        value = x[run + n] - shift
                        passed = dy[at + n] * share(value * scale + offset, slope, ceiling)
                        dx[run + n] = (value * factor + start + passed) * scale
                elif is_seen:
                    for n in range(samples):
                        value = x[run + n] - shift
                        part = share(value * scale + offset, slope, ceiling)
                        passed = dy[at + n] * (part if winners[at + n] == number else float32(0))
                        dx[run + n] = (value * factor + start + passed) * scale
                else:
                    for n in range(samples):
                        dx[run + n] = ((x[run + n] - shift) * factor + start) * scale


@inner
def _normalise(
    x: Array,
    run: int,
    count: int,
    shift: float,
    scale: float,
    offset: float,
    slope: float,
    ceiling: float,
    y: Array,
    to: int,
) -> None:
    for n in range(count):
        value = (x[run + n] - shift) * scale + offset
        y[to + n] = bent(value, slope, ceiling)


@inner
def _normalise_two(
    x: Array,
    run: int,
    right: int,
    lower: int,
    count: int,
    shift: float,
    scale: float,
    offset: float,
    slope: float,
    ceiling: float,
    y: Array,
    to: int,
    winners: Array,
) -> None:
    """The maxima of 2 x 2 runs, the others of which are so much further to the right, and lower."""
    for n in range(count):
        at = run + n
        first, second = (x[at] - shift) * scale + offset, (x[at + lower] - shift) * scale + offset
        left_is_lower = is_larger(second, first)
        left = second if left_is_lower else first
        at += right
        first, second = (x[at] - shift) * scale + offset, (x[at + lower] - shift) * scale + offset
        right_is_lower = is_larger(second, first)
        other = second if right_is_lower else first
        is_right = is_larger(other, left)
        value = other if is_right else left
        y[to + n] = bent(value, slope, ceiling)
        winners[to + n] = (1 | (right_is_lower << 1)) if is_right else (left_is_lower << 1)
