"""Convolution without products of matrices: loops over taps, with the samples as the lanes of the processor's vectors.

Images are planes: (C, rows, columns * N), padded, all in one flat array. What a tap, an element of the kernel in one
channel, meets along a row of the output is then one run of numbers, at an offset from where the output's row begins.
Nine taps at a time for two filters, as registers allow: each number that is loaded takes part in two sums. They are
written out, because sums in an array would be loaded and stored for every number.

Each says which form in NumPy it equals, up to the order of its sums.
"""

from __future__ import annotations

from numba import float32

from cnnkit.network.kernels.compiled.interface import LINEAR, TAPS
from cnnkit.network.kernels.compiled.jit import inner
from cnnkit.network.kernels.compiled.pooling_loops import (
    activate,
    activation_passed,
    pool_of_two,
    pool_run,
    unpool_run,
)
from cnnkit.network.kernels.compiled.weight_gradient_loops import weight_gradient
from cnnkit.types import Array

CHUNK = 2048
"""Numbers of a row that are summed up over all taps at once: the sums stay in the core's first cache."""


@inner
def _correlate(
    lines: Array, line: int, length: int, x: Array, at: int, offsets: Array, taps: int, weight: Array, v: int, w: int
) -> None:
    """Two lines, one after the other, of x from `at` on; v, w: where the two filters begin in `weight`."""
    first = 0
    while first < length:
        count = min(CHUNK, length - first)
        one, two = line + first, line + length + first
        if taps < TAPS:
            for n in range(count):
                lines[one + n] = 0
                lines[two + n] = 0
        k = 0
        while k + TAPS <= taps:
            _nine_taps(lines, one, two, count, x, at + first, offsets, k, weight, v + k, w + k)
            k += TAPS
        while k < taps:
            _tap(lines, one, two, count, x, at + first + offsets[k], weight[v + k], weight[w + k])
            k += 1
        first += count


@inner
def _nine_taps(
    lines: Array,
    one: int,
    two: int,
    count: int,
    x: Array,
    at: int,
    offsets: Array,
    k: int,
    weight: Array,
    v: int,
    w: int,
) -> None:
    """Add nine taps, from `k` on, to both lines; the first nine begin them."""
    a, b, c = at + offsets[k], at + offsets[k + 1], at + offsets[k + 2]
    d, e, f = at + offsets[k + 3], at + offsets[k + 4], at + offsets[k + 5]
    g, h, i = at + offsets[k + 6], at + offsets[k + 7], at + offsets[k + 8]
    va, vb, vc, vd, ve = weight[v], weight[v + 1], weight[v + 2], weight[v + 3], weight[v + 4]
    vf, vg, vh, vi = weight[v + 5], weight[v + 6], weight[v + 7], weight[v + 8]
    wa, wb, wc, wd, we = weight[w], weight[w + 1], weight[w + 2], weight[w + 3], weight[w + 4]
    wf, wg, wh, wi = weight[w + 5], weight[w + 6], weight[w + 7], weight[w + 8]
    if k == 0:
        for n in range(count):
            xa, xb, xc, xd, xe = x[a + n], x[b + n], x[c + n], x[d + n], x[e + n]
            xf, xg, xh, xi = x[f + n], x[g + n], x[h + n], x[i + n]
            lines[one + n] = va * xa + vb * xb + vc * xc + vd * xd + ve * xe + vf * xf + vg * xg + vh * xh + vi * xi
            lines[two + n] = wa * xa + wb * xb + wc * xc + wd * xd + we * xe + wf * xf + wg * xg + wh * xh + wi * xi
    else:
        for n in range(count):
            xa, xb, xc, xd, xe = x[a + n], x[b + n], x[c + n], x[d + n], x[e + n]
            xf, xg, xh, xi = x[f + n], x[g + n], x[h + n], x[i + n]
            lines[one + n] += va * xa + vb * xb + vc * xc + vd * xd + ve * xe + vf * xf + vg * xg + vh * xh + vi * xi
            lines[two + n] += wa * xa + wb * xb + wc * xc + wd * xd + we * xe + wf * xf + wg * xg + wh * xh + wi * xi


@inner
def _correlate_one(
    lines: Array, line: int, length: int, x: Array, at: int, offsets: Array, taps: int, weight: Array, v: int
) -> None:
    """One line, as `_correlate` computes two: of a filter with no other one for the same channels."""
    first = 0
    while first < length:
        count = min(CHUNK, length - first)
        one = line + first
        if taps < TAPS:
            for n in range(count):
                lines[one + n] = 0
        k = 0
        while k + TAPS <= taps:
            _nine_taps_of_one(lines, one, count, x, at + first, offsets, k, weight, v + k)
            k += TAPS
        while k < taps:
            number, place = weight[v + k], at + first + offsets[k]
            for n in range(count):
                lines[one + n] += number * x[place + n]
            k += 1
        first += count


@inner
def _nine_taps_of_one(
    lines: Array, one: int, count: int, x: Array, at: int, offsets: Array, k: int, weight: Array, v: int
) -> None:
    """Add nine taps, from `k` on, to a line; the first nine begin it."""
    a, b, c = at + offsets[k], at + offsets[k + 1], at + offsets[k + 2]
    d, e, f = at + offsets[k + 3], at + offsets[k + 4], at + offsets[k + 5]
    g, h, i = at + offsets[k + 6], at + offsets[k + 7], at + offsets[k + 8]
    va, vb, vc, vd, ve = weight[v], weight[v + 1], weight[v + 2], weight[v + 3], weight[v + 4]
    vf, vg, vh, vi = weight[v + 5], weight[v + 6], weight[v + 7], weight[v + 8]
    if k == 0:
        for n in range(count):
            first = va * x[a + n] + vb * x[b + n] + vc * x[c + n]
            second = vd * x[d + n] + ve * x[e + n] + vf * x[f + n]
            lines[one + n] = first + second + (vg * x[g + n] + vh * x[h + n] + vi * x[i + n])
    else:
        for n in range(count):
            first = va * x[a + n] + vb * x[b + n] + vc * x[c + n]
            second = vd * x[d + n] + ve * x[e + n] + vf * x[f + n]
            lines[one + n] += first + second + (vg * x[g + n] + vh * x[h + n] + vi * x[i + n])


@inner
def _tap(lines: Array, one: int, two: int, count: int, x: Array, at: int, v: float, w: float) -> None:
    for n in range(count):
        value = x[at + n]
        lines[one + n] += v * value
        lines[two + n] += w * value


def convolution(
    x: Array,
    row: int,
    offsets: Array,
    taps: int,
    weight: Array,
    filters: int,
    of_a_group: int,
    between_groups: int,
    bias: Array,
    activation: int,
    slope: float,
    pool: int,
    samples: int,
    height: int,
    width: int,
    lines: Array,
    maxima: Array,
    spare: Array,
    y: Array,
    winners: Array,
) -> None:
    """y = activation(maximum over pool x pool of the correlation of x with weight, + bias).

    x: planes, `row` numbers from one row to the next; offsets: of the taps (K,), in the planes of a group; weight: (F,
    K); of_a_group: filters; between_groups: numbers from the planes of one group to those of the next; y: (height,
    width, F, samples), and winners, of the windows' pixels, likewise; lines: (pool, 2, width * pool * samples),
    maxima: (2, samples) and spare: (samples,) are overwritten.
    """
    length = width * pool * samples
    factor = float32(1) if activation == LINEAR else slope
    for p in range(height):
        f = 0
        while f < filters:
            is_pair = (f + 1) % of_a_group and f + 1 < filters
            for i in range(pool):
                at, line, v = (p * pool + i) * row + f // of_a_group * between_groups, 2 * i * length, f * taps
                if is_pair:
                    _correlate(lines, line, length, x, at, offsets, taps, weight, v, v + taps)
                else:
                    _correlate_one(lines, line, length, x, at, offsets, taps, weight, v)
            for g in range(f, f + 2 if is_pair else f + 1):
                for q in range(width):
                    at = (g - f) * length + q * pool * samples
                    to = ((p * width + q) * filters + g) * samples
                    if pool == 1:
                        activate(lines, at, samples, y, to, bias[g], activation, slope)
                    elif pool == 2:
                        pool_of_two(lines, at, 2 * length, samples, y, winners, to, bias[g], factor)
                    else:
                        pool_run(lines, at, 2 * length, samples, pool, maxima, winners, to, spare)
                        activate(maxima, 0, samples, y, to, bias[g], activation, slope)
            f += 2 if is_pair else 1


def convolution_backward(
    x: Array,
    row: int,
    offsets: Array,
    taps: int,
    y: Array,
    winners: Array,
    dy: Array,
    activation: int,
    slope: float,
    pool: int,
    samples: int,
    filters: int,
    of_a_group: int,
    between_groups: int,
    height: int,
    width: int,
    spread: Array,
    spread_begin: int,
    spread_plane: int,
    spread_row: int,
    spread_next: int,
    passed: Array,
    dweight: Array,
    dbias: Array,
) -> None:
    """The gradients of weight (F, K) and bias (F,), which are added to, for dy like y.

    spread: gets the gradient of the correlation, in planes that begin at `spread_begin`; `spread_next` is from a row of
    y to the next, 0 to overwrite it; passed: (samples,) is overwritten.
    """
    length = width * pool * samples
    for p in range(height):
        begin = spread_begin + p * spread_next
        for q in range(width):
            for f in range(filters):
                at = ((p * width + q) * filters + f) * samples
                to = begin + f * spread_plane + q * pool * samples
                if pool == 1:
                    dbias[f] += activation_passed(dy, y, at, samples, spread, to, activation, slope)
                else:
                    dbias[f] += activation_passed(dy, y, at, samples, passed, 0, activation, slope)
                    unpool_run(passed, winners, at, samples, pool, spread, to, spread_row)
        for i in range(pool):
            line = begin + i * spread_row
            weight_gradient(
                x,
                (p * pool + i) * row,
                offsets,
                taps,
                spread,
                line,
                spread_plane,
                length,
                filters,
                of_a_group,
                between_groups,
                dweight,
            )
