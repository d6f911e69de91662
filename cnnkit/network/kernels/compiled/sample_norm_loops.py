"""Normalisation of single samples, pixels first, (H, W, C, N): sums, output and gradient, each in one pass.

A part is what has one mean: a group of channels in all pixels, or all channels of one pixel. `parts` of a pixel's
number is how many parts lie before its own, and what is known of parts is (parts, N): the lanes of the processor's
vectors are the samples. `scales` and `offsets` have a number for each channel, or for each channel of each pixel.

Sums over a part are in float64, in which the square of a number has no rounding: they are those about the origin,
whatever the mean.
"""

from __future__ import annotations

from numba import float32, float64

from cnnkit.network.kernels.compiled.jit import inner
from cnnkit.network.kernels.compiled.norm_loops import bent, share
from cnnkit.types import Array

AT_ONCE_PIXELS = 4
"""Whose numbers are added up together in float32, before they are in float64."""


def sample_moments(
    x: Array,
    pixels: int,
    channels: int,
    samples: int,
    of_a_part: int,
    between_parts: int,
    sums: Array,
    squares: Array,
) -> None:
    """Add to sums and squares, (parts, N), those of x.

    of_a_part: channels; between_parts: how many parts a pixel is further than the one before it.
    """
    for p in range(pixels):
        for c in range(channels):
            run, to = (p * channels + c) * samples, (p * between_parts + c // of_a_part) * samples
            for n in range(samples):
                value = float64(x[run + n])
                sums[to + n] += value
                squares[to + n] += value * value


@inner
def _normal(value: float, mean: float, inverse: float, rest: float) -> float:
    """A number as one of mean 0 and variance 1."""
    return (value - mean) * inverse + rest


def sample_normalise(
    x: Array,
    means: Array,
    inverses: Array,
    rests: Array,
    scales: Array,
    offsets: Array,
    slope: float,
    ceiling: float,
    pixels: int,
    channels: int,
    samples: int,
    of_a_part: int,
    between_parts: int,
    between_scales: int,
    y: Array,
) -> None:
    """y = activation(xhat * scale + offset); xhat: as of `_normal`.

    between_scales: how many scales a pixel is further than the one before it.
    """
    for p in range(pixels):
        for c in range(channels):
            run, part = (p * channels + c) * samples, (p * between_parts + c // of_a_part) * samples
            scale, offset = scales[p * between_scales + c], offsets[p * between_scales + c]
            for n in range(samples):
                normal = _normal(x[run + n], means[part + n], inverses[part + n], rests[part + n])
                y[run + n] = bent(normal * scale + offset, slope, ceiling)


@inner
def _passed(dy: float, normal: float, scale: float, offset: float, slope: float, ceiling: float) -> float:
    """The gradient before the activation."""
    return dy * share(normal * scale + offset, slope, ceiling)


@inner
def _sums_by_channel(
    dy: Array,
    x: Array,
    means: Array,
    inverses: Array,
    rests: Array,
    scales: Array,
    offsets: Array,
    slope: float,
    ceiling: float,
    pixels: int,
    channels: int,
    samples: int,
    of_a_part: int,
    of_channels: Array,
    products_of_channels: Array,
) -> None:
    """Add g to of_channels and g * xhat to the others, (C, N), those of some pixels at once.

    Numbers of float64 are added up once for all of these: they take most of the time.
    """
    size = channels * samples
    for p in range(0, pixels, AT_ONCE_PIXELS):
        several = p + AT_ONCE_PIXELS <= pixels
        for c in range(channels):
            part, to = c // of_a_part * samples, c * samples
            scale, offset = scales[c], offsets[c]
            if several:
                first = p * size + to
                second, third, fourth = first + size, first + 2 * size, first + 3 * size
                for n in range(samples):
                    mean, inverse, rest = means[part + n], inverses[part + n], rests[part + n]
                    of_0, of_1 = _normal(x[first + n], mean, inverse, rest), _normal(x[second + n], mean, inverse, rest)
                    of_2, of_3 = _normal(x[third + n], mean, inverse, rest), _normal(x[fourth + n], mean, inverse, rest)
                    passed_0 = _passed(dy[first + n], of_0, scale, offset, slope, ceiling)
                    passed_1 = _passed(dy[second + n], of_1, scale, offset, slope, ceiling)
                    passed_2 = _passed(dy[third + n], of_2, scale, offset, slope, ceiling)
                    passed_3 = _passed(dy[fourth + n], of_3, scale, offset, slope, ceiling)
                    of_channels[to + n] += (passed_0 + passed_1) + (passed_2 + passed_3)
                    products_of_channels[to + n] += (passed_0 * of_0 + passed_1 * of_1) + (
                        passed_2 * of_2 + passed_3 * of_3
                    )
            else:
                for q in range(p, pixels):
                    run = q * size + to
                    for n in range(samples):
                        normal = _normal(x[run + n], means[part + n], inverses[part + n], rests[part + n])
                        passed = _passed(dy[run + n], normal, scale, offset, slope, ceiling)
                        of_channels[to + n] += passed
                        products_of_channels[to + n] += passed * normal


def sample_gradient_sums(
    dy: Array,
    x: Array,
    means: Array,
    inverses: Array,
    rests: Array,
    scales: Array,
    offsets: Array,
    slope: float,
    ceiling: float,
    pixels: int,
    channels: int,
    samples: int,
    of_a_part: int,
    between_parts: int,
    between_scales: int,
    of_channels: Array,
    products_of_channels: Array,
    dscales: Array,
    doffsets: Array,
    sums: Array,
    products: Array,
) -> None:
    """Add g * xhat to dscales and g to doffsets, and times the scale to products and sums, (parts, N).

    g: dy before the activation. Where all pixels have the same parts and scales, of_channels and products_of_channels,
    (C, N), have the sums over the pixels. Elsewhere, what is added up over samples has a loop of its own: one that also
    writes adds in another order where two arrays lie close together.
    """
    if between_parts == 0 and between_scales == 0:
        _sums_by_channel(
            *(dy, x, means, inverses, rests, scales, offsets, slope, ceiling, pixels, channels, samples, of_a_part),
            *(of_channels, products_of_channels),
        )
        for c in range(channels):
            part, scale = c // of_a_part * samples, float64(scales[c])
            total = product = float64(0)
            for n in range(samples):
                total += of_channels[c * samples + n]
                product += products_of_channels[c * samples + n]
            for n in range(samples):
                sums[part + n] += of_channels[c * samples + n] * scale
                products[part + n] += products_of_channels[c * samples + n] * scale
            doffsets[c] += total
            dscales[c] += product
        return
    for p in range(pixels):
        for c in range(channels):
            run, part = (p * channels + c) * samples, (p * between_parts + c // of_a_part) * samples
            at = p * between_scales + c
            scale, offset = scales[at], offsets[at]
            total = product = float32(0)
            for n in range(samples):
                normal = _normal(x[run + n], means[part + n], inverses[part + n], rests[part + n])
                passed = _passed(dy[run + n], normal, scale, offset, slope, ceiling)
                total += passed
                product += passed * normal
            for n in range(samples):
                normal = _normal(x[run + n], means[part + n], inverses[part + n], rests[part + n])
                passed = _passed(dy[run + n], normal, scale, offset, slope, ceiling) * scale
                sums[part + n] += passed
                products[part + n] += passed * normal
            doffsets[at] += total
            dscales[at] += product


def sample_gradient(
    dy: Array,
    x: Array,
    means: Array,
    inverses: Array,
    rests: Array,
    scales: Array,
    offsets: Array,
    slope: float,
    ceiling: float,
    mean_sums: Array,
    mean_products: Array,
    pixels: int,
    channels: int,
    samples: int,
    of_a_part: int,
    between_parts: int,
    between_scales: int,
    dx: Array,
) -> None:
    """dx = (g * scale - mean sum - xhat * mean product) * inverse, with g as of `sample_gradient_sums`."""
    for p in range(pixels):
        for c in range(channels):
            run, part = (p * channels + c) * samples, (p * between_parts + c // of_a_part) * samples
            scale, offset = scales[p * between_scales + c], offsets[p * between_scales + c]
            for n in range(samples):
                normal = _normal(x[run + n], means[part + n], inverses[part + n], rests[part + n])
                passed = dy[run + n] * share(normal * scale + offset, slope, ceiling)
                rest = passed * scale - mean_sums[part + n] - normal * mean_products[part + n]
                dx[run + n] = rest * inverses[part + n]
