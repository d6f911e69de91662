"""Convolution without products of matrices: loops over taps, with the samples as the lanes of the processor's vectors.

Images are copied into planes: (C, rows, columns, N), padded, and with strides, all that is met with one remainder side
by side: those of a group of channels at a time. What a tap, an element of the kernel in one channel, meets along a row
of the output is then one run of numbers, at an offset from where the output's row begins.

Each says which form in NumPy it equals, up to the order of its sums.
"""

from __future__ import annotations

from numba import float32

from cnnkit.network.kernels.compiled.correlation_loops import correlate
from cnnkit.network.kernels.compiled.interface import AT_ONCE, CAPPED, LINEAR, PART
from cnnkit.network.kernels.compiled.jit import inner
from cnnkit.network.kernels.compiled.pooling_loops import (
    activate,
    activation_passed,
    cap,
    pool_of_two,
    pool_run,
    unpool_run,
)
from cnnkit.network.kernels.compiled.vector_code import LANES, shifted
from cnnkit.network.kernels.compiled.weight_gradient_loops import add_sums, weight_gradient
from cnnkit.types import Array

ROWS_AT_ONCE = 8
"""Rows of pooled output whose products are added up in one sum of float32: longer ones lose digits."""


@inner
def _fill_planes(
    x: Array,
    at: int,
    line_step: int,
    pixel_step: int,
    places: Array,
    height: int,
    width: int,
    channels: int,
    samples: int,
    planes: Array,
) -> None:
    """Planes (channels, height, width, samples) of x from `at` on; places: their lines and columns there, -1 for 0."""
    for p in range(height):
        line = places[p]
        for q in range(width):
            column = places[height + q]
            for c in range(channels):
                to = ((c * height + p) * width + q) * samples
                if line >= 0 and column >= 0:
                    place = at + line * line_step + column * pixel_step + c * samples
                    for n in range(samples):
                        planes[to + n] = x[place + n]
                else:
                    for n in range(samples):
                        planes[to + n] = 0


@inner
def _correlation(
    planes: Array,
    begin: int,
    row: int,
    offsets: Array,
    o: int,
    taps: int,
    weight: Array,
    v: int,
    filters: int,
    of_a_group: int,
    between_groups: int,
    bias: Array,
    b: int,
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
    to: int,
    to_line: int,
    to_pixel: int,
) -> None:
    """What `convolution` says, of planes with `row` numbers from one row to the next, from `begin` on.

    o, v, b: where taps, weights and biases begin; y and winners begin at `to`, and their lines and pixels are `to_line`
    and `to_pixel` apart.
    """
    length = width * pool * samples
    factor = float32(1) if activation == LINEAR else slope
    for p in range(height):
        f = 0
        while f < filters:
            count = min(AT_ONCE, of_a_group - f % of_a_group)
            for i in range(pool):
                at = begin + (p * pool + i) * row + f // of_a_group * between_groups
                line = AT_ONCE * i * length
                correlate(lines, line, length, planes, at, shifted(offsets, o), taps, weight, v + f * taps, count)
            for g in range(f, f + count):
                for q in range(width):
                    at = (g - f) * length + q * pool * samples
                    place = to + p * to_line + q * to_pixel + g * samples
                    if pool == 1:
                        activate(lines, at, samples, y, place, bias[b + g], activation, slope)
                    elif pool == 2:
                        pool_of_two(lines, at, AT_ONCE * length, samples, y, winners, place, bias[b + g], factor)
                        if activation == CAPPED:
                            cap(y, place, samples)
                    else:
                        pool_run(lines, at, AT_ONCE * length, samples, pool, maxima, winners, place, spare)
                        activate(maxima, 0, samples, y, place, bias[b + g], activation, slope)
            f += count


def convolution(
    x: Array,
    line_step: int,
    pixel_step: int,
    places: Array,
    planes: Array,
    is_copied: int,
    plane_height: int,
    plane_width: int,
    taps: int,
    weight: Array,
    groups: int,
    at_once: int,
    filters: int,
    channels: int,
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

    x: (H, W, C, samples), with so many numbers from a line or pixel to the next; planes: (at_once * channels,
    plane_height, plane_width, samples), overwritten, or x itself if that is not copied; places: what their rows and
    columns are in x, -1 for padding, then where the taps are in those of a group; weight: (groups * filters, taps);
    at_once: groups; filters, channels: of a group; y: (height, width, groups * filters, samples), and winners, of the
    windows' pixels, likewise; lines: (pool, AT_ONCE, width * pool * samples), maxima: (2, samples) and spare:
    (samples,) are overwritten.
    """
    plane = plane_height * plane_width * samples
    for g in range(0, groups, at_once):
        count = min(at_once, groups - g)
        if is_copied:
            _fill_planes(
                x,
                g * channels * samples,
                line_step,
                pixel_step,
                places,
                plane_height,
                plane_width,
                count * channels,
                samples,
                planes,
            )
        _correlation(
            planes,
            0,
            plane_width * samples,
            places,
            plane_height + plane_width,
            taps,
            weight,
            g * filters * taps,
            count * filters,
            filters,
            channels * plane,
            bias,
            g * filters,
            activation,
            slope,
            pool,
            samples,
            height,
            width,
            lines,
            maxima,
            spare,
            y,
            winners,
            g * filters * samples,
            width * groups * filters * samples,
            groups * filters * samples,
        )


def convolution_backward(
    x: Array,
    line_step: int,
    pixel_step: int,
    places: Array,
    planes: Array,
    is_copied: int,
    plane_height: int,
    plane_width: int,
    taps: int,
    y: Array,
    winners: Array,
    dy: Array,
    activation: int,
    slope: float,
    pool: int,
    samples: int,
    groups: int,
    at_once: int,
    filters: int,
    channels: int,
    height: int,
    width: int,
    spread: Array,
    spread_begin: int,
    spread_plane: int,
    spread_row: int,
    spread_next: int,
    lines: Array,
    sums: Array,
    dweight: Array,
    dbias: Array,
    parts: Array,
    count_of_parts: int,
    turned: Array,
    dx: Array,
) -> None:
    """The gradients of weight (F, K), bias (F,), which is added to, and x, for dy like y.

    spread: gets the gradient of the correlation of groups at once, in planes that begin at `spread_begin`;
    `spread_next` is from a row of y to the next, 0 to overwrite it; lines: (AT_ONCE * samples of a row of dx,) and
    sums: a vector for each weight of groups at once, are overwritten. parts: of dx, each as `PART` says, none for no
    dx, then the places of their taps in `spread`; turned: their weights, (groups * channels, taps) each, then a zero
    for each channel of groups at once.
    """
    length, plane = width * pool * samples, plane_height * plane_width * samples
    for n in range(groups * filters * taps):
        dweight[n] = 0
    for g in range(0, groups, at_once):
        count = min(at_once, groups - g)
        if is_copied:
            _fill_planes(
                x,
                g * channels * samples,
                line_step,
                pixel_step,
                places,
                plane_height,
                plane_width,
                count * channels,
                samples,
                planes,
            )
        for n in range(count * filters * taps * LANES):
            sums[n] = 0
        for p in range(height):
            begin = spread_begin + p * spread_next
            for q in range(width):
                for f in range(count * filters):
                    at = (((p * width + q) * groups + g) * filters + f) * samples
                    to = begin + f * spread_plane + q * pool * samples
                    if pool == 1:
                        dbias[g * filters + f] += activation_passed(dy, y, at, samples, spread, to, activation, slope)
                    else:
                        total = activation_passed(dy, y, at, samples, lines, 0, activation, slope)
                        dbias[g * filters + f] += total
                        unpool_run(lines, winners, at, samples, pool, spread, to, spread_row)
            for i in range(pool):
                weight_gradient(
                    planes,
                    (p * pool + i) * plane_width * samples,
                    shifted(places, plane_height + plane_width),
                    taps,
                    spread,
                    begin + i * spread_row,
                    spread_plane,
                    length,
                    count * filters,
                    filters,
                    channels * plane,
                    sums,
                    0,
                )
            if p % ROWS_AT_ONCE == ROWS_AT_ONCE - 1 or p == height - 1:
                add_sums(sums, count * filters * taps, dweight, g * filters * taps)
        for part in range(0, count_of_parts * PART, PART):
            of_part = parts[part]
            _correlation(
                spread,
                0,
                spread_row,
                parts,
                count_of_parts * PART + parts[part + 1],
                of_part,
                turned,
                parts[part + 2] + g * channels * of_part,
                count * channels,
                channels,
                filters * spread_plane,
                turned,
                groups * filters * taps,
                LINEAR,
                float32(0),
                1,
                samples,
                parts[part + 3],
                parts[part + 4],
                lines,
                lines,
                winners,
                dx,
                winners,
                (parts[part + 5] + g * channels) * samples,
                parts[part + 6] * samples,
                parts[part + 7] * samples,
            )
