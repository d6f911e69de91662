"""What the machine code of the loops is called with: known without Numba."""

from __future__ import annotations

LINEAR, RECTIFIED, LEAKY, CAPPED = 0, 1, 2, 3
"""The activations: y = x, max(x, 0), max(x, slope * x) and min(max(x, 0), CEILING)."""

CEILING = 6
"""Of ReLU6."""

AT_ONCE = 8
"""Filters of a convolution whose lines are made together."""

MOST_LANES = 16
"""Numbers of float32 in a vector, at most."""

DEPTH = 256
"""Rows of b that a product takes at once, so that they stay in the core's first cache."""

PRODUCTS = 6
"""Of Winograd's F(4, 3)."""

INNER, OUTER = 0.625, 1.5
"""The points of its polynomials, beside 0 and infinity, with both signs: rounding is least with about these, and their
squares are numbers of float32."""

SHIFT, SCALE, OFFSET, FACTOR, START = range(5)
"""The rows of a normalisation's coefficients."""

PART = 8
"""Numbers that describe a part of the input's gradient: how many taps it has, where they and its weights begin, its
height and width, and, for one sample, where it begins in the gradient and how far its lines and pixels are apart."""

SEGMENT = 7
"""Numbers that describe a run of pixels: where it meets the image, in pixels, and where it is in what is computed; how
far its pixels are apart in both; its length; the first of its taps, and how many there are."""

COUNT, NUMBER = "count", "number"
FLOATS, DOUBLES, BYTES, PLACES = "float32", "float64", "uint8", "intp"
"""Pointers to the first element of an array of this dtype."""

ARGUMENTS: dict[str, dict[str, tuple[str, ...]]] = {
    "convolution_loops": {
        "convolution": (
            *(FLOATS, COUNT, COUNT, PLACES, FLOATS, COUNT, COUNT, COUNT),  # x, steps, places, planes, copied, size
            *(COUNT, FLOATS, COUNT, COUNT, COUNT, COUNT, FLOATS),  # taps, weight, groups, at once, of one, bias
            *(COUNT, NUMBER, COUNT, COUNT, COUNT, COUNT),  # activation, slope, pool, samples, height, width
            *(FLOATS, FLOATS, BYTES, FLOATS, BYTES),  # lines, maxima, spare, y, winners
        ),
        "convolution_backward": (
            *(FLOATS, COUNT, COUNT, PLACES, FLOATS, COUNT, COUNT, COUNT),  # x, steps, places, planes, copied, size
            *(COUNT, FLOATS, BYTES, FLOATS),  # taps, y, winners, dy
            *(COUNT, NUMBER, COUNT, COUNT),  # activation, slope, pool, samples
            *(COUNT, COUNT, COUNT, COUNT, COUNT, COUNT),  # groups, at once, filters and channels of one, height, width
            *(FLOATS, COUNT, COUNT, COUNT, COUNT),  # spread, where it begins, and from plane to plane, row, next row
            *(FLOATS, FLOATS, FLOATS, DOUBLES),  # lines, sums, dweight, dbias
            *(PLACES, COUNT, FLOATS, FLOATS),  # parts, how many, their weights, dx
        ),
    },
    "depthwise_loops": {
        "depthwise": (
            *(FLOATS, PLACES, COUNT, PLACES, FLOATS, COUNT, FLOATS),  # x, segments, their taps, weight, size, bias
            *(
                COUNT,
                NUMBER,
                COUNT,
                COUNT,
                COUNT,
                COUNT,
                FLOATS,
            ),  # activation, slope, pixels, channels, samples, at once, y
        ),
        "depthwise_backward": (
            *(FLOATS, PLACES, COUNT, PLACES, FLOATS, COUNT),  # x, segments, their taps, weight, size
            *(FLOATS, FLOATS, COUNT, FLOATS),  # y, dy, whether an activation was passed, what passed it
            *(COUNT, NUMBER, COUNT, COUNT, COUNT, COUNT),  # activation, slope, pixels, channels, samples, at once
            *(FLOATS, FLOATS, DOUBLES, PLACES, COUNT, PLACES, FLOATS, FLOATS),  # sums, dweight, dbias, of dx, zeros, dx
        ),
    },
    "optimizer_loops": {
        "adam": (
            *(FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, COUNT),  # params, grads, mean, square, largest, count
            *(NUMBER, NUMBER, NUMBER, NUMBER, NUMBER),  # beta1, beta2, epsilon, rate, shrinks_by
            *(NUMBER, COUNT, COUNT),  # decay, decays, keeps_largest
        ),
        "gradient_descent": (
            *(FLOATS, FLOATS, FLOATS, COUNT),  # params, grads, velocity, count
            *(NUMBER, NUMBER, NUMBER),  # rate, momentum, decay
            *(COUNT, COUNT, COUNT),  # has_momentum, decays, looks_ahead
        ),
    },
    "prediction_loops": {
        "predict": (
            *(PLACES, COUNT, FLOATS, PLACES),  # program, steps, numbers, offsets
            *(FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, COUNT),  # vector, statistics, given, memory, found, count
        ),
    },
    "product_loops": {
        "product": (FLOATS, FLOATS, FLOATS, FLOATS, PLACES),  # a, b, c, panel, layout
    },
    "norm_loops": {
        "moments": (FLOATS, FLOATS, COUNT, COUNT, COUNT, DOUBLES, DOUBLES),
        "normalise": (
            *(FLOATS, FLOATS, NUMBER, NUMBER, COUNT, COUNT),  # x, coefficients, slope, ceiling, channels, samples
            *(COUNT, COUNT, COUNT, COUNT),  # row, height, width, pool
            *(FLOATS, FLOATS, BYTES, FLOATS, BYTES),  # window, maxima, spare, y, winners
        ),
        "gradient_sums": (
            *(FLOATS, BYTES, FLOATS, FLOATS),  # dy, winners, x, coefficients
            *(NUMBER, NUMBER, COUNT, COUNT),  # slope, ceiling, channels, samples
            *(COUNT, COUNT, COUNT, COUNT),  # row, height, width, pool
            *(DOUBLES, DOUBLES),  # sums, products
        ),
        "gradient": (
            *(FLOATS, BYTES, FLOATS, FLOATS),  # dy, winners, x, coefficients
            *(NUMBER, NUMBER, COUNT, COUNT),  # slope, ceiling, channels, samples
            *(COUNT, COUNT, COUNT, COUNT, COUNT),  # rows, row, height, width, pool
            FLOATS,  # dx
        ),
    },
    "sample_norm_loops": {
        "sample_moments": (FLOATS, COUNT, COUNT, COUNT, COUNT, COUNT, DOUBLES, DOUBLES),
        "sample_normalise": (
            *(FLOATS, FLOATS, FLOATS, FLOATS),  # x, means, inverses, rests
            *(FLOATS, FLOATS, NUMBER, NUMBER),  # scales, offsets, slope, ceiling
            *(COUNT, COUNT, COUNT, COUNT, COUNT, COUNT),  # pixels, channels, samples; of a part, between parts, scales
            FLOATS,  # y
        ),
        "sample_gradient_sums": (
            *(FLOATS, FLOATS, FLOATS, FLOATS, FLOATS),  # dy, x, means, inverses, rests
            *(FLOATS, FLOATS, NUMBER, NUMBER),  # scales, offsets, slope, ceiling
            *(COUNT, COUNT, COUNT, COUNT, COUNT, COUNT),  # pixels, channels, samples; of a part, between parts, scales
            *(DOUBLES, DOUBLES),  # g and g * xhat of channels
            *(DOUBLES, DOUBLES, DOUBLES, DOUBLES),  # dscales, doffsets, sums, products
        ),
        "sample_gradient": (
            *(FLOATS, FLOATS, FLOATS, FLOATS, FLOATS),  # dy, x, means, inverses, rests
            *(
                FLOATS,
                FLOATS,
                NUMBER,
                NUMBER,
                FLOATS,
                FLOATS,
            ),  # scales, offsets, slope, ceiling, mean sums, mean products
            *(COUNT, COUNT, COUNT, COUNT, COUNT, COUNT),  # pixels, channels, samples; of a part, between parts, scales
            FLOATS,  # dx
        ),
    },
    "winograd_loops": {
        "winograd_correlation": (
            *(FLOATS, COUNT, COUNT, COUNT, COUNT, COUNT, COUNT),  # x, height, width, channels, samples, before, left
            *(FLOATS, COUNT, COUNT, COUNT, COUNT, COUNT),  # matrices, filters, across, rows, columns, at once
            *(FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, COUNT, COUNT),  # zeros, sums, products, spare, y, its steps
        ),
        "winograd_gradient": (
            *(FLOATS, COUNT, COUNT, COUNT, COUNT, COUNT, COUNT),  # x, height, width, channels, samples, before, left
            *(FLOATS, COUNT, COUNT, COUNT, COUNT, COUNT),  # dy, filters, across, rows, columns, at once
            *(COUNT, COUNT, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS),  # line, padded, zeros, sums, spare, of dy, totals
        ),
    },
}
"""Of each function that Python calls, by the module that has it, what its arguments are. No two have one name."""

EXACT = {"optimizer_loops"}
"""The modules whose results are NumPy's bit for bit: no sum has another order, no product is added without rounding."""
