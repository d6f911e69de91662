"""Memory in the order in which the engine keeps arrays, for layers that make new ones."""

from __future__ import annotations

import numpy as np

from cnnkit.types import Array, Context, Shape


def empty_pixels(shape: Shape, ctx: Context) -> Array:
    """Memory for an array (N, C, ...), in the order (..., C, N): kernels take it without a copy."""
    order = (*range(2, len(shape)), 1, 0)
    memory = ctx.empty(tuple(shape[axis] for axis in order))
    return memory.transpose(np.argsort(order))


def reshaped(x: Array, shape: Shape, ctx: Context) -> Array:
    """(N, ...) -> (N, *shape), all axes but the samples' in C order.

    A view of x where its strides allow one, else a copy that keeps the samples as the fastest axis.
    """
    if x.flags.c_contiguous:
        return x.reshape(len(x), *shape)
    samples_last = x.transpose(*range(1, x.ndim), 0)
    if not samples_last.flags.c_contiguous:
        memory = ctx.empty(samples_last.shape)
        memory[...] = samples_last
        samples_last = memory
    return samples_last.reshape(*shape, len(x)).transpose(len(shape), *range(len(shape)))
