"""Nodes by their plain layers, in prediction, one call at a time: forward, and back with what forward kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from cnnkit.components.error_naming import Naming
from cnnkit.errors import ContractError
from cnnkit.network.execution.engine import FORWARD
from cnnkit.network.execution.operation import backward, forward, straight
from cnnkit.network.execution.plan import plain_steps
from cnnkit.network.execution.tile_context import TileContext, Workspace
from cnnkit.network.graph.node import Node
from cnnkit.types import Array, Cache, Grads


class PlainNodes:
    """The nodes of a network, each to be run for a tile by who needs what is between them."""

    def __init__(self, nodes: Sequence[Node], dtype: np.dtype[Any]) -> None:
        self.nodes = list(nodes)
        self.ctx = TileContext(Workspace(dtype), False, (), 1)
        self._steps = plain_steps(self.nodes)

    def forward(self, node: Node, inputs: Sequence[Array]) -> tuple[Array, Cache]:
        """What the node gives for its inputs, and what its backward pass needs."""
        self.ctx.enter(node.index)
        with Naming(node, FORWARD):
            return straight(forward(self._steps[node.index].operation, inputs, self.ctx))

    def backward(self, node: Node, dy: Array, cache: Cache) -> tuple[Sequence[Array], Grads]:
        """The gradients of the node's inputs and of its parameters."""
        self.ctx.enter(node.index)
        step = self._steps[node.index]
        dxs, grads = straight(backward(step.operation, dy, cache, self.ctx))
        step.check_gradients(dxs, len(dy))
        if any(dx is None for dx in dxs):
            raise ContractError("backward must return the gradient of each input, it gave None")
        return cast(Sequence[Array], dxs), grads
