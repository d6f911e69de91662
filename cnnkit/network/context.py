"""What the engine gives to a layer during a call: reused memory, keyed random numbers, and the batch's totals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cnnkit.types import Array, Shape

NONE = np.empty(0)


class Workspace:
    """Memory that is handed out again, in the same order, for every tile: pages are faulted in only once."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._blocks: list[Array] = []
        self._next = 0

    def reset(self) -> None:
        """Take everything back; arrays handed out before are overwritten from now on."""
        self._next = 0

    def empty(self, shape: Shape) -> Array:
        """Uninitialised memory of this shape in C order."""
        size = math.prod(shape)
        if self._next == len(self._blocks):
            self._blocks.append(np.empty(size, self._dtype))
        elif self._blocks[self._next].size < size:
            self._blocks[self._next] = np.empty(size, self._dtype)
        block = self._blocks[self._next]
        self._next += 1
        return block[:size].reshape(shape)


class TileContext:
    """The context of one tile's way through the network; see `cnnkit.types.Context`."""

    def __init__(self, workspace: Workspace, training: bool, key: tuple[int, ...]) -> None:
        self.training = training
        self.total = NONE
        self.partial = NONE
        self.node = 0
        """Index of the node that is being called."""
        self._workspace = workspace
        self._key = key

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers that depend on nothing but seed, epoch, step, tile and node."""
        return np.random.default_rng((*self._key, self.node))

    def empty(self, shape: Shape) -> Array:
        """Uninitialised memory from the workspace, in C order."""
        return self._workspace.empty(shape)

    def empty_like(self, x: Array) -> Array:
        """Uninitialised memory from the workspace with the shape and axis order of `x`."""
        if x.flags.c_contiguous:
            return self._workspace.empty(x.shape)
        order = sorted(range(x.ndim), key=lambda axis: -x.strides[axis])
        memory = self._workspace.empty(tuple(x.shape[axis] for axis in order))
        return memory.transpose([order.index(axis) for axis in range(x.ndim)])
