"""From nested layers, or a graph of them, to one flat list of nodes: what runs, is exported and `summary` prints."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.components.declared import layer_cost
from cnnkit.errors import CnnkitError, ComponentError, ConfigError, ShapeError
from cnnkit.network.graph.keyed_random import keyed_rng
from cnnkit.network.graph.parameter_limit import Building
from cnnkit.network.graph.uneven_sizes import uneven_sizes
from cnnkit.types import LayerCost, Shape

MAX_OUTPUT_NUMBERS = 10**100
"""Numbers of an output for one sample: sums of more could not be told, and fewer are refused by what they cost."""
SHOWN = 5
"""Inputs of a merge in a message."""
UNUSED = np.random.default_rng(0)
"""For layers that draw nothing; to make one takes longer than to build such a layer."""
TOO_LARGE = ("array is too big", "Maximum allowed")
"""How NumPy's ValueErrors begin for arrays that no memory could hold."""
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

    @functools.cached_property
    def cost(self) -> LayerCost | None:
        """What its layer says that a forward pass costs for one sample; None if it does not say."""
        return layer_cost(self.layer, self.in_shapes, self.out_shape)

    def __str__(self) -> str:
        return f"layer {self.name} = {self.layer!r}"


def flatten(layers: Sequence[Layer | Merge], input_shape: Shape, seed: int, building: Building) -> list[Node]:
    """Build all layers for inputs of this shape and list them in the order in which they run.

    A layer's initial parameters depend on the seed and on its place alone. building: within which limit.
    Raises ShapeError, or what a layer's `build` raises, naming the layer and the shape that it was given.
    """
    builder = Builder(input_shape, seed, building)
    builder.chain(layers, INPUT)
    if not builder.nodes:
        raise ConfigError("a network needs at least one layer, got an empty list")
    return builder.nodes


def owners(nodes: Sequence[Node]) -> list[Node]:
    """The nodes without those that share the layer of one before them."""
    first = {id(node.layer): node for node in reversed(nodes)}
    return [node for node in nodes if first[id(node.layer)] is node]


class Builder:
    """Builds layers one after the other, and lists their nodes.

    The values between them are indices of nodes, INPUT for the network's input.
    """

    def __init__(self, input_shape: Shape, seed: int, building: Building) -> None:
        self.input_shape = input_shape
        self.seed = seed
        self.building = building
        self.nodes: list[Node] = []
        self._counts: Counter[str] = Counter()
        self._built: dict[int, Node] = {}
        """By the layer's id, where it was built."""

    def chain(self, layers: Sequence[Layer | Merge], value: int) -> int:
        """Layers that each take the output of the one before; the first takes `value`. The index of the last."""
        for layer in layers:
            value = self.split(layer, value) if isinstance(layer, Merge) else self.layer(layer, value)
        return value

    def layer(self, layer: Layer, value: int, name: str = "") -> int:
        """The index of a node with this layer, which takes `value`. name: "" for one that is made from the class."""
        index, name = len(self.nodes), name or self._name(layer)
        if id(layer) in self._built:
            raise ConfigError(
                f"layer {name} = {layer!r} is already used in the network, as {self._built[id(layer)].name}: create "
                "a separate layer for each place; only nodes of a graph share a layer, not the branches of a merge"
            )
        in_shape = self._shape(value)
        layer.params, layer.buffers = {}, {}
        draws = type(layer).build is not Layer.build
        rng = keyed_rng("weights", self.seed, index) if draws else UNUSED
        try:
            out_shape = self.building.build(layer, in_shape, rng)
        except CnnkitError as error:
            error.args = (f"layer {name} = {layer!r}, after {self._before(value)}: {error}",)
            raise
        except Exception as error:
            if isinstance(error, MemoryError) or str(error).startswith(TOO_LARGE):
                raise ConfigError(
                    f"layer {name} = {layer!r}, after {self._before(value)}: it needs too much memory"
                ) from None
            error.add_note(f"in build of layer {name} = {layer!r}, after {self._before(value)}")
            raise
        self._built[id(layer)] = node = Node(index, name, layer, (value,), (in_shape,), tuple(out_shape))
        return self._append(node)

    def again(self, layer: Layer, value: int, name: str) -> int:
        """The index of a node with a layer that stands in the network already, and shares its parameters here.

        Raises ShapeError for an input of another shape than it was built for.
        """
        first, in_shape = self._built[id(layer)], self._shape(value)
        if in_shape != first.in_shapes[0]:
            raise ShapeError(
                f"layer {name} = {layer!r} shares the parameters of {first.name}, which takes inputs of shape "
                f"{first.in_shapes[0]}; {self._before(value)} does not fit"
            )
        return self._append(Node(len(self.nodes), name, layer, (value,), (in_shape,), first.out_shape))

    def split(self, merge: Merge, value: int, name: str = "") -> int:
        """The index of a node that joins the branches of a merge, which all begin at `value`."""
        ends = tuple(self.chain(branch, value) for branch in merge.branches)
        return self.join(merge, ends, name, f"after {self._before(value)}")

    def join(self, merge: Merge, ends: Sequence[int], name: str = "", where: str = "") -> int:
        """The index of a node that joins these values. where: of the network it is, for messages."""
        name = name or self._name(merge)
        in_shapes = tuple(self._shape(end) for end in ends)
        if merge.params or merge.buffers:
            raise ComponentError(
                f"layer {name} = {merge!r} has arrays of its own, and a merge joins values without any: put them into "
                "a layer"
            )
        try:
            out_shape = merge.merge_shape(in_shapes)
        except CnnkitError as error:
            told = uneven_sizes(self.nodes, in_shapes) or error
            error.args = (f"layer {name} = {merge!r}, {where or self._joined(ends)}: {told}",)
            raise
        except Exception as error:
            error.add_note(f"in merge_shape of layer {name} = {merge!r}, {where or self._joined(ends)}")
            raise
        if not ends:
            raise ShapeError(f"layer {name} = {merge!r} joins no values: name them in a graph")
        return self._append(Node(len(self.nodes), name, merge, tuple(ends), in_shapes, tuple(out_shape)))

    def _append(self, node: Node) -> int:
        if not node.out_shape or any(not isinstance(n, int) or n < 1 for n in node.out_shape):
            raise ShapeError(f"{node} gives outputs of shape {node.out_shape}: expected whole numbers above 0")
        if math.prod(node.out_shape) > MAX_OUTPUT_NUMBERS:
            raise ShapeError(
                f"layer {node.name}, a {type(node.layer).__name__}, gives more than 10^100 numbers for each sample"
            )
        self.nodes.append(node)
        return node.index

    def _shape(self, value: int) -> Shape:
        return self.input_shape if value == INPUT else self.nodes[value].out_shape

    def _joined(self, ends: Sequence[int]) -> str:
        shown = " and ".join(map(self._before, ends[:SHOWN]))
        return f"of {shown}{f' and {len(ends) - SHOWN:,} more' if len(ends) > SHOWN else ''}"

    def _before(self, value: int) -> str:
        origin = "the input" if value == INPUT else self.nodes[value].name
        return f"{origin} of shape {self._shape(value)}"

    def _name(self, layer: Layer | Merge) -> str:
        kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", type(layer).__name__).lower()
        self._counts[kind] += 1
        return f"{kind}_{self._counts[kind]}"
