"""Depthwise convolution where it lies, (H, W, C, N): each channel by itself, without planes, pixel by pixel.

A segment is a run of pixels along a line of the output, all of which meet the image with the same taps. Where images
end, there are others than inside: nothing is padded.
"""

from __future__ import annotations

from numba import float32

from cnnkit.network.kernels.compiled.interface import LINEAR, SEGMENT
from cnnkit.network.kernels.compiled.jit import inner
from cnnkit.network.kernels.compiled.pooling_loops import activate, activation_passed
from cnnkit.network.kernels.compiled.vector_code import LANES, shifted
from cnnkit.network.kernels.compiled.vector_taps import products_of_taps, sum_of_taps
from cnnkit.types import Array

SHORT = 256
"""How many products each lane adds up in float32 before they go to the gradient."""

nine, six, four, three, two, one = (sum_of_taps(count) for count in (9, 6, 4, 3, 2, 1))
nine_products, six_products, four_products = (products_of_taps(count) for count in (9, 6, 4))
three_products, two_products, one_products = (products_of_taps(count) for count in (3, 2, 1))


@inner
def _sums_of_taps(
    x: Array,
    taps: Array,
    k: int,
    left: int,
    weight: Array,
    size: int,
    start: Array,
    y: Array,
    channels: int,
    vectors: int,
) -> None:
    """All taps of a pixel, in some channels."""
    begins = True
    while left > 0:
        places = shifted(taps, 2 * k)
        if left >= 9:
            nine(x, places, weight, size, begins, start, y, channels, vectors)
            done = 9
        elif left >= 6:
            six(x, places, weight, size, begins, start, y, channels, vectors)
            done = 6
        elif left >= 4:
            four(x, places, weight, size, begins, start, y, channels, vectors)
            done = 4
        elif left == 3:
            three(x, places, weight, size, begins, start, y, channels, vectors)
            done = 3
        elif left == 2:
            two(x, places, weight, size, begins, start, y, channels, vectors)
            done = 2
        else:
            one(x, places, weight, size, begins, start, y, channels, vectors)
            done = 1
        k, left, begins = k + done, left - done, False


@inner
def _products(
    x: Array, taps: Array, k: int, left: int, dy: Array, sums: Array, size: int, channels: int, vectors: int
) -> None:
    """Likewise."""
    while left > 0:
        places = shifted(taps, 2 * k)
        if left >= 9:
            nine_products(x, places, dy, sums, size, channels, vectors)
            done = 9
        elif left >= 6:
            six_products(x, places, dy, sums, size, channels, vectors)
            done = 6
        elif left >= 4:
            four_products(x, places, dy, sums, size, channels, vectors)
            done = 4
        elif left == 3:
            three_products(x, places, dy, sums, size, channels, vectors)
            done = 3
        elif left == 2:
            two_products(x, places, dy, sums, size, channels, vectors)
            done = 2
        else:
            one_products(x, places, dy, sums, size, channels, vectors)
            done = 1
        k, left = k + done, left - done


@inner
def _lines(
    x: Array,
    segments: Array,
    count: int,
    taps: Array,
    weight: Array,
    size: int,
    start: Array,
    channels: int,
    samples: int,
    at_once: int,
    y: Array,
) -> None:
    """y = start + the sums of taps."""
    pixel = channels * samples
    for c in range(0, channels, at_once):
        some = min(at_once, channels - c)
        for s in range(0, count * SEGMENT, SEGMENT):
            met, into = segments[s] * pixel + c * samples, segments[s + 1] * pixel + c * samples
            for _ in range(segments[s + 4]):
                at = shifted(y, into)
                if segments[s + 6] == 0:
                    for d in range(some):
                        for n in range(samples):
                            at[d * samples + n] = start[c + d]
                _sums_of_taps(
                    shifted(x, met),
                    taps,
                    segments[s + 5],
                    segments[s + 6],
                    shifted(weight, c * size),
                    size,
                    shifted(start, c),
                    at,
                    some,
                    samples // LANES,
                )
                met += segments[s + 2] * pixel
                into += segments[s + 3] * pixel


@inner
def _add_up(sums: Array, weights: int, dweight: Array) -> None:
    """Move the sums of all lanes to the gradient."""
    for k in range(weights):
        total = float32(0)
        for n in range(LANES):
            total += sums[k * LANES + n]
            sums[k * LANES + n] = 0
        dweight[k] += total


def depthwise(
    x: Array,
    segments: Array,
    count: int,
    taps: Array,
    weight: Array,
    size: int,
    bias: Array,
    activation: int,
    slope: float,
    pixels: int,
    channels: int,
    samples: int,
    at_once: int,
    y: Array,
) -> None:
    """y = activation(the sum over the taps of weight * x, + bias), of each channel.

    x: (H, W, C, N), y: (pixels, C, N); segments: as `SEGMENT` says; taps: of the segments, each its number in the
    kernel, and its place; weight: (C, size); samples: a multiple of LANES; at_once: channels.
    """
    _lines(x, segments, count, taps, weight, size, bias, channels, samples, at_once, y)
    if activation != LINEAR:
        activate(y, 0, pixels * channels * samples, y, 0, float32(0), activation, slope)


def depthwise_backward(
    x: Array,
    segments: Array,
    count: int,
    taps: Array,
    weight: Array,
    size: int,
    y: Array,
    dy: Array,
    is_passed: int,
    passed: Array,
    activation: int,
    slope: float,
    pixels: int,
    channels: int,
    samples: int,
    at_once: int,
    sums: Array,
    dweight: Array,
    dbias: Array,
    dx_segments: Array,
    dx_count: int,
    dx_taps: Array,
    zeros: Array,
    dx: Array,
) -> None:
    """The gradients of weight (C, size) and bias (C,), which are added to, and of x, for dy like y.

    passed: like dy, gets the gradient before the activation if `is_passed`, or else is dy itself; sums: (at_once, size,
    LANES) is overwritten; dx_segments, dx_taps: those of dx, in the gradient before the activation, none for no dx;
    zeros: (C,).
    """
    pixel = channels * samples
    if is_passed:
        for p in range(pixels):
            for c in range(channels):
                at = p * pixel + c * samples
                dbias[c] += activation_passed(dy, y, at, samples, passed, at, activation, slope)
    for k in range(at_once * size * LANES):
        sums[k] = 0
    for c in range(0, channels, at_once):
        some, added = min(at_once, channels - c), 0
        for s in range(0, count * SEGMENT, SEGMENT):
            met, given = segments[s] * pixel + c * samples, segments[s + 1] * pixel + c * samples
            for _ in range(segments[s + 4]):
                _products(
                    shifted(x, met),
                    taps,
                    segments[s + 5],
                    segments[s + 6],
                    shifted(passed, given),
                    sums,
                    size,
                    some,
                    samples // LANES,
                )
                met += segments[s + 2] * pixel
                given += segments[s + 3] * pixel
            added += segments[s + 4] * samples // LANES
            if added > SHORT:
                _add_up(sums, some * size, shifted(dweight, c * size))
                added = 0
        _add_up(sums, some * size, shifted(dweight, c * size))
    _lines(passed, dx_segments, dx_count, dx_taps, weight, size, zeros, channels, samples, at_once, dx)
