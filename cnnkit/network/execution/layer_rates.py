"""Layers that a training moves more slowly than others, or not at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from cnnkit.components import BatchCoupledLayer, Layer
from cnnkit.components.declared import layer_cost
from cnnkit.network.graph.node import Node
from cnnkit.network.graph.parameters import Parameters
from cnnkit.types import Array, Cache, Context, Grads, LayerCost, Shape


class LayerRates:
    """How much of each update of the optimizer some parameters follow.

        p = p + factor * (u(p) - p)      u: what the optimizer makes of the parameters p; with factor 0, p stays

    So it holds for any optimizer, with its weight decay and momentum. The gradient of a frozen layer is 0, for clipping
    as well.
    factors: by the index of the node, 0 or above; those of others are 1. Of nodes that share a layer, the lowest holds.
    """

    def __init__(self, parameters: Parameters, factors: Mapping[int, float]) -> None:
        lowest: dict[tuple[int, int], float] = {}
        for node, factor in factors.items():
            for entry in parameters.of_node(node):
                place = entry.start, entry.stop
                lowest[place] = min(factor, lowest.get(place, factor))
        self._slices = [(slice(*place), factor) for place, factor in lowest.items()]

    def zero_frozen(self, gradient: Array, part: slice) -> None:
        """Set the gradient of what is frozen to 0, in this part of the parameters."""
        for place, factor in self._slices:
            if factor == 0:
                gradient[_common(place, part)] = 0

    def apply(self, parameters: Array, part: slice, update: Callable[[], None]) -> None:
        """Let an update move this part of the parameters, and those with a factor by their factor of it."""
        places = [(_common(place, part), factor) for place, factor in self._slices]
        before = [parameters[place].copy() for place, _ in places]
        update()
        for (place, factor), old in zip(places, before, strict=True):
            moved = parameters[place]
            if factor == 0:
                moved[...] = old
            else:
                moved -= old
                moved *= factor
                moved += old


def _common(place: slice, part: slice) -> slice:
    start = max(place.start, part.start)
    return slice(start, max(start, min(place.stop, part.stop)))


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


def with_frozen(nodes: Sequence[Node], factors: Mapping[int, float]) -> list[Node]:
    """The nodes with those layers frozen that are coupled to the batch; others need nothing but `LayerRates`."""
    frozen = {id(node.layer) for node in nodes if factors.get(node.index) == 0}  # others may share them
    return [
        dataclasses.replace(node, layer=Frozen(node.layer))
        if id(node.layer) in frozen and isinstance(node.layer, BatchCoupledLayer)
        else node
        for node in nodes
    ]
