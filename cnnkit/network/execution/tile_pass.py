"""A tile's way through a network in training: a generator that stops where tiles wait for each other.

It runs without a stop unless a layer is coupled over the batch: there it yields its partial sum and is sent the total
of all tiles. A loss that is coupled stops it between forward and backward: it yields its outputs and targets, and is
sent those of the whole batch. Who runs the generators is the session's business.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any, Literal, cast

import numpy as np

from cnnkit.network.execution.objective import Sums
from cnnkit.types import Array

BUFFER = 512
"""Numbers in NumPy's buffer. Where operands are not contiguous as a whole, NumPy copies their runs into it if they are
shorter than that, although each run could be worked on where it lies: with 8192, the default, at half the speed."""

TilePass = Generator[Array, Array, Sums]
"""Yields partials, is sent totals, ends with the tile's sums."""


def to_stop(tile: TilePass, total: Array | None) -> Array:
    """Take a tile to its next stop and return its partial there; total: of the stop before, None before the first."""
    with Arithmetic(over="ignore", invalid="ignore"):
        partial = tile.send(total)  # type: ignore[arg-type]  # a generator starts with None
    return np.asarray(partial, np.float64)


def to_end(tile: TilePass, total: Array | None) -> Sums:
    """Take a tile from its last stop to its end and return its sums; total: of the last stop, None if there is none."""
    try:
        with Arithmetic(over="ignore", invalid="ignore"):
            tile.send(total)  # type: ignore[arg-type]  # as above
    except StopIteration as end:
        return cast(Sums, end.value)
    raise RuntimeError("a tile stopped once more than there are layers that are coupled over the batch")


def alone(tile: TilePass, stops: int) -> tuple[Sums, list[Array]]:
    """Take a tile through as if it were the whole batch; its sums, and its partial at each stop."""
    partials: list[Array] = []
    for _ in range(stops):
        partials.append(to_stop(tile, partials[-1] if partials else None))
    return to_end(tile, partials[-1] if partials else None), partials


def side_by_side(outputs: Array, targets: Array) -> Array:
    """A row for each sample, (N, R) float64: its outputs, then its targets."""
    return np.concatenate([values.reshape(len(values), -1) for values in (outputs, targets)], 1, dtype=np.float64)


def taken_apart(rows: Array, outputs: Array, targets: Array) -> tuple[Array, Array]:
    """The outputs and targets in rows, in C order; outputs, targets: of some samples, for their shapes and dtypes.

    The rows are in another order where they come from shared memory, and products would round otherwise.
    """
    of_outputs, of_targets = np.split(rows, [math.prod(outputs.shape[1:])], axis=1)
    both = (of_outputs, outputs), (of_targets, targets)
    given, wanted = (part.reshape(len(rows), *like.shape[1:]).astype(like.dtype, "C") for part, like in both)
    return given, wanted


class Arithmetic:
    """`with Arithmetic():` is how NumPy computes inside a network; in training, the trainer reports what is not finite.

    A class, because a generator would take twice as long, in every prediction.
    """

    __slots__ = ("_errors",)

    def __init__(self, over: Literal["ignore"] | None = None, invalid: Literal["ignore"] | None = None) -> None:
        """over, invalid: as of `np.errstate`; None is as the caller has it."""
        self._errors = np.errstate(over=over, invalid=invalid)

    def __enter__(self) -> None:
        self._errors.__enter__()
        np.setbufsize(BUFFER)

    def __exit__(self, *error: Any) -> None:
        self._errors.__exit__(*error)  # takes the buffer's size back, too
