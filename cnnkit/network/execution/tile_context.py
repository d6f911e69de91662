"""What the engine gives to a layer during a call: reused memory, keyed random numbers, and the batch's totals."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from cnnkit.network.execution.memory_plan import Memory
from cnnkit.network.graph.keyed_random import keyed_rng
from cnnkit.network.kernels.layout import memory_order
from cnnkit.types import Array, Inputs, Shape

NONE = np.empty(0)
BITS = np.dtype(np.bool_)


class Workspace:
    """The memory of one tile."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.memory = Memory()
        self.raw: Array = NONE
        """A tile's samples as the dataset has them."""

    def gather(self, x: Inputs, positions: Array) -> Array:
        """x[positions], in memory that is used again for the next tile."""
        if self.raw.dtype != x.dtype or self.raw.shape[1:] != x.shape[1:] or len(self.raw) < len(positions):
            self.raw = np.empty((len(positions), *x.shape[1:]), x.dtype)
        out = self.raw[: len(positions)]
        if not isinstance(x, np.ndarray):
            return x.read(positions, out)
        # "clip" writes straight into `out`; the positions are those of samples, nothing is clipped.
        return np.take(x, positions, axis=0, out=out, mode="clip")


class TileContext:
    """The context of one tile's way through the network; see `cnnkit.types.Context`."""

    _rng: np.random.Generator | None

    def __init__(self, workspace: Workspace, training: bool, key: tuple[int, ...], kind: Hashable = 0) -> None:
        """kind: of the pass, such as its number of samples; those of one kind ask for the same memory."""
        self.training = training
        self.total = NONE
        self.partial = NONE
        self.gradients: dict[str, Array] = {}
        """Where the gradients of the layer's parameters are kept, by name; set before its backward pass."""
        self._node, self._rng = 0, None
        self._memory, self._dtype = workspace.memory, workspace.dtype
        self._key = key
        self._memory.start((training, kind))

    def enter(self, node: int) -> None:
        """A call of the node with this index begins."""
        self._node, self._rng = node, None

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers that depend on nothing but seed, epoch, step, tile and node."""
        if self._rng is None:
            self._rng = keyed_rng("layers", *self._key, self._node)
        return self._rng

    def empty(self, shape: Shape) -> Array:
        """Uninitialised memory from the workspace, in C order; it is reused when nobody refers to it any more."""
        return self._memory.empty(shape, self._dtype)

    def empty_bits(self, shape: Shape) -> Array:
        """As `empty`, of bool."""
        return self._memory.empty(shape, BITS)

    def gradient(self, name: str, shape: Shape) -> Array:
        """Where the gradient of this parameter is kept, or memory from the workspace outside the engine."""
        kept = self.gradients.get(name)
        return self.empty(shape) if kept is None or kept.shape != shape else kept

    def empty_like(self, x: Array) -> Array:
        """Uninitialised memory from the workspace with the shape and axis order of `x`."""
        if x.flags.c_contiguous:
            return self._memory.empty(x.shape, self._dtype)
        order = memory_order(x)
        memory = self._memory.empty(tuple(x.shape[axis] for axis in order), self._dtype)
        return memory.transpose([order.index(axis) for axis in range(x.ndim)])
