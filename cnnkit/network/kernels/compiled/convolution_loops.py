"""Convolution without products of matrices: loops over taps, with the samples as the lanes of the processor's vectors.

Images are planes: (C, rows, columns * N), padded, all in one flat array. What a tap, an element of the kernel in one
channel, meets along a row of the output is then one run of numbers, at an offset from where the output's row begins.
Nine taps at a time for two filters, as registers allow: each number that is loaded takes part in two sums.

Each says which form in NumPy it equals, up to the order of its sums.
"""

from __future__ import annotations

from numba import float32, uintp

from cnnkit.network.kernels.compiled.jit import (
    BYTES,
    COUNT,
    MATRIX,
    NUMBER,
    NUMBERS,
    OUT,
    OUT_BYTES,
    OUT_MATRIX,
    OUT_SUMS,
    PLACE,
    PLACES,
    entry,
    inner,
)
from cnnkit.network.kernels.compiled.pooling_loops import (
    LEAKY,
    LINEAR,
    RECTIFIED,
    activate,
    activation_passed,
    pool_of_two,
    pool_run,
    unpool_run,
)
from cnnkit.types import Array

__all__ = ["LEAKY", "LINEAR", "RECTIFIED", "backward", "forward"]

TAPS = 9
CHUNK = 2048
"""Numbers of a row that are summed up over all taps at once: the sums stay in the core's first cache."""


@inner
def _correlate(lines: Array, line: int, length: int, x: Array, at: int, offsets: Array, v: Array, w: Array) -> None:
    """Two lines, one after the other, of x from `at` on with the filters v and w."""
    taps, first = len(offsets), uintp(0)
    while first < length:
        count = min(uintp(CHUNK), length - first)
        one, two = line + first, line + length + first
        if taps < TAPS:
            for n in range(count):
                lines[one + n] = 0
                lines[two + n] = 0
        k = 0
        while k + TAPS <= taps:
            _nine_taps(lines, one, two, count, x, at + first, offsets, k, v, w)
            k += TAPS
        while k < taps:
            _tap(lines, one, two, count, x, at + first + offsets[k], v[k], w[k])
            k += 1
        first += count


@inner
def _nine_taps(
    lines: Array, one: int, two: int, count: int, x: Array, at: int, offsets: Array, k: int, v: Array, w: Array
) -> None:
    """Add nine taps, from `k` on, to both lines; the first nine begin them."""
    a, b, c = at + offsets[k], at + offsets[k + 1], at + offsets[k + 2]
    d, e, f = at + offsets[k + 3], at + offsets[k + 4], at + offsets[k + 5]
    g, h, i = at + offsets[k + 6], at + offsets[k + 7], at + offsets[k + 8]
    va, vb, vc, vd, ve, vf, vg, vh, vi = (
        v[k],
        v[k + 1],
        v[k + 2],
        v[k + 3],
        v[k + 4],
        v[k + 5],
        v[k + 6],
        v[k + 7],
        v[k + 8],
    )
    wa, wb, wc, wd, we, wf, wg, wh, wi = (
        w[k],
        w[k + 1],
        w[k + 2],
        w[k + 3],
        w[k + 4],
        w[k + 5],
        w[k + 6],
        w[k + 7],
        w[k + 8],
    )
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
    x: Array, at: int, offsets: Array, dy: Array, begin: int, plane: int, length: int, dweight: Array, unused: Array
) -> None:
    """Add what one row of the output says: the products of each plane of dy, `length` numbers, with all taps of x."""
    filters, taps = dweight.shape
    for f in range(0, filters, 2):
        one = begin + uintp(f) * plane
        is_pair = f + 1 < filters
        two, second = (one + plane, dweight[f + 1]) if is_pair else (one, unused)
        k = 0
        while k + TAPS <= taps:
            _nine_products(dy, one, two, length, x, at, offsets, k, dweight[f], second)
            k += TAPS
        while k < taps:
            _product(dy, one, two, length, x, at + offsets[k], k, dweight[f], second)
            k += 1


@inner
def _nine_products(
    dy: Array, one: int, two: int, length: int, x: Array, at: int, offsets: Array, k: int, v: Array, w: Array
) -> None:
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
    v[k] += va
    w[k] += wa
    v[k + 1] += vb
    w[k + 1] += wb
    v[k + 2] += vc
    w[k + 2] += wc
    v[k + 3] += vd
    w[k + 3] += wd
    v[k + 4] += ve
    w[k + 4] += we
    v[k + 5] += vf
    w[k + 5] += wf
    v[k + 6] += vg
    w[k + 6] += wg
    v[k + 7] += vh
    w[k + 7] += wh
    v[k + 8] += vi
    w[k + 8] += wi


@inner
def _product(dy: Array, one: int, two: int, length: int, x: Array, at: int, k: int, v: Array, w: Array) -> None:
    of_one = of_two = float32(0)
    for n in range(length):
        of_one += dy[one + n] * x[at + n]
        of_two += dy[two + n] * x[at + n]
    v[k] += of_one
    w[k] += of_two


@entry(
    NUMBERS,
    PLACE,
    PLACES,
    MATRIX,
    NUMBERS,
    COUNT,
    NUMBER,
    COUNT,
    PLACE,
    COUNT,
    COUNT,
    OUT,
    OUT,
    OUT_BYTES,
    OUT,
    OUT_BYTES,
)
def forward(
    x: Array,
    row: int,
    offsets: Array,
    weight: Array,
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
    filters, each = len(weight), uintp(pool)
    length = uintp(width) * each * samples
    factor = float32(1) if activation == LINEAR else slope
    for p in range(uintp(height)):
        for f in range(0, filters, 2):
            second = min(f + 1, filters - 1)
            for i in range(each):
                line = i * uintp(2) * length
                _correlate(lines, line, length, x, (p * each + i) * row, offsets, weight[f], weight[second])
            for g in range(f, min(f + 2, filters)):
                begin = uintp(g - f) * length
                for q in range(uintp(width)):
                    at, to = begin + q * each * samples, ((p * uintp(width) + q) * uintp(filters) + uintp(g)) * samples
                    if pool == 1:
                        activate(lines, at, samples, y, to, bias[g], activation, slope)
                    elif pool == 2:
                        pool_of_two(lines, at, uintp(2) * length, samples, y, winners, to, bias[g], factor)
                    else:
                        pool_run(lines, at, uintp(2) * length, samples, pool, maxima, winners, to, spare)
                        activate(maxima, uintp(0), samples, y, to, bias[g], activation, slope)


@entry(
    NUMBERS,
    PLACE,
    PLACES,
    NUMBERS,
    BYTES,
    NUMBERS,
    COUNT,
    NUMBER,
    COUNT,
    PLACE,
    COUNT,
    COUNT,
    COUNT,
    OUT,
    PLACE,
    PLACE,
    PLACE,
    PLACE,
    OUT,
    OUT_MATRIX,
    OUT,
    OUT_SUMS,
)
def backward(
    x: Array,
    row: int,
    offsets: Array,
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
    unused: Array,
    dbias: Array,
) -> None:
    """The gradients of weight (F, K) and bias (F,), which are added to, for dy like y.

    spread: gets the gradient of the correlation, in planes that begin at `spread_begin`; `spread_next` is from a row of
    y to the next, 0 to overwrite it; passed: (samples,) and unused: (K,) are overwritten.
    """
    each = uintp(pool)
    length = uintp(width) * each * samples
    for p in range(uintp(height)):
        begin = spread_begin + p * spread_next
        for q in range(uintp(width)):
            for f in range(uintp(filters)):
                at = ((p * uintp(width) + q) * uintp(filters) + f) * samples
                to = begin + f * spread_plane + q * each * samples
                if pool == 1:
                    dbias[f] += activation_passed(dy, y, at, samples, spread, to, activation, slope)
                else:
                    dbias[f] += activation_passed(dy, y, at, samples, passed, uintp(0), activation, slope)
                    unpool_run(passed, winners, at, samples, pool, spread, to, spread_row)
        for i in range(each):
            _weight_gradient(
                x, (p * each + i) * row, offsets, spread, begin + i * spread_row, spread_plane, length, dweight, unused
            )
