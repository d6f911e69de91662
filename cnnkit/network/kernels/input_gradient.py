"""The gradient of a convolution's input from pixels-first images; a transposed convolution computes just that."""

from __future__ import annotations

import functools

from cnnkit.layers.window import Axis
from cnnkit.network.kernels.correlation import Correlation
from cnnkit.network.kernels.products import BLAS, Products
from cnnkit.network.kernels.window_axes import phases
from cnnkit.network.kernels.winograd import fastest_correlation
from cnnkit.types import Array, Context


class InputGradient:
    """dx[p*stride + i - before, q*stride + j - before] gets weight[:, :, i, j]^T @ dy[p, q], for all i, j, p, q.

    Correlations of dy with the kernel turned around, one for each phase of the strides. They are made when the first
    backward pass needs them.
    """

    def __init__(self, rows: Axis, columns: Axis, channels: int, filters: int, products: Products = BLAS) -> None:
        """channels: of x; filters: of dy."""
        self.rows, self.columns, self._products = rows, columns, products
        self._channels, self._filters = channels, filters

    @functools.cached_property
    def phases(self) -> list[tuple[tuple[slice, slice], tuple[slice, slice], Correlation]]:
        """For each phase of the strides: its part of the input, its part of the kernel, and its correlation with dy."""
        sizes = self._filters, self._channels
        return [
            ((lines, pixels), (turned, flipped), fastest_correlation(rows, columns, *sizes, self._products))
            for lines, turned, rows in phases(self.rows)
            for pixels, flipped, columns in phases(self.columns)
        ]

    @functools.cached_property
    def _all_met(self) -> bool:
        """Whether each pixel of the input is met by some window."""
        met = sum(part.rows.positions * part.columns.positions for _, _, part in self.phases)
        return met == self.rows.length * self.columns.length

    def of(self, dy: Array, weight: Array, ctx: Context) -> Array:
        """dy: (oh, ow, F, N), weight: (F, C, kh, kw) -> (H, W, C, N)."""
        turned = weight.swapaxes(0, 1)
        dx = ctx.empty((self.rows.length, self.columns.length, len(turned), dy.shape[3]))
        if not self._all_met:
            dx[...] = 0
        for place, kernel, correlation in self.phases:
            for _ in correlation.over(dy, turned[:, :, *kernel], ctx, dx[place]):
                pass
        return dx
