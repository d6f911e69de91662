"""The gradient of a convolution's weights: sums of products along the rows of its output, for nine taps at a time.

They are written out, for the reason that `convolution_loops` gives.
"""

from __future__ import annotations

from numba import float32

from cnnkit.network.kernels.compiled.interface import TAPS
from cnnkit.network.kernels.compiled.jit import inner
from cnnkit.types import Array


@inner
def weight_gradient(
    x: Array,
    at: int,
    offsets: Array,
    o: int,
    taps: int,
    dy: Array,
    begin: int,
    plane: int,
    length: int,
    filters: int,
    of_a_group: int,
    between_groups: int,
    dweight: Array,
    first: int,
) -> None:
    """Add what one row of the output says: the products of each plane of dy, `length` numbers, with all taps of x.

    o, first: where the taps and the filters begin.
    """
    f = 0
    while f < filters:
        one, k = begin + f * plane, 0
        place, v = at + f // of_a_group * between_groups, first + f * taps
        if (f + 1) % of_a_group and f + 1 < filters:
            while k + TAPS <= taps:
                _nine_products(dy, one, one + plane, length, x, place, offsets, o + k, dweight, v + k, v + taps + k)
                k += TAPS
            while k < taps:
                dweight[v + k] += _product(dy, one, length, x, place + offsets[o + k])
                dweight[v + taps + k] += _product(dy, one + plane, length, x, place + offsets[o + k])
                k += 1
            f += 2
        else:
            while k + TAPS <= taps:
                _nine_products_of_one(dy, one, length, x, place, offsets, o + k, dweight, v + k)
                k += TAPS
            while k < taps:
                dweight[v + k] += _product(dy, one, length, x, place + offsets[o + k])
                k += 1
            f += 1


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
def _nine_products_of_one(
    dy: Array, one: int, length: int, x: Array, at: int, offsets: Array, k: int, dweight: Array, v: int
) -> None:
    """Add the sums of nine taps, from `k` on, to dweight from v on for a line of dy."""
    a, b, c = at + offsets[k], at + offsets[k + 1], at + offsets[k + 2]
    d, e, f = at + offsets[k + 3], at + offsets[k + 4], at + offsets[k + 5]
    g, h, i = at + offsets[k + 6], at + offsets[k + 7], at + offsets[k + 8]
    va = vb = vc = vd = ve = vf = vg = vh = vi = float32(0)
    for n in range(length):
        number = dy[one + n]
        va += number * x[a + n]
        vb += number * x[b + n]
        vc += number * x[c + n]
        vd += number * x[d + n]
        ve += number * x[e + n]
        vf += number * x[f + n]
        vg += number * x[g + n]
        vh += number * x[h + n]
        vi += number * x[i + n]
    dweight[v] += va
    dweight[v + 1] += vb
    dweight[v + 2] += vc
    dweight[v + 3] += vd
    dweight[v + 4] += ve
    dweight[v + 5] += vf
    dweight[v + 6] += vg
    dweight[v + 7] += vh
    dweight[v + 8] += vi


@inner
def _product(dy: Array, line: int, length: int, x: Array, at: int) -> float:
    total: float = float32(0)
    for n in range(length):
        total += dy[line + n] * x[at + n]
    return total
