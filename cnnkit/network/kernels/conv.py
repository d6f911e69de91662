"""Convolution of rows-first images, with bias, rectifier and maximum pooling in the same pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cnnkit.layers import Conv2D
from cnnkit.layers.window import Axis
from cnnkit.network.kernels.layout import logical, row_windows, rows_first
from cnnkit.network.kernels.pool import max_pool, max_unpool
from cnnkit.types import Array, Cache, Context, Grads


class ConvKernel:
    """Conv2D, then optionally MaxPool2D(pool) and ReLU; for convolutions without groups and dilation.

    Equals the plain layers one after another:

        y = conv.forward(x)
        if pool > 1: y = MaxPool2D(pool).forward(y)
        if relu: y = ReLU().forward(y)

    The shifts along a row are copied, kw times; those along a column are views (`row_windows`) that BLAS reads
    through: a third of the copies of a 3x3 kernel. Bias and rectifier commute with the maximum, so they run after it,
    on the smaller image.
    """

    def __init__(self, conv: Conv2D, *, relu: bool, pool: int, needs_dx: bool) -> None:
        self.conv = conv
        self.relu = relu
        self.pool = pool
        """Size and stride of the pooling windows, 1 for none."""
        self.needs_dx = needs_dx
        self.rows, self.columns = (_trimmed(axis, pool) for axis in (conv.window.rows, conv.window.columns))
        self.height, self.width = self.rows.positions, self.columns.positions
        """Of the output before pooling."""
        self.down = [meeting(self.rows, i) for i in range(self.rows.size)]
        self.across = [meeting(self.columns, j) for j in range(self.columns.size)]

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """One product for each output row; the patches stay for the gradient of the weights."""
        filters, oh, ow = self.conv.filters, self.height, self.width
        patches = self._patches(rows_first(x, ctx), ctx)
        windows = self._windows(patches)
        # What is pooled is not needed again: only which of its numbers were the largest.
        y = (ctx.scratch if self.pool > 1 else ctx.empty)((oh, filters, ow, len(x)))
        np.matmul(self._matrix(), windows, out=y.reshape(oh, filters, -1))
        taken = None
        if self.pool > 1:
            y, taken = max_pool(y, self.pool, ctx)
        if self.conv.bias:
            np.add(y, self.conv.params["bias"].reshape(-1, 1, 1), out=y)
        if self.relu:
            np.maximum(y, 0, out=y)
        return logical(y), (patches, taken, y)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array | None, Grads]:
        """One product for each output row and each gradient; the input's only where someone needs it."""
        patches, taken, y = cache
        rows, filters, oh, ow = self.rows, self.conv.filters, self.height, self.width
        inner_dy = rows_first(dy, ctx)
        if self.relu:
            inner_dy = np.multiply(inner_dy, np.greater(y, 0, out=ctx.scratch_bits(y.shape)), out=ctx.scratch(y.shape))
        grads: Grads = {}
        if self.conv.bias:  # pooling hands every gradient to exactly one place, so it keeps their sum
            grads["bias"] = inner_dy.sum(axis=(0, 2, 3))

        # Around dy, rows of zeros that the transposed convolution reads.
        above, below = (rows.size - 1, max(0, rows.before + rows.length - oh)) if rows.stride == 1 else (0, 0)
        padded = ctx.scratch((above + oh + below, filters, ow, len(dy)))
        padded[:above] = 0
        padded[above + oh :] = 0
        unpooled = padded[above : above + oh]
        if self.pool > 1:
            max_unpool(inner_dy, taken, self.pool, unpooled, ctx)
        else:
            unpooled[...] = inner_dy

        flat = unpooled.reshape(oh, filters, -1)
        windows = self._windows(patches).transpose(0, 2, 1)
        products = np.matmul(flat, windows, out=ctx.scratch((oh, filters, windows.shape[2])))
        grads["weight"] = self._canonical(products.sum(axis=0))
        if not self.needs_dx:
            return None, grads
        inner_dx = self._transposed(padded, ctx) if rows.stride == 1 else self._scattered(flat, len(dy), ctx)
        return logical(inner_dx), grads

    def _windows(self, patches: Array) -> Array:
        """For each output row the patches of its pixels, (oh, kh*kw*C, ow*N), a view."""
        return row_windows(patches, self.rows.size, self.rows.stride)[: self.height]

    def _patches(self, x: Array, ctx: Context) -> Array:
        """(H, C, W, N) -> (H + padding, kw, C, ow, N): the rows, shifted to each column of the kernel."""
        rows, columns = self.rows, self.columns
        height, channels, _, samples = x.shape
        height += min(0, rows.after)
        if columns.size == columns.stride == 1 and rows.before == rows.after == columns.before == columns.after == 0:
            return x[:, None]
        padded = rows.before + height + max(0, rows.after)
        patches = ctx.empty((padded, columns.size, channels, self.width, samples))
        if padded > height:
            patches[: rows.before] = 0
            patches[rows.before + height :] = 0
        for j, (positions, pixels) in enumerate(self.across):
            shifted = patches[rows.before : rows.before + height, j]
            if positions.stop - positions.start < self.width:
                shifted[:, :, : positions.start] = 0
                shifted[:, :, positions.stop :] = 0
            shifted[:, :, positions] = x[:height, :, pixels]
        return patches

    def _transposed(self, padded_dy: Array, ctx: Context) -> Array:
        """dx for stride 1: a convolution of dy with the kernel turned around, (H, C, W, N).

        Products for each kernel column first, then their shifted sum: the products are C * kw rows for each row of
        dy, where copying shifted patches as in the forward pass would take filters * kw.
        """
        rows, columns = self.rows, self.columns
        weight, samples = self.conv.params["weight"], padded_dy.shape[-1]
        filters, channels = weight.shape[:2]
        matrix = np.ascontiguousarray(weight[:, :, ::-1].transpose(3, 1, 2, 0)).reshape(-1, rows.size * filters)
        windows = row_windows(padded_dy, rows.size)[rows.before : rows.before + rows.length]
        shape = (rows.length, columns.size, channels, self.width, samples)
        whole = columns.size == columns.stride == 1 and columns.before == 0 and self.width == columns.length
        parts = (ctx.empty if whole else ctx.scratch)(shape)
        np.matmul(matrix, windows, out=parts.reshape(rows.length, columns.size * channels, -1))
        if whole:
            return parts[:, 0]
        dx = ctx.empty((rows.length, channels, columns.length, samples))
        dx[...] = 0
        for j, (positions, pixels) in enumerate(self.across):
            target = dx[:, :, pixels]
            np.add(target, parts[:, j][:, :, positions], out=target)
        return dx

    def _scattered(self, dy: Array, samples: int, ctx: Context) -> Array:
        """dx for larger strides: the gradient of every patch, added back to where the patch came from."""
        rows, columns = self.rows, self.columns
        weight = self.conv.params["weight"]
        filters, channels = weight.shape[:2]
        matrix = np.ascontiguousarray(weight.transpose(2, 3, 1, 0)).reshape(-1, filters)
        parts = ctx.scratch((len(dy), rows.size, columns.size, channels, self.width, samples))
        np.matmul(matrix, dy, out=parts.reshape(len(dy), len(matrix), -1))
        dx = ctx.empty((rows.length, channels, columns.length, samples))
        dx[...] = 0
        for i, (positions, pixels) in enumerate(self.down):
            for j, (across, along) in enumerate(self.across):
                dx[pixels, :, along] += parts[positions, i, j][:, :, across]
        return dx

    def _matrix(self) -> Array:
        """The weights in the order of the patches: (filters, kh*kw*C)."""
        weight = self.conv.params["weight"]
        return np.ascontiguousarray(weight.transpose(0, 2, 3, 1)).reshape(len(weight), -1)

    def _canonical(self, matrix: Array) -> Array:
        """(filters, kh*kw*C) -> (filters, C, kh, kw)."""
        filters, channels, height, width = self.conv.params["weight"].shape
        return matrix.reshape(filters, height, width, channels).transpose(0, 3, 1, 2)


def _trimmed(axis: Axis, pool: int) -> Axis:
    """The axis without the positions at its end that fill no pooling window: nobody looks at them."""
    return replace(axis, after=axis.after - axis.positions % pool * axis.stride)


def meeting(axis: Axis, k: int) -> tuple[slice, slice]:
    """The window positions whose element `k` lies inside the image, and the pixels that it meets there."""
    offset = k * axis.dilation - axis.before
    first = max(0, -(offset // axis.stride)) if offset < 0 else 0
    last = min(axis.positions, (axis.length - 1 - offset) // axis.stride + 1)
    if last <= first:
        return slice(0, 0), slice(0, 0)
    start = first * axis.stride + offset
    return slice(first, last), slice(start, start + (last - first - 1) * axis.stride + 1, axis.stride)
