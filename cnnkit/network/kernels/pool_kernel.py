"""Pooling of pixels-first images with windows side by side; of a maximum, bits tell later where it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.components.sums import sum_over
from cnnkit.layers import AvgPool2D, MaxPool2D
from cnnkit.network.kernels.epilogue import side_by_side
from cnnkit.network.kernels.layout import logical, pixels_first
from cnnkit.types import Array, Cache, Context, Grads, Shape


@dataclass(frozen=True)
class Winners:
    """For each further row of a window, and then for each further column, whether one before it was at least as large.

    rows: (size - 1, H / size, W, C, N); columns: (size - 1, H / size, W / size, C, N); bool.
    """

    rows: Array
    columns: Array

    def of(self, block: slice) -> Winners:
        """Those of some rows of windows."""
        return Winners(self.rows[:, block], self.columns[:, block])


def empty_winners(shape: Shape, size: int, ctx: Context) -> Winners:
    """Memory for the winners of images (H, W, C, N)."""
    height, width, *pixel = shape
    return Winners(
        ctx.empty_bits((size - 1, height // size, width, *pixel)),
        ctx.empty_bits((size - 1, height // size, width // size, *pixel)),
    )


def max_pool(x: Array, size: int, y: Array, winners: Winners | None, ctx: Context) -> Array:
    """Fill y with the maxima of windows of size x size; equals MaxPool2D(size), the choice among equals included.

    x: (H, W, C, N), H and W multiples of size; y: (H / size, W / size, C, N). Over the rows first, where all that is
    compared is one long run. Of equal numbers the upper one wins in a column, then the left column.
    """
    between = ctx.empty((len(y), *x.shape[1:]))
    _fold([x[i::size] for i in range(size)], between, None if winners is None else winners.rows)
    _fold([between[:, j::size] for j in range(size)], y, None if winners is None else winners.columns)
    return y


def max_unpool(dy: Array, winners: Winners, size: int, dx: Array, ctx: Context) -> Array:
    """Fill dx, (H, W, C, N), with dy where the maxima were and 0 elsewhere."""
    between = ctx.empty((len(dy), *dx.shape[1:]))
    _unfold(dy, winners.columns, [between[:, j::size] for j in range(size)], ctx)
    _unfold(between, winners.rows, [dx[i::size] for i in range(size)], ctx)
    return dx


class MaxPoolKernel:
    """MaxPool2D with square windows side by side.

    Equals the plain layer:

        y = pool.forward(x)
    """

    def __init__(self, pool: MaxPool2D, size: int) -> None:
        self.size = size
        self.height = pool.window.rows.length
        self.width = pool.window.columns.length

    @classmethod
    def take(cls, layers: Sequence[Layer | Merge], _needs_dx: bool, /) -> tuple[Self, int] | None:
        """A pooling with windows side by side."""
        first = layers[0]
        if type(first) is MaxPool2D and (size := side_by_side(first)) > 1:
            return cls(first, size), 1
        return None

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """Rows and columns at the end that fill no window are left out."""
        whole, size = self._whole(pixels_first(x, ctx)), self.size
        height, width, *pixel = whole.shape
        y = ctx.empty((height // size, width // size, *pixel))
        winners = empty_winners(whole.shape, size, ctx) if ctx.training else None
        return logical(max_pool(whole, size, y, winners, ctx)), winners

    def backward(self, dy: Array, winners: Cache, ctx: Context) -> tuple[Array, Grads]:
        """They get no gradient."""
        inner_dy = pixels_first(dy, ctx)
        dx = ctx.empty((self.height, self.width, *inner_dy.shape[2:]))
        whole = self._whole(dx)
        dx[len(whole) :] = 0
        dx[:, whole.shape[1] :] = 0
        max_unpool(inner_dy, winners, self.size, whole, ctx)
        return logical(dx), {}

    def _whole(self, pixels: Array) -> Array:
        """The part of the images that windows cover."""
        return pixels[: self.height // self.size * self.size, : self.width // self.size * self.size]


class AvgPoolKernel:
    """AvgPool2D with square windows side by side that leave nothing over.

    Equals the plain layer:

        y = pool.forward(x)
    """

    def __init__(self, size: int) -> None:
        self.size = size

    @classmethod
    def take(cls, layers: Sequence[Layer | Merge], _needs_dx: bool, /) -> tuple[Self, int] | None:
        """A pooling with windows side by side that leave nothing over."""
        first = layers[0]
        if type(first) is AvgPool2D and (size := side_by_side(first)) and not _left_over(first, size):
            return cls(size), 1
        return None

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """Sums over rows, then over columns."""
        pixels, size = pixels_first(x, ctx), self.size
        height, width, *pixel = pixels.shape
        rows = ctx.empty((height // size, width, *pixel))
        sum_over(pixels.reshape(height // size, size, width, *pixel), 1, out=rows)
        y = ctx.empty((height // size, width // size, *pixel))
        sum_over(rows.reshape(height // size, width // size, size, *pixel), 2, out=y)
        return logical(np.multiply(y, 1 / size**2, out=y)), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """Every element of a window gets an equal share."""
        inner_dy, size = pixels_first(dy, ctx), self.size
        height, width, *pixel = inner_dy.shape
        share = np.multiply(inner_dy, 1 / size**2, out=ctx.empty(inner_dy.shape))
        dx = ctx.empty((height * size, width * size, *pixel))
        dx.reshape(height, size, width, size, *pixel)[...] = share[:, None, :, None]
        return logical(dx), {}


def _left_over(layer: AvgPool2D, size: int) -> int:
    """Rows and columns at the end that fill no window."""
    return layer.window.rows.length % size + layer.window.columns.length % size


def _fold(parts: list[Array], y: Array, winners: Array | None) -> None:
    """Y = max(parts), and for each part but the first whether one of those before it won."""
    largest = parts[0]
    for k, part in enumerate(parts[1:]):
        if winners is not None:
            np.greater_equal(largest, part, out=winners[k])
        largest = np.maximum(largest, part, out=y)


def _unfold(dy: Array, winners: Array, parts: list[Array], ctx: Context) -> None:
    """Hand dy to the part that won: from the last part to the first, each time splitting off the loser's share."""
    rest = dy
    for k in range(len(parts) - 1, 0, -1):
        before = parts[0] if k == 1 else ctx.empty(dy.shape)
        before[...] = winners[k - 1]
        np.multiply(before, rest, out=before)
        np.subtract(rest, before, out=parts[k])
        rest = before
