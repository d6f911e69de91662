"""Which network a layer belongs to: building it for another one would take its parameters away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from weakref import WeakValueDictionary

from cnnkit.components import Layer, Merge
from cnnkit.errors import ConfigError
from cnnkit.network.graph.node import Node


class HasNodes(Protocol):
    """A network."""

    nodes: list[Node]


_owners: WeakValueDictionary[int, HasNodes] = WeakValueDictionary()
"""Which network a layer belongs to, by the layer's id."""


def own(network: HasNodes, nodes: Sequence[Node]) -> None:
    """From now on the layers of these nodes belong to the network."""
    for node in nodes:
        _owners[id(node.layer)] = network


def refuse_owned(layers: Sequence[Layer | Merge]) -> None:
    """Building a layer gives it new parameters: another network must not lose its own by that."""
    for layer in layers:
        for branch in layer.branches:
            refuse_owned(branch)
        owner = _owners.get(id(layer))
        if owner is not None and any(node.layer is layer for node in owner.nodes):
            raise ConfigError(
                f"{layer!r} belongs to another network, which would lose its parameters: pass that network as weights, "
                'as in Sequential([*old.layers[:-1], "Dense(3)"], weights=old), which copies its layers and takes '
                "their weights over; for new weights, give the layer's expression"
            )
