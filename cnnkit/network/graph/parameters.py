"""All parameters of a network in one flat vector, with a view for each layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.components.weight_contracts import is_one_zero
from cnnkit.errors import ComponentError
from cnnkit.network.graph.node import Node, owners
from cnnkit.types import Array, Shape

Span = tuple[int, int]
"""Where a parameter begins and ends in the flat vector."""


@dataclass(frozen=True)
class Entry:
    """Where one parameter lies in the flat vector."""

    node: int
    name: str
    start: int
    stop: int
    shape: Shape

    @property
    def span(self) -> Span:
        """Where it begins and ends."""
        return self.start, self.stop


class Parameters:
    """Moves the parameters of all layers into one vector, so that an optimizer step is a few calls over one array.

    Each layer's `params` become views of the vector; buffers are cast to the same dtype and stay where they are. Nodes
    that share a layer share its parameters.
    """

    def __init__(self, nodes: Iterable[Node], dtype: np.dtype[Any]) -> None:
        self.entries: list[Entry] = []
        pieces: list[tuple[Node, Layer | Merge, str, Array]] = []
        start = 0
        nodes = list(nodes)
        for node in owners(nodes):
            for name, value in node.layer.params.items():
                self.entries.append(Entry(node.index, name, start, start + value.size, value.shape))
                pieces.append((node, node.layer, name, value))
                start += value.size
            node.layer.buffers = {name: np.array(value, dtype) for name, value in node.layer.buffers.items()}
        self.vector: Array = np.zeros(start, dtype)  # the system gives memory only to what is written
        self._places = [(node, layer) for node, layer, _, _ in pieces]
        self._by_node: dict[int, list[Entry]] = {}
        for entry, (_, _, _, value) in zip(self.entries, pieces, strict=True):
            if not is_one_zero(value):  # as the weights are of a network that awaits those of a file
                self.view(self.vector, entry)[...] = value
            self._by_node.setdefault(entry.node, []).append(entry)
        owner = {id(node.layer): node.index for node in reversed(nodes)}
        last = {id(node.layer): node.index for node in nodes}
        self._owner = {node.index: owner[id(node.layer)] for node in nodes}
        self._adding = {node.index for node in nodes if last[id(node.layer)] != node.index}
        self._settle(self.vector)

    def move_to(self, vector: Array) -> None:
        """Let the parameters live in another vector of the same length; their values are kept."""
        vector[...] = self.vector
        self._settle(vector)

    def _settle(self, vector: Array) -> None:
        self.vector = vector
        self._views = [self.view(vector, entry) for entry in self.entries]
        for entry, (_, layer), view in zip(self.entries, self._places, self._views, strict=True):
            layer.params[entry.name] = view

    def require_in_place(self) -> None:
        """Raises ComponentError if a layer has another array than the one that is trained."""
        for entry, (node, layer), view in zip(self.entries, self._places, self._views, strict=True):
            if layer.params.get(entry.name) is not view:
                raise ComponentError(
                    f"{node}: params[{entry.name!r}] is not the trained array, but one that replaced it: change it in "
                    f"place, params[{entry.name!r}][...] = new"
                )

    def are_in_place(self) -> bool:
        """Whether all layers have the arrays that are trained, as `require_in_place` wants them."""
        return all(
            layer.params.get(entry.name) is view
            for entry, (_, layer), view in zip(self.entries, self._places, self._views, strict=True)
        )

    def of_node(self, index: int) -> list[Entry]:
        """The entries of one node's parameters, in their order."""
        return self._by_node.get(self._owner.get(index, index), [])

    def adds(self, index: int) -> bool:
        """Whether the gradients of a node are added to those of one that shares its parameters, and runs after it."""
        return index in self._adding

    @staticmethod
    def view(vector: Array, entry: Entry) -> Array:
        """The part of a vector laid out like the parameters that belongs to one of them, in its shape."""
        return vector[entry.start : entry.stop].reshape(entry.shape)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)
