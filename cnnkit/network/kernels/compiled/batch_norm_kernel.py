"""Batch normalisation with the activation and the maximum pooling behind it, in one compiled pass each way."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Self

import numpy as np

from cnnkit.components import BatchCoupledLayer, Layer, Merge
from cnnkit.layers import BatchNorm1D, BatchNorm2D
from cnnkit.layers.batch_norm import is_large, statistics
from cnnkit.network.kernels.compiled.activations import bend_of, looped_epilogue_of
from cnnkit.network.kernels.compiled.machine_code import Functions, functions
from cnnkit.network.kernels.epilogue import Epilogue
from cnnkit.network.kernels.layout import float32_pixels, logical
from cnnkit.network.kernels.norm_kernel import images
from cnnkit.types import Array, Cache, Context, Grads


class CompiledBatchNormKernel(BatchCoupledLayer):
    """BatchNorm1D or BatchNorm2D, then optionally an activation and MaxPool2D(pool).

    Equals the layers one after another as `BatchNormKernel` and `MaxPoolKernel` do, up to the order in which numbers
    are added:

        y = norm.forward(x)
        if activation: y = activation.forward(y)
        if pool > 1: y = MaxPool2D(pool).forward(y)

    The mean as float32 has it is taken out of x first, so that no digits are lost where it is large. What the samples
    of a tile have in one pixel of a channel is added up in float32, all others in float64: no sum is longer in float32
    than one of `BatchNormKernel`.
    """

    def __init__(self, norm: BatchNorm1D | BatchNorm2D, epilogue: Epilogue) -> None:
        self.norm = norm
        self._pool, self._bend = epilogue.pool, bend_of(epilogue.activation)

    @functools.cached_property
    def _functions(self) -> Functions:
        """Loaded when they are first called: a plan can be made without them."""
        return functions()

    @classmethod
    def take(cls, layers: Sequence[Layer | Merge], _needs_dx: bool, /) -> tuple[Self, int] | None:
        """Batch normalisation with the activation and the pooling behind it."""
        first = layers[0]
        if type(first) is not BatchNorm1D and type(first) is not BatchNorm2D:
            return None
        if first.params["gamma"].dtype != np.float32:
            return None
        epilogue, used = looped_epilogue_of(layers[1:])
        return cls(first, epilogue), 1 + used

    def partial(self, x: Array, ctx: Context) -> Array:
        """As the layer's partial; where its mean is large, sums are made again without it."""
        pixels = float32_pixels(images(x), ctx)
        channels = pixels.shape[2]
        count, shift = pixels.size // channels, np.zeros(channels, np.float32)
        sums, squares = self._moments(pixels, shift, ctx)
        mean = sums / count
        if is_large(mean, squares / count - mean * mean):
            shift = mean.astype(np.float32)
            sums, squares = self._moments(pixels, shift, ctx)
        return np.stack([np.full_like(sums, count), sums, squares, shift])

    def join(self, partials: Sequence[Array]) -> Array:
        """As the layer's join."""
        return self.norm.join(partials)

    def absorb(self, total: Array) -> None:
        """As the layer's absorb."""
        self.norm.absorb(total)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """One pass."""
        pixels = float32_pixels(images(x), ctx)
        if ctx.training:
            count, mean, var = statistics(ctx.total)
        else:
            count, mean, var = 1.0, self.norm.buffers["running_mean"], self.norm.buffers["running_var"]
        inverse = 1 / np.sqrt(var + self.norm.epsilon)
        shift, scale = mean.astype(np.float32), self.norm.params["gamma"] * inverse
        rest = mean - shift
        rows, row, channels, samples = pixels.shape
        pool = self._pool
        coefficients = np.stack([shift, scale, self.norm.params["beta"] - rest * scale]).astype(np.float32)
        y = ctx.empty((rows // pool, row // pool, channels, samples))
        winners = ctx.empty_bits(y.shape if pool > 1 else (0,)).view(np.uint8)
        self._functions["normalise"](
            pixels,
            coefficients,
            *self._bend,
            channels,
            samples,
            row,
            *y.shape[:2],
            pool,
            ctx.empty((pool * pool * samples,)),
            ctx.empty((2 * samples,)),
            ctx.empty_bits((samples,)).view(np.uint8),
            y,
            winners,
        )
        out = logical(y)
        return out.reshape(out.shape[: x.ndim]), [pixels, winners, coefficients, count, rest, inverse]

    def backward_partial(self, dy: Array, cache: Cache, ctx: Context) -> Array:
        """As the layer's backward_partial, in one pass; dy as loops read it is put into the cache for `backward`."""
        pixels, winners, coefficients, _, rest, inverse = cache
        inner_dy = float32_pixels(images(dy), ctx)
        channels, samples = pixels.shape[2:]
        sums, products = np.zeros((2, channels))
        self._functions["gradient_sums"](
            inner_dy,
            winners,
            pixels,
            coefficients,
            *self._bend,
            channels,
            samples,
            pixels.shape[1],
            *inner_dy.shape[:2],
            self._pool,
            sums,
            products,
        )
        cache.append(inner_dy)
        return np.stack([sums, (products - rest * sums) * inverse])

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """dx = scale * (g - mean(g) - xhat * mean(g * xhat)), with g = dy before the activation, in one pass."""
        pixels, winners, coefficients, count, rest, inverse, inner_dy = cache
        mean_dy, mean_product = ctx.total / count
        factor = -inverse * mean_product
        added = np.stack([factor, -mean_dy - factor * rest]).astype(np.float32)
        dx = ctx.empty(pixels.shape)
        self._functions["gradient"](
            inner_dy,
            winners,
            pixels,
            np.concatenate([coefficients, added]),
            *self._bend,
            *pixels.shape[2:],
            *pixels.shape[:2],
            *inner_dy.shape[:2],
            self._pool,
            dx,
        )
        dbeta, dgamma = ctx.partial.astype(np.float32)
        out = logical(dx)
        return out.reshape(out.shape[: dy.ndim]), {"gamma": dgamma, "beta": dbeta}

    def _moments(self, pixels: Array, shift: Array, ctx: Context) -> tuple[Array, Array]:
        """The sums of x - shift and of its square."""
        rows, row, channels, samples = pixels.shape
        sums, squares = np.zeros((2, channels))
        self._functions["moments"](pixels, shift, rows * row, channels, samples, sums, squares)
        return sums, squares
