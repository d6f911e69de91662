"""Convolution without products of matrices: loops over taps, with the samples as the lanes of the processor's vectors.

Images are planes: (C, rows, columns * N), padded, all in one flat array. What a tap, an element of the kernel in one
channel, meets along a row of the output is then one run of numbers, at an offset from where the output's row begins.
Nine taps at a time for two filters, as registers allow: each number that is loaded takes part in two sums.

Each says which form in NumPy it equals, up to the order of its sums.
"""

from __future__ import annotations

from numba import float32

from cnnkit.network.kernels.compiled.interface import LINEAR
from cnnkit.network.kernels.compiled.jit import inner
from cnnkit.network.kernels.compiled.pooling_loops import (
    activate,
    activation_passed,
    pool_of_two,
    pool_run,
    unpool_run,
)
from cnnkit.types import Array

TAPS = 9
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
def _tap(lines: Array, one: int, two: int, count: int, x: Array, at: int, v: float, w: float) -> None:
    for n in range(count):
        value = x[at + n]
        lines[one + n] += v * value
        lines[two + n] += w * value


@inner
def _weight_gradient(
    x: Array,
    at: int,
    offsets: Array,
    taps: int,
    dy: Array,
    begin: int,
    plane: int,
    length: int,
    filters: int,
    dweight: Array,
) -> None:
    """Add what one row of the output says: the products of each plane of dy, `length` numbers, with all taps of x."""
    f = 0
    while f + 2 <= filters:
        one, k = begin + f * plane, 0
        while k + TAPS <= taps:
            _nine_products(dy, one, one + plane, length, x, at, offsets, k, dweight, f * taps + k, (f + 1) * taps + k)
            k += TAPS
        while k < taps:
            dweight[f * taps + k] += _product(dy, one, length, x, at + offsets[k])
            dweight[(f + 1) * taps + k] += _product(dy, one + plane, length, x, at + offsets[k])
            k += 1
        f += 2
    if f < filters:
        for k in range(taps):
            dweight[f * taps + k] += _product(dy, begin + f * plane, length, x, at + offsets[k])


@inner
def _nine_products(
    dy: Array,
    one: int,
    two: int,
    length: int,
    x: Array,
    at: int,
    offsets: Array,
    k: int,
    dweight: Array,
    v: int,
    w: int,
) -> None:
    """Add the sums of nine taps, from `k` on, to dweight from v on for one line of dy, from w on for the other."""
    a, b, c = at + offsets[k], at + offsets[k + 1], at + offsets[k + 2]
    d, e, f = at + offsets[k + 3], at + offsets[k + 4], at + offsets[k + 5]
    g, h, i = at + offsets[k + 6], at + offsets[k + 7], at + offsets[k + 8]
    va = vb = vc = vd = ve = vf = vg = vh = vi = float32(0)
    wa = wb = wc = wd = we = wf = wg = wh = wi = float32(0)
    for n in range(length):
        s, t = dy[one + n], dy[two + n]
        value = x[a + n]
        va += s * value
        wa += t * value
        value = x[b + n]
        vb += s * value
        wb += t * value
        value = x[c + n]
        vc += s * value
        wc += t * value
        value = x[d + n]
        vd += s * value
        wd += t * value
        value = x[e + n]
        ve += s * value
        we += t * value
        value = x[f + n]
        vf += s * value
        wf += t * value
        value = x[g + n]
        vg += s * value
        wg += t * value
        value = x[h + n]
        vh += s * value
        wh += t * value
        value = x[i + n]
        vi += s * value
        wi += t * value
    dweight[v] += va
    dweight[w] += wa
    dweight[v + 1] += vb
    dweight[w + 1] += wb
    dweight[v + 2] += vc
    dweight[w + 2] += wc
    dweight[v + 3] += vd
    dweight[w + 3] += wd
    dweight[v + 4] += ve
    dweight[w + 4] += we
    dweight[v + 5] += vf
    dweight[w + 5] += wf
    dweight[v + 6] += vg
    dweight[w + 6] += wg
    dweight[v + 7] += vh
    dweight[w + 7] += wh
    dweight[v + 8] += vi
    dweight[w + 8] += wi


@inner
def _product(dy: Array, line: int, length: int, x: Array, at: int) -> float:
    total: float = float32(0)
    for n in range(length):
        total += dy[line + n] * x[at + n]
    return total


def forward(
    x: Array,
    row: int,
    offsets: Array,
    taps: int,
    weight: Array,
    filters: int,
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

    x: planes, `row` numbers from one row to the next; offsets: of the taps (K,); weight: (F, K); y: (height, width, F,
    samples), and winners, of the windows' pixels, likewise; lines: (pool, 2, width * pool * samples), maxima: (2,
    samples) and spare: (samples,) are overwritten.
    """
    length = width * pool * samples
    factor = float32(1) if activation == LINEAR else slope
    for p in range(height):
        for f in range(0, filters, 2):
            last = min(f + 1, filters - 1)
            for i in range(pool):
                at = (p * pool + i) * row
                _correlate(lines, 2 * i * length, length, x, at, offsets, taps, weight, f * taps, last * taps)
            for g in range(f, last + 1):
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


def backward(
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
            _weight_gradient(
                x, (p * pool + i) * row, offsets, taps, spread, line, spread_plane, length, filters, dweight
            )
