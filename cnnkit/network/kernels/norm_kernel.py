"""Batch normalisation of vectors, signals and pixels-first images, with the activation behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from cnnkit.components import BatchCoupledLayer, Layer, Merge
from cnnkit.layers import BatchNorm1D, BatchNorm2D
from cnnkit.layers.batch_norm import is_large, statistics
from cnnkit.network.kernels.epilogue import Epilogue, epilogue_of
from cnnkit.network.kernels.layout import (
    blocks,
    channel_products,
    channel_sums,
    flat_pixels,
    logical,
    pixels_first,
    spread,
)
from cnnkit.types import Array, Cache, Context, Grads

BLOCK_BYTES = 1 << 18
"""What a block of rows may take: several passes find it in the core's own cache."""


class BatchNormKernel(BatchCoupledLayer):
    """BatchNorm1D or BatchNorm2D, then optionally an activation.

    Equals the plain layers one after the other:

        y = norm.forward(x); y = activation.forward(y)

    With scale = gamma / sqrt(var + epsilon), forward is y = x * scale + (beta - mean * scale), and backward is a sum of
    three terms, each a number for a channel times dy, x or 1. Where a mean is so large that digits would be lost by
    this, it is taken out of x first.

    Vectors are images of one pixel, and signals images one pixel wide: so their sums, too, are made row by row.
    """

    def __init__(self, norm: BatchNorm1D | BatchNorm2D, epilogue: Epilogue) -> None:
        self.norm = norm
        self.epilogue = epilogue

    @classmethod
    def take(cls, layers: Sequence[Layer | Merge], _needs_dx: bool, /) -> tuple[Self, int] | None:
        """Batch normalisation with the activation behind it."""
        first = layers[0]
        if type(first) is not BatchNorm1D and type(first) is not BatchNorm2D:
            return None
        epilogue, used = epilogue_of(layers[1:2])
        return cls(first, epilogue), 1 + used

    def partial(self, x: Array, ctx: Context) -> Array:
        """As the layer's partial."""
        pixels = pixels_first(images(x), ctx)
        count = pixels.size // pixels.shape[2]
        sums, squares = np.zeros((2, pixels.shape[2]))
        for block in _blocks(pixels):
            sums += channel_sums(pixels[block], ctx)
            squares += channel_products(pixels[block], pixels[block], ctx)
        mean, shift = sums / count, np.zeros_like(sums)
        if is_large(mean, squares / count - mean * mean):
            centred, shift = _centred(pixels, mean, ctx)
            sums, squares = channel_sums(centred, ctx), channel_products(centred, centred, ctx)
        return np.stack([np.full_like(sums, count), sums, squares, shift])

    def join(self, partials: Sequence[Array]) -> Array:
        """As the layer's join."""
        return self.norm.join(partials)

    def absorb(self, total: Array) -> None:
        """As the layer's absorb."""
        self.norm.absorb(total)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """Two passes, three with an activation, over blocks that stay in the cache."""
        pixels = pixels_first(images(x), ctx)
        if ctx.training:
            count, mean, var = statistics(ctx.total)
        else:
            count, mean, var = 0.0, self.norm.buffers["running_mean"], self.norm.buffers["running_var"]
        if is_large(mean, var):
            pixels, rounded = _centred(pixels, mean, ctx)
            mean = mean - rounded
        inverse = 1 / np.sqrt(var + self.norm.epsilon)
        scale = self.norm.params["gamma"] * inverse
        scales, offsets = spread(scale, pixels, ctx), spread(self.norm.params["beta"] - mean * scale, pixels, ctx)
        y = ctx.empty(pixels.shape)
        for block in _blocks(pixels):
            part = np.multiply(flat_pixels(pixels[block]), scales, out=flat_pixels(y[block]))
            np.add(part, offsets, out=part)
            self.epilogue.apply(part)
        return logical(y).reshape(x.shape), [pixels, self.epilogue.kept(y), count, mean, inverse]

    def backward_partial(self, dy: Array, cache: Cache, ctx: Context) -> Array:
        """As the layer's backward_partial; what passes the activation is put into the cache for `backward`."""
        pixels, y, _, mean, inverse = cache
        inner_dy = pixels_first(images(dy), ctx)
        activation = self.epilogue.activation
        through = ctx.empty(y.shape) if activation else inner_dy
        sums, products = np.zeros((2, pixels.shape[2]))
        for block in _blocks(pixels):
            part = inner_dy[block]
            if activation:
                part = activation.passed(part, y[block], through[block], ctx)
            sums += channel_sums(part, ctx)
            products += channel_products(part, pixels[block], ctx)
        cache.append(through)
        return np.stack([sums, (products - mean * sums) * inverse])

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """dx = scale * (dy - mean(dy) - xhat * mean(dy * xhat)), with xhat = (x - mean) * inverse."""
        pixels, _, count, mean, inverse, through = cache
        mean_dy, mean_product = ctx.total / count
        slope = -inverse * mean_product
        slopes, offsets = spread(slope, pixels, ctx), spread(-mean_dy - slope * mean, pixels, ctx)
        scales = spread(self.norm.params["gamma"] * inverse, pixels, ctx)
        dx = ctx.empty(pixels.shape)
        for block in _blocks(pixels):
            part = np.multiply(flat_pixels(pixels[block]), slopes, out=flat_pixels(dx[block]))
            np.add(part, offsets, out=part)
            np.add(part, flat_pixels(through[block]), out=part)
            np.multiply(part, scales, out=part)
        dbeta, dgamma = ctx.partial.astype(pixels.dtype)
        return logical(dx).reshape(dy.shape), {"gamma": dgamma, "beta": dbeta}


def images(x: Array) -> Array:
    """(N, C, ...) -> (N, C, H, W), a view, with 1 for what is missing."""
    return x.reshape(*x.shape, *(1,) * (4 - x.ndim))


def _blocks(pixels: Array) -> tuple[slice, ...]:
    return blocks(len(pixels), pixels[:1].nbytes, BLOCK_BYTES)


def _centred(pixels: Array, mean: Array, ctx: Context) -> tuple[Array, Array]:
    """The pixels without the mean, as exactly as their dtype has it; and that."""
    rounded = mean.astype(pixels.dtype)
    centred = ctx.empty(pixels.shape)
    np.subtract(flat_pixels(pixels), spread(rounded, pixels, ctx), out=flat_pixels(centred))
    return centred, rounded.astype(np.float64)
