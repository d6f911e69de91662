"""What a kernel sees of pixels-first images, as one matrix for each output pixel, a few output rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cnnkit.layers.window import Axis
from cnnkit.network.kernels.layout import blocks
from cnnkit.network.kernels.window_axes import inside, plain
from cnnkit.types import Array, Context

BLOCK_BYTES = 3 << 20
"""What the patches and products of a block may take: a few times a core's own cache. Less would be more calls."""


class Patches:
    """The patches under a kernel without dilation.

    The rows under the kernel are copied, kh times; what the kernel sees along a row is then a view: a third of the
    copies of a 3x3 kernel, and none at all where the kernel is one row high. They equal

        np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(0, 1)).transpose(0, 1, 5, 4, 2, 3)

    for strides of 1 and no padding, with the last four axes but the samples in one.
    """

    def __init__(self, rows: Axis, columns: Axis) -> None:
        self.rows, self.columns = rows, columns
        self._viewed = rows.size == 1 and plain(rows) and plain(columns)
        self._width = (columns.positions - 1) * columns.stride + columns.size
        """Of the padded image."""
        self._across, self._pixels = inside(columns, -columns.before, self._width)

    def over(self, x: Array, ctx: Context, beside: int = 0, step: int = 1) -> Iterator[tuple[slice, Array]]:
        """Slices of the output's rows with their patches, in memory that each overwrites.

        x: (H, W, C, N) -> (count, ow, kw*kh*C, N); beside: bytes that go with an output row; step: what `count` is a
        multiple of, but for the last ones.
        """
        size, channels, samples = self.rows.size, *x.shape[2:]
        of_a_row = self._width * size * channels * samples * x.itemsize
        parts = blocks(self.rows.positions, of_a_row + beside, BLOCK_BYTES, step)
        memory = None if self._viewed else ctx.empty((parts[0].stop, self._width, size, channels, samples))
        for block in parts:
            if memory is None:
                yield block, self._windows(x, block, self.rows.stride)
            else:
                count = block.stop - block.start
                self._fill(memory[:count], x, block.start)
                yield block, self._windows(memory, slice(0, count), 1)

    def _fill(self, patches: Array, x: Array, first: int) -> None:
        """Copy what output rows from `first` on see: (count, columns, kh, C, N)."""
        count, stride = len(patches), self.rows.stride
        if self._across.start:
            patches[:, : self._across.start] = 0
        if self._across.stop < self._width:
            patches[:, self._across.stop :] = 0
        for i in range(self.rows.size):
            down, lines = inside(self.rows, first * stride + i - self.rows.before, count, stride)
            if down.start:
                patches[: down.start, self._across, i] = 0
            if down.stop < count:
                patches[down.stop :, self._across, i] = 0
            patches[down, self._across, i] = x[lines, self._pixels]

    def _windows(self, memory: Array, block: slice, stride: int) -> Array:
        """What the kernel sees along the rows, as one matrix for each output pixel, without copying.

        memory: patches (count, columns, kh, C, N), or for a kernel one row high x itself, (H, W, C, N), contiguous;
        stride: of the block's rows in it -> (count, ow, kw*kh*C, N); the matrices of a row may overlap.
        """
        line = memory.shape[-1]
        pixel = memory[0, 0].size
        row = memory.shape[1] * pixel
        offset = block.start * stride * row
        if self._viewed:
            offset -= self.rows.before * row + self.columns.before * pixel
        shape = (block.stop - block.start, self.columns.positions, self.columns.size * pixel // line, line)
        strides = (stride * row, self.columns.stride * pixel, line, 1)
        item = memory.itemsize
        return np.ndarray(shape, memory.dtype, memory, offset * item, tuple(n * item for n in strides))
