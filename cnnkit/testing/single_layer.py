"""A network of one layer, to see what becomes of it on the way through the product."""

from __future__ import annotations

from cnnkit.components import Layer, Merge
from cnnkit.network import Graph, Network, Sequential
from cnnkit.network.graph.building import INPUT_NAME
from cnnkit.types import Shape, Task


def alone(layer: Layer | Merge, in_shape: Shape) -> Network:
    """The layer alone, for values; a merge without branches joins the network's input and what ReLU makes of it."""
    task = Task("values")
    if isinstance(layer, Merge) and not layer.branches:
        return Graph({"other": "ReLU()", "joined": (layer, [INPUT_NAME, "other"])}, in_shape, task=task)
    return Sequential([layer], in_shape, task=task)
