"""Memory in the order in which the engine keeps arrays, for layers that make new ones."""

from __future__ import annotations

from cnnkit.types import Array, Context, Shape


def empty_pixels(shape: Shape, ctx: Context) -> Array:
    """Memory for an array (N, C, ...), in the order (..., C, N): kernels take it without a copy."""
    axes = len(shape)
    memory = ctx.empty((*shape[2:], shape[1], shape[0]))
    return memory.transpose(axes - 1, axes - 2, *range(axes - 2))


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
    y = samples_last.reshape(*shape, len(x))
    return y.T if len(shape) == 1 else y.transpose(len(shape), *range(len(shape)))
