"""Batch-coupled layers that a training does not move: parameter groups alone would let their statistics go on."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any, cast

import numpy as np

from cnnkit.components import BatchCoupledLayer, Layer
from cnnkit.components.declared import layer_cost
from cnnkit.network.graph.node import Node
from cnnkit.types import Array, Cache, Context, Grads, LayerCost, Shape


class Frozen(Layer):
    """A batch-coupled layer in a training that does not move it: it computes as in prediction.

    So its running statistics stay, and it normalises by them. Parameters and buffers are those of the layer itself.
    """

    def __init__(self, layer: BatchCoupledLayer) -> None:
        self.layer = layer
        self.params = layer.params

    @property
    def buffers(self) -> dict[str, Array]:
        """The layer's."""
        return self.layer.buffers

    @buffers.setter
    def buffers(self, given: dict[str, Array]) -> None:
        if "layer" in vars(self):  # a new object is given empty ones first
            self.layer.buffers = given

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return self.layer.forward(x, cast(Context, _Prediction(ctx)))

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        asked = _Prediction(ctx)
        like = cast(Context, asked)
        asked.partial = self.layer.backward_partial(dy, cache, like)
        asked.total = np.zeros_like(asked.partial)
        return self.layer.backward(dy, cache, like)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost | None:
        return layer_cost(self.layer, in_shapes, out_shape)


class _Prediction:
    """The context of a training, for a layer that computes as in prediction."""

    training = False
    total: Array = np.empty(0)
    partial: Array = np.empty(0)

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)


def with_frozen(nodes: Sequence[Node], indices: Collection[int]) -> list[Node]:
    """The nodes with those layers frozen that are coupled to the batch; others need nothing but `ParameterGroups`."""
    frozen = {id(node.layer) for node in nodes if node.index in indices}  # others may share them
    return [
        dataclasses.replace(node, layer=Frozen(node.layer))
        if id(node.layer) in frozen and isinstance(node.layer, BatchCoupledLayer)
        else node
        for node in nodes
    ]
