"""Normalisation of single samples with the activation behind it, in compiled passes over memory."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.layers import GroupNorm, InstanceNorm1D, InstanceNorm2D, LayerNorm, RMSNorm
from cnnkit.network.kernels.compiled.activations import bend_of
from cnnkit.network.kernels.compiled.machine_code import Functions, functions
from cnnkit.network.kernels.epilogue import Epilogue, epilogue_of
from cnnkit.network.kernels.layout import float32_pixels, logical
from cnnkit.network.kernels.norm_kernel import images
from cnnkit.types import Array, Cache, Context, Grads, Shape

SampleNorm = GroupNorm | InstanceNorm1D | InstanceNorm2D | LayerNorm | RMSNorm
NORMS: tuple[type[Layer], ...] = (GroupNorm, InstanceNorm1D, InstanceNorm2D, LayerNorm, RMSNorm)


class SampleNormKernel:
    """GroupNorm, InstanceNorm, LayerNorm or RMSNorm, then optionally an activation.

    Equals the layers one after another, up to the order in which numbers are added:

        y = norm.forward(x)
        if activation: y = activation.forward(y)

    Forward takes two passes, one for the sums and one for y; so does backward. All sums that are longer than one over
    the samples of a tile are in float64.
    """

    def __init__(self, layers: Sequence[Any], epilogue: Epilogue) -> None:
        """layers: the normalisation, and perhaps an activation, which `epilogue` stands for."""
        norm: SampleNorm = layers[0]
        self.norm = norm
        self._layers = layers
        self._bend = bend_of(epilogue.activation)
        self._is_by_pixel = isinstance(norm, LayerNorm | RMSNorm) and norm.axes == "channels"
        self._is_by_number = isinstance(norm, LayerNorm | RMSNorm) and norm.axes == "all"

    @functools.cached_property
    def _functions(self) -> Functions:
        """Loaded when they are first called: a plan can be made without them."""
        return functions()

    @classmethod
    def take(cls, layers: Sequence[Layer | Merge], _needs_dx: bool, /) -> tuple[Self, int] | None:
        """The normalisation of single samples with the activation behind it."""
        first: Any = layers[0]
        if type(first) not in NORMS or any(values.dtype != np.float32 for values in first.params.values()):
            return None
        epilogue, used = epilogue_of(layers[1:2])
        return cls(layers[: 1 + used], epilogue), 1 + used

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """A sample by itself is left to the layer, as there are no lanes."""
        if len(x) == 1:
            caches = []
            for layer in self._layers:
                x, cache = layer.forward(x, ctx)
                caches.append(cache)
            return x, caches
        pixels = float32_pixels(images(x), ctx)
        shape, count = self._sizes(pixels)
        sums, squares = self._sums(pixels, ctx)
        self._functions["sample_moments"](pixels, *shape[:-1], sums, squares)
        parts = self._statistics(sums, squares, count, ctx)
        y = ctx.empty(pixels.shape)
        self._functions["sample_normalise"](pixels, *parts, *self._coefficients(pixels), *self._bend, *shape, y)
        return logical(y).reshape(x.shape), (pixels, parts)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """dx = (g - mean(g) - xhat * mean(g * xhat)) * inverse, with g = gamma * dy before the activation."""
        if len(dy) == 1:
            for layer, kept in zip(reversed(self._layers), reversed(cache), strict=True):
                dy, of_layer = layer.backward(dy, kept, ctx)
            return dy, of_layer  # of the normalisation: an activation has no parameters
        pixels, parts = cache
        shape, count = self._sizes(pixels)
        scales, offsets = self._coefficients(pixels)
        given = float32_pixels(images(dy), ctx), pixels, *parts, scales, offsets, *self._bend
        dscales, doffsets = np.zeros((2, scales.size))
        sums, products = self._sums(pixels, ctx)
        of_channels, products_of_channels = (_doubles(pixels.shape[2:], ctx) for _ in range(2))
        of_channels[...] = products_of_channels[...] = 0
        self._functions["sample_gradient_sums"](
            *given, *shape, of_channels, products_of_channels, dscales, doffsets, sums, products
        )
        means = [ctx.empty(sums.shape) for _ in range(2)]
        self._mean(sums, count, out=means[0])
        np.multiply(products, 1 / count, out=means[1])
        dx = ctx.empty(pixels.shape)
        self._functions["sample_gradient"](*given, *means, *shape, dx)
        grads: Grads = {}
        for name, values in self.norm.params.items():
            grads[name] = ctx.gradient(name, values.shape)
            by_channel = {"gamma": dscales, "beta": doffsets}[name].reshape(-1, pixels.shape[2]).T
            grads[name][...] = by_channel.reshape(values.shape)
        return logical(dx).reshape(dy.shape), grads

    def _statistics(self, sums: Array, squares: Array, count: int, ctx: Context) -> list[Array]:
        """Of each part the mean, 1 / sqrt(var + epsilon), and what the mean has lost, as a number of variance 1.

        In place: there may be one for each pixel of each sample.
        """
        mean = self._mean(sums, count, out=sums)
        var, spare = np.multiply(squares, 1 / count, out=squares), _doubles(sums.shape, ctx)
        np.subtract(var, np.square(mean, out=spare), out=var)
        np.maximum(var, 0, out=var)  # rounding may pass below 0
        inverse = np.reciprocal(np.sqrt(np.add(var, self.norm.epsilon, out=var), out=var), out=var)
        means, inverses, rests = (ctx.empty(sums.shape) for _ in range(3))
        means[...], inverses[...] = mean, inverse
        np.multiply(np.subtract(means, mean, out=spare), inverse, out=rests)
        return [means, inverses, rests]

    def _mean(self, sums: Array, count: int, out: Array) -> Array:
        """0 where none is subtracted."""
        if self.norm.centred:
            return np.multiply(sums, 1 / count, out=out)
        out[...] = 0
        return out

    def _sums(self, pixels: Array, ctx: Context) -> tuple[Array, Array]:
        """Two zeros for each part, (parts, N) float64."""
        height, width, channels, samples = pixels.shape
        parts = height * width if self._is_by_pixel else self._groups(channels)
        sums, others = (_doubles((parts, samples), ctx) for _ in range(2))
        sums[...] = others[...] = 0
        return sums, others

    def _groups(self, channels: int) -> int:
        match self.norm:
            case GroupNorm():
                return self.norm.groups
            case LayerNorm() | RMSNorm():
                return 1
        return channels

    def _sizes(self, pixels: Array) -> tuple[tuple[int, ...], int]:
        """What loops are told of parts and coefficients, and how many numbers a part has."""
        height, width, channels, samples = pixels.shape
        of_a_part = channels // self._groups(channels)
        count = of_a_part if self._is_by_pixel else of_a_part * height * width
        between_scales = channels if self._is_by_number and self.norm.affine else 0
        return (height * width, channels, samples, of_a_part, int(self._is_by_pixel), between_scales), count

    def _coefficients(self, pixels: Array) -> tuple[Array, Array]:
        """Gamma and beta, pixels first where they have a number for each number of a sample; 1 and 0 without them."""
        channels = pixels.shape[2]
        given = {name: values.reshape(channels, -1).T for name, values in self.norm.params.items()}
        gamma = np.ascontiguousarray(given.get("gamma", np.ones(channels, np.float32)))
        return gamma, np.ascontiguousarray(given.get("beta", np.zeros_like(gamma)))


def _doubles(shape: Shape, ctx: Context) -> Array:
    """Uninitialised memory of float64."""
    return ctx.empty((2, *shape)).reshape(-1).view(np.float64).reshape(shape)
