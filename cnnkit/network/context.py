"""What the engine gives to a layer during a call: reused memory, keyed random numbers, and the batch's totals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cnnkit.network.keys import keyed_rng
from cnnkit.types import Array, Shape

NONE = np.empty(0)


class Pool:
    """Memory that is handed out again, in the same order, after each `reset`: pages are faulted in only once."""

    def __init__(self, dtype: Any) -> None:
        self._dtype = np.dtype(dtype)
        self._blocks: list[Array] = []
        self._views: list[Array] = []
        """Of each block the part that was handed out last, as it was: the next tile mostly wants the same."""
        self._next = 0

    def reset(self) -> None:
        """Take everything back; arrays handed out before are overwritten from now on."""
        self._next = 0

    def empty(self, shape: Shape) -> Array:
        """Uninitialised memory of this shape in C order."""
        place = self._next
        self._next += 1
        if place < len(self._views) and self._views[place].shape == shape:
            return self._views[place]
        size = math.prod(shape)
        if place == len(self._blocks):
            self._blocks.append(np.empty(size, self._dtype))
            self._views.append(self._blocks[place])
        elif self._blocks[place].size < size:
            self._blocks[place] = np.empty(size, self._dtype)
        self._views[place] = self._blocks[place][:size].reshape(shape)
        return self._views[place]


class Workspace:
    """The memory of one tile: what lives until the tile is done, and what lives for one call."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.raw: Array = NONE
        """A tile's samples as the dataset has them."""
        self.tile, self.tile_bits = Pool(dtype), Pool(np.bool_)
        self.call, self.call_bits = Pool(dtype), Pool(np.bool_)

    def gather(self, x: Array, positions: Array) -> Array:
        """x[positions], in memory that is used again for the next tile."""
        if self.raw.dtype != x.dtype or self.raw.shape[1:] != x.shape[1:] or len(self.raw) < len(positions):
            self.raw = np.empty((len(positions), *x.shape[1:]), x.dtype)
        # "clip" writes straight into `out`; the positions are those of samples, nothing is clipped.
        return np.take(x, positions, axis=0, out=self.raw[: len(positions)], mode="clip")

    def start_tile(self) -> None:
        """Take everything back."""
        self.tile.reset()
        self.tile_bits.reset()

    def start_call(self) -> None:
        """Take back what lives for one call."""
        self.call.reset()
        self.call_bits.reset()


class TileContext:
    """The context of one tile's way through the network; see `cnnkit.types.Context`."""

    _rng: np.random.Generator | None

    def __init__(self, workspace: Workspace, training: bool, key: tuple[int, ...]) -> None:
        self.training = training
        self.total = NONE
        self.partial = NONE
        self._node, self._rng = 0, None
        self._workspace = workspace
        self._key = key
        workspace.start_tile()

    def enter(self, node: int) -> None:
        """A call of the node with this index begins: what earlier calls took for themselves is free again."""
        self._node, self._rng = node, None
        self._workspace.start_call()

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers that depend on nothing but seed, epoch, step, tile and node."""
        if self._rng is None:
            self._rng = keyed_rng("layers", *self._key, self._node)
        return self._rng

    def empty(self, shape: Shape) -> Array:
        """Uninitialised memory from the workspace, in C order."""
        return self._workspace.tile.empty(shape)

    def empty_bits(self, shape: Shape) -> Array:
        """As `empty`, of bool."""
        return self._workspace.tile_bits.empty(shape)

    def scratch(self, shape: Shape) -> Array:
        """As `empty`, but valid only until the call returns, so that a cache keeps it."""
        return self._workspace.call.empty(shape)

    def scratch_bits(self, shape: Shape) -> Array:
        """As `scratch`, of bool."""
        return self._workspace.call_bits.empty(shape)

    def empty_like(self, x: Array) -> Array:
        """Uninitialised memory from the workspace with the shape and axis order of `x`."""
        if x.flags.c_contiguous:
            return self._workspace.tile.empty(x.shape)
        order = sorted(range(x.ndim), key=lambda axis: -x.strides[axis])
        memory = self._workspace.tile.empty(tuple(x.shape[axis] for axis in order))
        return memory.transpose([order.index(axis) for axis in range(x.ndim)])
