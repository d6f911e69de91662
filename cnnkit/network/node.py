"""From nested layers to one flat list of nodes: what runs, what is exported and what `summary` prints."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cnnkit.components import Layer, Merge
from cnnkit.components.declared import layer_cost
from cnnkit.errors import CnnkitError, ConfigError, ShapeError
from cnnkit.network.keys import keyed_rng
from cnnkit.network.limit import Limit
from cnnkit.types import LayerCost, Shape

INPUT = -1
"""The index that stands for the network's input."""


@dataclass(frozen=True)
class Node:
    """One step of a network: a layer with its inputs, or a merge with the ends of its branches."""

    index: int
    name: str
    layer: Layer | Merge
    inputs: tuple[int, ...]
    """Indices of the nodes whose outputs it takes; INPUT is the network's input."""
    in_shapes: tuple[Shape, ...]
    out_shape: Shape
    """Shapes have no batch axis."""

    @property
    def cost(self) -> LayerCost | None:
        """What its layer says that a forward pass costs for one sample; None if it does not say."""
        return layer_cost(self.layer, self.in_shapes, self.out_shape)

    def __str__(self) -> str:
        return f"layer {self.name} = {self.layer!r}"


def flatten(layers: Sequence[Layer | Merge], input_shape: Shape, seed: int, limit: int | None = None) -> list[Node]:
    """Build all layers for inputs of this shape and list them in the order in which they run.

    A layer's initial parameters depend on the seed and on its place alone. limit: how many numbers all parameters and
    buffers may have together, more is refused before it takes memory; None for any. Raises ShapeError, or what a
    layer's `build` raises, naming the layer and the shape that it was given.
    """
    builder = _Builder(input_shape, seed, None if limit is None else Limit(limit))
    builder.chain(layers, INPUT)
    if not builder.nodes:
        raise ConfigError("a network needs at least one layer, got an empty list")
    return builder.nodes


class _Builder:
    def __init__(self, input_shape: Shape, seed: int, limit: Limit | None) -> None:
        self.input_shape = input_shape
        self.seed = seed
        self.limit = limit
        self.nodes: list[Node] = []
        self._counts: Counter[str] = Counter()
        self._seen: set[int] = set()

    def chain(self, layers: Sequence[Layer | Merge], value: int) -> int:
        for layer in layers:
            value = self._merge(layer, value) if isinstance(layer, Merge) else self._layer(layer, value)
        return value

    def _layer(self, layer: Layer, value: int) -> int:
        index, name = len(self.nodes), self._name(layer)
        if id(layer) in self._seen:
            raise ConfigError(f"{layer!r} stands in the network twice as one object: make a layer for each place")
        self._seen.add(id(layer))
        in_shape = self._shape(value)
        layer.params, layer.buffers = {}, {}
        rng = keyed_rng("weights", self.seed, index)
        try:
            out_shape = self.limit.build(layer, in_shape, rng) if self.limit else layer.build(in_shape, rng)
        except CnnkitError as error:
            error.args = (f"layer {name} = {layer!r}, after {self._before(value)}: {error}",)
            raise
        except MemoryError:
            raise ConfigError(
                f"layer {name} = {layer!r}, after {self._before(value)}: it needs too much memory"
            ) from None
        except Exception as error:
            error.add_note(f"in build of layer {name} = {layer!r}, after {self._before(value)}")
            raise
        return self._append(Node(index, name, layer, (value,), (in_shape,), tuple(out_shape)))

    def _merge(self, merge: Merge, value: int) -> int:
        ends = tuple(self.chain(branch, value) for branch in merge.branches)
        name = self._name(merge)
        in_shapes = tuple(self._shape(end) for end in ends)
        try:
            out_shape = merge.merge_shape(in_shapes)
        except CnnkitError as error:
            error.args = (f"layer {name} = {merge!r}, after {self._before(value)}: {error}",)
            raise
        except Exception as error:
            error.add_note(f"in merge_shape of layer {name} = {merge!r}, after {self._before(value)}")
            raise
        return self._append(Node(len(self.nodes), name, merge, ends, in_shapes, tuple(out_shape)))

    def _append(self, node: Node) -> int:
        if not node.out_shape or any(not isinstance(n, int) or n < 1 for n in node.out_shape):
            raise ShapeError(f"{node} gives outputs of shape {node.out_shape}: expected whole numbers above 0")
        self.nodes.append(node)
        return node.index

    def _shape(self, value: int) -> Shape:
        return self.input_shape if value == INPUT else self.nodes[value].out_shape

    def _before(self, value: int) -> str:
        origin = "the input" if value == INPUT else self.nodes[value].name
        return f"{origin} of shape {self._shape(value)}"

    def _name(self, layer: Layer | Merge) -> str:
        kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", type(layer).__name__).lower()
        self._counts[kind] += 1
        return f"{kind}_{self._counts[kind]}"
