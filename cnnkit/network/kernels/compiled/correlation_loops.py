"""Sums of shifted lines, each times a number: what a convolution is along a row of its output.

Nine taps at a time for two filters, as registers allow: each number that is loaded takes part in two sums. They are
written out, because sums in an array would be loaded and stored for every number.
"""

from __future__ import annotations

from cnnkit.network.kernels.compiled.interface import TAPS
from cnnkit.network.kernels.compiled.jit import inner
from cnnkit.types import Array

CHUNK = 2048
"""Numbers of a row that are summed up over all taps at once: the sums stay in the core's first cache."""


@inner
def correlate(
    lines: Array,
    line: int,
    length: int,
    x: Array,
    at: int,
    offsets: Array,
    o: int,
    taps: int,
    weight: Array,
    v: int,
    w: int,
) -> None:
    """Two lines, one after the other, of x from `at` on; o, v, w: where the taps and the two filters begin."""
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
            _nine_taps(lines, one, two, count, x, at + first, offsets, o + k, k == 0, weight, v + k, w + k)
            k += TAPS
        while k < taps:
            _tap(lines, one, two, count, x, at + first + offsets[o + k], weight[v + k], weight[w + k])
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
    begins: bool,
    weight: Array,
    v: int,
    w: int,
) -> None:
    """Add nine taps, from `k` on, to both lines, or begin them."""
    a, b, c = at + offsets[k], at + offsets[k + 1], at + offsets[k + 2]
    d, e, f = at + offsets[k + 3], at + offsets[k + 4], at + offsets[k + 5]
    g, h, i = at + offsets[k + 6], at + offsets[k + 7], at + offsets[k + 8]
    va, vb, vc, vd, ve = weight[v], weight[v + 1], weight[v + 2], weight[v + 3], weight[v + 4]
    vf, vg, vh, vi = weight[v + 5], weight[v + 6], weight[v + 7], weight[v + 8]
    wa, wb, wc, wd, we = weight[w], weight[w + 1], weight[w + 2], weight[w + 3], weight[w + 4]
    wf, wg, wh, wi = weight[w + 5], weight[w + 6], weight[w + 7], weight[w + 8]
    if begins:
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
def correlate_one(
    lines: Array, line: int, length: int, x: Array, at: int, offsets: Array, o: int, taps: int, weight: Array, v: int
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
            _nine_taps_of_one(lines, one, count, x, at + first, offsets, o + k, k == 0, weight, v + k)
            k += TAPS
        while k < taps:
            number, place = weight[v + k], at + first + offsets[o + k]
            for n in range(count):
                lines[one + n] += number * x[place + n]
            k += 1
        first += count


@inner
def _nine_taps_of_one(
    lines: Array, one: int, count: int, x: Array, at: int, offsets: Array, k: int, begins: bool, weight: Array, v: int
) -> None:
    """Add nine taps, from `k` on, to a line, or begin it."""
    a, b, c = at + offsets[k], at + offsets[k + 1], at + offsets[k + 2]
    d, e, f = at + offsets[k + 3], at + offsets[k + 4], at + offsets[k + 5]
    g, h, i = at + offsets[k + 6], at + offsets[k + 7], at + offsets[k + 8]
    va, vb, vc, vd, ve = weight[v], weight[v + 1], weight[v + 2], weight[v + 3], weight[v + 4]
    vf, vg, vh, vi = weight[v + 5], weight[v + 6], weight[v + 7], weight[v + 8]
    if begins:
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
