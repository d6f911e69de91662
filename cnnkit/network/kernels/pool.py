"""Maximum pooling of rows-first images, with the winners kept as bits instead of the images."""

from __future__ import annotations

import numpy as np

from cnnkit.types import Array, Context

Taken = tuple[list[Array], list[Array]]
"""For each further element of a row, and then of a column, where the ones before it were at least as large."""


def max_pool(x: Array, size: int, ctx: Context) -> tuple[Array, Taken]:
    """Windows of size x size, side by side; equals MaxPool2D(size), first of equal maxima included.

    x: (H, C, W, N), H and W multiples of size -> (H / size, C, W / size, N). Along the rows first: of equal numbers
    the left one wins in a row, and then the upper row wins, which is the window's own order.
    """
    y, taken_columns = _fold([x[:, :, j::size] for j in range(size)], ctx)
    y, taken_rows = _fold([y[i::size] for i in range(size)], ctx)
    return y, (taken_columns, taken_rows)


def max_unpool(dy: Array, taken: Taken, size: int, dx: Array, ctx: Context) -> None:
    """Fill dx, (H, C, W, N), with dy where the maxima were taken and 0 elsewhere."""
    taken_columns, taken_rows = taken
    between = ctx.scratch((len(dx), *dy.shape[1:]))
    _unfold(dy, taken_rows, [between[i::size] for i in range(size)], ctx)
    _unfold(between, taken_columns, [dx[:, :, j::size] for j in range(size)], ctx)


def _fold(parts: list[Array], ctx: Context) -> tuple[Array, list[Array]]:
    """max(parts), and in training for each part but the first whether those before it won."""
    largest, taken = parts[0], []
    y = ctx.empty(parts[0].shape)
    for part in parts[1:]:
        if ctx.training:
            taken.append(np.greater_equal(largest, part, out=ctx.empty_bits(y.shape)))
        largest = np.maximum(largest, part, out=y)
    return largest, taken


def _unfold(dy: Array, taken: list[Array], parts: list[Array], ctx: Context) -> None:
    """Hand dy to the part that won: from the last part to the first, each time splitting off the loser's share."""
    rest = dy
    for k in range(len(parts) - 1, 0, -1):
        before = parts[0] if k == 1 else ctx.scratch(dy.shape)
        np.multiply(rest, taken[k - 1], out=before)
        np.subtract(rest, before, out=parts[k])
        rest = before
