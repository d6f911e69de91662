"""Pixels-first memory, (H, W, C, N): the order in which the fast kernels keep images.

The samples are the fastest axis and the channels the next one, so every pixel is a matrix (C, N), and the pixels of a
row lie one after another: what a kernel of width kw sees in a row is one contiguous matrix (kw*C, N), ready for BLAS.
Whatever moves whole pixels (padding, pooling, strides) moves long contiguous runs.
"""

from __future__ import annotations

import functools

import numpy as np

from cnnkit.layers.layout import empty_pixels
from cnnkit.types import Array, Context

LONG_RUN = 1024
"""Numbers in NumPy's inner loop from which on its overhead is small."""


def pixels_first(x: Array, ctx: Context) -> Array:
    """(N, C, H, W) with any strides -> (H, W, C, N), contiguous; a view where the memory already has this order."""
    inner = x.transpose(2, 3, 1, 0)
    if inner.flags.c_contiguous:
        return inner
    memory = ctx.empty(inner.shape)
    memory[...] = inner
    return memory


def float32_pixels(x: Array, ctx: Context) -> Array:
    """As `pixels_first`, and in float32, which loops read: a layer of a plugin may give other numbers."""
    pixels = pixels_first(x, ctx)
    if pixels.dtype == np.float32:
        return pixels
    memory = ctx.empty(pixels.shape)
    memory[...] = pixels
    return memory


def logical(pixels: Array) -> Array:
    """(H, W, C, N) -> (N, C, H, W), a view."""
    return pixels.transpose(3, 2, 0, 1)


def samples_last(x: Array, ctx: Context) -> Array:
    """(N, F) with any strides -> (F, N), contiguous; a view where the memory already has this order."""
    if x.T.flags.c_contiguous:
        return x.T
    memory = ctx.empty((x.shape[1], x.shape[0]))
    memory[...] = x.T
    return memory


def samples_fastest(x: Array, ctx: Context) -> Array:
    """The images or signals themselves if samples are the fastest axis of their memory, else a copy, pixels first.

    NumPy gives its results the order of its operands: without the copy, a layer that leaves the order, as one with
    `np.pad` does, would slow all layers behind it.
    """
    if x.ndim < 3 or x.strides[0] == x.itemsize or len(x) == 1:
        return x
    y = empty_pixels(x.shape, ctx)
    y[...] = x
    return y


def memory_order(x: Array) -> list[int]:
    """The axes from the slowest to the fastest."""
    return sorted(range(x.ndim), key=lambda axis: -x.strides[axis])


def in_memory_order(x: Array) -> Array:
    """The axes sorted from the slowest to the fastest, a view."""
    return x.transpose(memory_order(x))


@functools.lru_cache(maxsize=1024)
def blocks(count: int, each: int, limit: int, step: int = 1) -> tuple[slice, ...]:
    """Cut `count` rows of `each` bytes into even slices of at most `limit` bytes, and of a multiple of `step` rows."""
    largest = max(1, limit // max(1, each) // step) * step
    size = -(-count // -(-count // largest) // step) * step
    return tuple(slice(first, min(first + size, count)) for first in range(0, count, size))


def flat_pixels(pixels: Array) -> Array:
    """(H, W, C, N) -> (H*W, C*N), a view."""
    height, width, channels, samples = pixels.shape
    return pixels.reshape(height * width, channels * samples)


def channel_sums(pixels: Array, ctx: Context) -> Array:
    """The sum for each channel, (H, W, C, N) -> (C,), float64; it equals

        pixels.sum(axis=(0, 1, 3), dtype=np.float64)

    By BLAS, which is faster; and row by row, which keeps each float32 sum short.
    """
    height, width, channels, samples = pixels.shape
    rows, columns = pixels.reshape(height, -1), ctx.empty((channels, samples))
    if width > 1:
        rows = ctx.empty((height, channels * samples))
        np.matmul(constant(1, width, pixels.dtype), pixels.reshape(height, width, -1), out=rows)
    np.matmul(constant(1, height, pixels.dtype), rows, out=columns.reshape(-1))
    sums: Array = np.add.reduce(columns, axis=1, dtype=np.float64)
    return sums


def channel_products(a: Array, b: Array, ctx: Context) -> Array:
    """The sum of a * b for each channel, (H, W, C, N) -> (C,), float64; no image of products is made. It equals

    (a * b).sum(axis=(0, 1, 3), dtype=np.float64)
    """
    height, width, channels, _ = a.shape
    products = np.vecdot(a, b, out=ctx.empty((height, width, channels)))
    sums: Array = np.add.reduce(products.reshape(height * width, channels), axis=0, dtype=np.float64)
    return sums


def spread(values: Array, pixels: Array, ctx: Context) -> Array:
    """(C,) -> (C*N,) with each channel's value for every sample: an operand for `flat_pixels`.

    NumPy is twice as fast with it as with the (C, 1) that it equals, because its inner loop is longer.
    """
    if pixels.shape[3] == 1 and values.dtype == pixels.dtype:
        return values
    memory = ctx.empty(pixels.shape[2:])
    memory[...] = values[:, None]
    return memory.reshape(-1)


def rectify(memory: Array) -> None:
    """memory = max(memory, 0), in place, for a contiguous array. With zeros, five times as fast as with the number."""
    run = 1
    for length in reversed(memory.shape):
        run *= length
        if run >= LONG_RUN:
            break
    if run:
        runs = memory.reshape(-1, run)
        np.maximum(runs, constant(0, run, memory.dtype), out=runs)


def passed(dy: Array, y: Array, out: Array, ctx: Context) -> Array:
    """The gradient that passes a rectifier whose output is y: dy where y > 0, 0 elsewhere; in `out`.

    Two steps, because a product of floats and bools converts the bools piece by piece.
    """
    out[...] = np.greater(y, 0, out=ctx.empty_bits(y.shape))
    return np.multiply(out, dy, out=out)


@functools.lru_cache(maxsize=256)
def constant(value: float, count: int, dtype: np.dtype[np.generic]) -> Array:
    """A vector of equal numbers, read-only."""
    vector: Array = np.full(count, value, dtype)
    vector.flags.writeable = False
    return vector
