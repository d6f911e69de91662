"""The prediction of images one after the other, from the first layer to the last: loops that follow a program.

A step of it is a row of numbers, which `STEPS` describes and `prediction_program` writes. An image is planes
(C, rows, columns) in one memory that all steps share, each plane with the zeros around it that convolutions ask for:
what a tap meets on its way over the image is one run. So the lanes of the processor's vectors are the pixels.
"""

from __future__ import annotations

import numpy as np
from numba import float32

from cnnkit.network.kernels.compiled.jit import inner
from cnnkit.network.kernels.compiled.pooling_loops import below
from cnnkit.network.kernels.compiled.prediction_steps import (
    ABSENT,
    ADD,
    AVERAGE,
    CONVOLVE,
    DENSE,
    FIELDS,
    GIVE,
    MAXIMUM,
    NUMBERS,
    POINTWISE,
    SPLIT,
    TAKE,
)
from cnnkit.network.kernels.compiled.vector_code import LANES, SUMS, block, shifted
from cnnkit.types import Array

FILTERS, VECTORS = 4, 2 if SUMS == 8 else 5
"""Whose sums over all taps are in registers together, and of how many vectors of a run: 8 of 16 registers, 20 of 32."""
WIDTH = LANES * VECTORS
of_some, of_one = (block(rows, VECTORS, partial=False, gathered=True) for rows in (FILTERS, 1))

Limits = tuple[float, float]
"""Of an activation: what numbers below 0 are multiplied with, and the largest output."""


@inner
def activated(value: float, limits: Limits) -> float:
    """A number after its activation; NaN stays what it is."""
    slope, most = limits
    value = below(value, slope) if value <= 0 else value
    return most if value > most else value


@inner
def _take(step: Array, at: int, given: Array, image: int, memory: Array) -> None:
    """The image as planes."""
    channels, height, width = step[at], step[at + 1], step[at + 2]
    y, y_plane, y_pitch = step[at + 3], step[at + 4], step[at + 5]
    begin = image * channels * height * width
    for c in range(channels):
        for p in range(height):
            to = y + c * y_plane + p * y_pitch
            for q in range(width):
                memory[to + q] = given[begin + q]
            begin += width


@inner
def _give(step: Array, at: int, memory: Array, found: Array, image: int) -> None:
    """What the last step gave, in C order."""
    x, x_plane, x_pitch = step[at], step[at + 1], step[at + 2]
    channels, height, width = step[at + 3], step[at + 4], step[at + 5]
    to = image * channels * height * width
    for c in range(channels):
        for p in range(height):
            begin = x + c * x_plane + p * x_pitch
            for q in range(width):
                found[to + q] = memory[begin + q]
            to += width


@inner
def _split(step: Array, at: int, memory: Array) -> None:
    """Each plane as one for each phase of the strides: y[c, a, b, p, q] = x[c, p * stride + a, q * stride + b]."""
    x, x_plane, x_pitch, channels = step[at], step[at + 1], step[at + 2], step[at + 3]
    row_stride, column_stride = step[at + 4], step[at + 5]
    row_phases, column_phases = step[at + 6], step[at + 7]
    height, width, to = step[at + 8], step[at + 9], step[at + 10]
    for c in range(channels):
        for a in range(row_phases):
            for b in range(column_phases):
                for p in range(height):
                    begin = x + c * x_plane + (p * row_stride + a) * x_pitch + b
                    if column_stride == 2:
                        for q in range(width):
                            memory[to + q] = memory[begin + 2 * q]
                    else:
                        for q in range(width):
                            memory[to + q] = memory[begin + q * column_stride]
                    to += width


@inner
def _finish(
    memory: Array,
    x: int,
    pitch: int,
    pool: int,
    height: int,
    width: int,
    terms: tuple[float, float, float],
    limits: Limits,
    spare: int,
    y: int,
    y_pitch: int,
) -> None:
    """One plane: y = the maximum over pool x pool of (x + shift) * scale + offset, and then the activation.

    terms: shift, scale and offset; height, width: of y; spare: where all rows of x have place.

    Runs over all rows make vectors of any width; what they compute beside the windows is left out at the end.
    """
    shift, scale, offset = terms
    seen = (height * pool - 1) * pitch + width * pool
    count = (seen - (pool - 1) * (pitch + 1) + LANES - 1) // LANES * LANES
    if pool == 1:
        for n in range(count):
            value = (memory[x + n] + shift) * scale + offset
            memory[spare + n] = activated(value, limits)
    elif pool == 2:
        right, lower, last = x + 1, x + pitch, x + pitch + 1
        for n in range(count):
            value = larger((memory[x + n] + shift) * scale + offset, (memory[right + n] + shift) * scale + offset)
            other = larger((memory[lower + n] + shift) * scale + offset, (memory[last + n] + shift) * scale + offset)
            value = larger(value, other)
            memory[spare + n] = activated(value, limits)
    else:
        for n in range(count):
            memory[spare + n] = (memory[x + n] + shift) * scale + offset
        for k in range(1, pool * pool):
            further = x + k // pool * pitch + k % pool
            for n in range(count):
                memory[spare + n] = larger(memory[spare + n], (memory[further + n] + shift) * scale + offset)
        for n in range(count):
            value = memory[spare + n]
            memory[spare + n] = activated(value, limits)
    for p in range(height):
        begin, to = spare + p * pool * pitch, y + p * y_pitch
        if pool == 1:
            for q in range(width):
                memory[to + q] = memory[begin + q]
        else:
            for q in range(width):
                memory[to + q] = memory[begin + q * pool]


@inner
def larger(one: float, two: float) -> float:
    """The larger number, or NaN if one is."""
    return one if (one >= two) | (one != one) else two


@inner
def _terms(
    vector: Array, statistics: Array, f: int, places: tuple[int, int, int, int, int]
) -> tuple[float, float, float]:
    """A bias and batch normalisation as shift, scale and offset of a channel; places: of each, where it begins."""
    bias, gamma, beta, mean, inverse = places
    shift = float32(0) if bias == ABSENT else vector[bias + f]
    if gamma == ABSENT:
        return shift, float32(1), float32(0)
    return shift - statistics[mean + f], vector[gamma + f] * statistics[inverse + f], vector[beta + f]


@inner
def _convolve(
    step: Array, at: int, offsets: Array, vector: Array, statistics: Array, memory: Array, limits: Limits
) -> None:
    """A correlation with all filters, some rows at a time, and what follows it while that is in the cache."""
    x, x_pitch, first, taps = step[at], step[at + 1], step[at + 2], step[at + 3]
    weight, filters, of_a_group, between = step[at + 4], step[at + 5], step[at + 6], step[at + 7]
    pool, block, height, width = step[at + 8], step[at + 9], step[at + 10], step[at + 11]
    lines, line, y, y_plane, y_pitch = step[at + 12], step[at + 13], step[at + 14], step[at + 15], step[at + 16]
    places = step[at + 17], step[at + 18], step[at + 19], step[at + 20], step[at + 21]
    p = 0
    while p < height:
        rows = min(block, height - p)
        length = (rows * pool - 1) * x_pitch + width * pool
        f = 0
        while f < filters:
            count = FILTERS if f % of_a_group + FILTERS <= of_a_group else 1
            begin, v, n = x + p * pool * x_pitch + f // of_a_group * between, weight + f * taps, 0
            taps_at, weights = shifted(offsets, first), shifted(vector, v)
            while n < length:
                met, made = shifted(memory, begin + n), shifted(memory, lines + n)
                if count == FILTERS:
                    of_some(weights, taps, 1, met, taps_at, made, line, taps, True, WIDTH)
                else:
                    of_one(weights, taps, 1, met, taps_at, made, line, taps, True, WIDTH)
                n += WIDTH
            for g in range(count):
                terms = _terms(vector, statistics, f + g, places)
                to = y + (f + g) * y_plane + p * y_pitch
                _finish(
                    memory,
                    lines + g * line,
                    x_pitch,
                    pool,
                    rows,
                    width,
                    terms,
                    limits,
                    lines + FILTERS * line,
                    to,
                    y_pitch,
                )
            f += count
        p += rows


@inner
def _dense(step: Array, at: int, vector: Array, memory: Array, limits: Limits) -> None:
    """Four units at a time, so that each input that is loaded takes part in four sums."""
    x, inputs, weight = step[at], step[at + 1], step[at + 2]
    units, bias, y = step[at + 3], step[at + 4], step[at + 5]
    o = 0
    while o + 4 <= units:
        a = weight + o * inputs
        b, c, d = a + inputs, a + 2 * inputs, a + 3 * inputs
        one = two = three = four = float32(0)
        for i in range(inputs):
            value = memory[x + i]
            one += vector[a + i] * value
            two += vector[b + i] * value
            three += vector[c + i] * value
            four += vector[d + i] * value
        memory[y + o], memory[y + o + 1], memory[y + o + 2], memory[y + o + 3] = one, two, three, four
        o += 4
    while o < units:
        total = float32(0)
        for i in range(inputs):
            total += vector[weight + o * inputs + i] * memory[x + i]
        memory[y + o] = total
        o += 1
    for o in range(units):
        value = memory[y + o] + (float32(0) if bias == ABSENT else vector[bias + o])
        memory[y + o] = activated(value, limits)


@inner
def _pointwise(step: Array, at: int, vector: Array, statistics: Array, memory: Array, limits: Limits) -> None:
    """Batch normalisation, maximum pooling and activation without a convolution; a copy where there is none of them."""
    x, x_plane, x_pitch, channels = step[at], step[at + 1], step[at + 2], step[at + 3]
    pool, height, width, spare = step[at + 4], step[at + 5], step[at + 6], step[at + 7]
    y, y_plane, y_pitch = step[at + 8], step[at + 9], step[at + 10]
    places = ABSENT, step[at + 11], step[at + 12], step[at + 13], step[at + 14]
    for c in range(channels):
        terms = _terms(vector, statistics, c, places)
        to = y + c * y_plane
        _finish(memory, x + c * x_plane, x_pitch, pool, height, width, terms, limits, spare, to, y_pitch)


@inner
def _average(step: Array, at: int, memory: Array, factor: float) -> None:
    """The sums of windows side by side, times a factor."""
    x, x_plane, x_pitch, channels = step[at], step[at + 1], step[at + 2], step[at + 3]
    rows, columns, height, width = step[at + 4], step[at + 5], step[at + 6], step[at + 7]
    y, y_plane, y_pitch = step[at + 8], step[at + 9], step[at + 10]
    for c in range(channels):
        for p in range(height):
            for q in range(width):
                total: float = float32(0)
                for i in range(rows):
                    begin = x + c * x_plane + (p * rows + i) * x_pitch + q * columns
                    for j in range(columns):
                        total += memory[begin + j]
                memory[y + c * y_plane + p * y_pitch + q] = total * factor


@inner
def _maximum(step: Array, at: int, memory: Array) -> None:
    """The largest number of each window, as far as that is inside of the image."""
    x, x_plane, x_pitch, channels = step[at], step[at + 1], step[at + 2], step[at + 3]
    rows, columns, height, width = step[at + 4], step[at + 5], step[at + 6], step[at + 7]
    y, y_plane, y_pitch = step[at + 8], step[at + 9], step[at + 10]
    row_stride, column_stride, above, left = step[at + 11], step[at + 12], step[at + 13], step[at + 14]
    x_height, x_width = step[at + 15], step[at + 16]
    for c in range(channels):
        for p in range(height):
            top = p * row_stride - above
            for q in range(width):
                side = q * column_stride - left
                largest: float = -float32(np.inf)
                for i in range(max(0, top), min(x_height, top + rows)):
                    begin = x + c * x_plane + i * x_pitch
                    for j in range(max(0, side), min(x_width, side + columns)):
                        largest = larger(largest, memory[begin + j])
                memory[y + c * y_plane + p * y_pitch + q] = largest


@inner
def _add(step: Array, at: int, memory: Array, limits: Limits) -> None:
    """The sum of two images."""
    x, x_plane, x_pitch = step[at], step[at + 1], step[at + 2]
    other, other_plane, other_pitch = step[at + 3], step[at + 4], step[at + 5]
    channels, height, width = step[at + 6], step[at + 7], step[at + 8]
    y, y_plane, y_pitch = step[at + 9], step[at + 10], step[at + 11]
    for c in range(channels):
        for p in range(height):
            a, b = x + c * x_plane + p * x_pitch, other + c * other_plane + p * other_pitch
            to = y + c * y_plane + p * y_pitch
            for q in range(width):
                value = memory[a + q] + memory[b + q]
                memory[to + q] = activated(value, limits)


def predict(
    program: Array,
    steps: int,
    numbers: Array,
    offsets: Array,
    vector: Array,
    statistics: Array,
    given: Array,
    memory: Array,
    found: Array,
    count: int,
) -> None:
    """The outputs for `count` images.

    program: (steps, FIELDS); numbers: (steps, NUMBERS); offsets: of all taps; vector: the parameters; statistics: the
    means that batch normalisation subtracts, and what it multiplies with before gamma; given: (count, C, H, W) and
    found: (count, ...), in C order; memory: of one image, 0 around the planes, and is overwritten.
    """
    for image in range(count):
        for s in range(steps):
            operation, at = program[s * FIELDS], s * FIELDS + 1
            limits, number = (numbers[s * NUMBERS], numbers[s * NUMBERS + 1]), numbers[s * NUMBERS + 2]
            if operation == CONVOLVE:
                _convolve(program, at, offsets, vector, statistics, memory, limits)
            elif operation == DENSE:
                _dense(program, at, vector, memory, limits)
            elif operation == POINTWISE:
                _pointwise(program, at, vector, statistics, memory, limits)
            elif operation == ADD:
                _add(program, at, memory, limits)
            elif operation == AVERAGE:
                _average(program, at, memory, number)
            elif operation == MAXIMUM:
                _maximum(program, at, memory)
            elif operation == SPLIT:
                _split(program, at, memory)
            elif operation == TAKE:
                _take(program, at, given, image, memory)
            elif operation == GIVE:
                _give(program, at, memory, found, image)
