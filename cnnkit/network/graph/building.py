"""From named nodes with any number of inputs to one flat list of nodes, in an order in which they can run."""

from __future__ import annotations

import graphlib
import heapq
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from cnnkit.class_indices import listed
from cnnkit.components import Layer, Merge, installed_catalog
from cnnkit.components.expressions import Call
from cnnkit.errors import ConfigError
from cnnkit.network.graph.node import INPUT, Builder, Node
from cnnkit.network.graph.parameter_limit import Building
from cnnkit.types import Shape
from cnnkit.wording import did_you_mean

INPUT_NAME = "input"
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
COMPARED = 200
"""Names among which one like a name that is not there is looked for."""
NAMED = 10
"""Nodes of a cycle in a message."""
Given = Mapping[str, Any]
"""By its name what each node is: a layer or its expression, which takes the node before it, or such a layer with the
name of its input, or with a list of names."""


@dataclass(frozen=True)
class GraphNode:
    """One node of a graph: its name, its layer, and the names of the nodes whose outputs it takes."""

    name: str
    layer: Layer | Merge
    inputs: tuple[str, ...]
    """`INPUT_NAME` is the network's input."""
    shares: str = ""
    """The node whose layer this is, and whose parameters it shares; "" if the layer is its own."""

    def __str__(self) -> str:
        return f"node {self.name} = {self.layer!r}"


def outline(name: str, layer: str, inputs: Sequence[str], shares: str) -> str:
    """A node in one line, which tells everything that makes it: "b = ReLU() of a"."""
    return f"{name} = {f'the layer of {shares}' if shares else layer} of {', '.join(inputs)}"


def read_graph(given: Given, output: str | None = None) -> list[GraphNode]:
    """The nodes of a graph, each after those that it takes, in the given order where that is possible.

    One layer object in two places is one layer with one set of parameters. The output is the last. Raises ConfigError,
    naming the nodes, for names and inputs that cannot be, for a circle, and unless all are there for the output.
    """
    if not isinstance(given, Mapping) or not given:
        raise ConfigError(
            'expected the nodes of a graph by their names, such as {"a": "Conv2D(8, 3)", "b": ("ReLU()", "a")}, got '
            f"{given!r}"
        )
    nodes: list[GraphNode] = []
    for name, what in given.items():
        if not isinstance(name, str) or not NAME.fullmatch(name) or name == INPUT_NAME:
            raise ConfigError(
                f"a node cannot be named {name!r:.100}: expected a lower-case letter, then up to 63 more, digits or "
                f"'_', other than {INPUT_NAME!r}, which is the network's input"
            )
        layer, inputs = _layer_and_inputs(name, what, nodes[-1].name if nodes else INPUT_NAME)
        nodes.append(GraphNode(name, layer, inputs))
    return _ordered(nodes, output)


def build_graph(nodes: Sequence[GraphNode], input_shape: Shape, seed: int, building: Building) -> list[Node]:
    """Build all layers, which are in the order in which they run, and list their nodes.

    Layers in the branches of a merge become separate nodes, with the names that `Sequential` would give them.
    Raises ConfigError for a name that two nodes have, and what `flatten` raises.
    """
    builder = Builder(input_shape, seed, building)
    values = {INPUT_NAME: INPUT}
    for node in nodes:
        values[node.name] = _built(builder, node, [values[name] for name in node.inputs])
    counts = Counter(node.name for node in builder.nodes)
    if doubled := next((name for name, count in counts.items() if count > 1), ""):
        raise ConfigError(f"two nodes are named {doubled!r}, as a layer in the branches of a merge is: rename one")
    return builder.nodes


def _layer_and_inputs(name: str, what: Any, before: str) -> tuple[Layer | Merge, tuple[str, ...]]:
    layer, given = what if isinstance(what, tuple | list) and len(what) == 2 else (what, before)
    inputs = (given,) if isinstance(given, str) else given
    if not isinstance(inputs, tuple | list) or not inputs or not all(map(_is_name, inputs)):
        raise ConfigError(
            f"the node {name} takes {given!r:.100}: expected the name of a node, or a list of names, such as "
            f'("Add()", ["{INPUT_NAME}", "a"])'
        )
    if not isinstance(layer, str | Layer | Merge | Call):
        raise ConfigError(
            f'the node {name} is {layer!r}: expected a layer, or a layer with its input, such as ("ReLU()", "a")'
        )
    return cast(Layer | Merge, installed_catalog().build("layer", layer)), tuple(inputs)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _ordered(nodes: Sequence[GraphNode], output: str | None) -> list[GraphNode]:
    """Raises ConfigError for inputs that are missing, for a circle, and unless all are there for the output."""
    places = {node.name: place for place, node in enumerate(nodes)}
    for node in nodes:
        for name in node.inputs:
            if name not in places and name != INPUT_NAME:
                known = [INPUT_NAME, *places]
                hint = did_you_mean(name, known[:COMPARED], 1)
                others = f"; {hint}" if hint else f", only {listed(known)}"
                raise ConfigError(f"{node} takes {name!r}, but no node has that name{others}")
    sorter = graphlib.TopologicalSorter({n.name: [one for one in n.inputs if one != INPUT_NAME] for n in nodes})
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        raise ConfigError(f"the nodes {_cycle(error.args[1])} form a cycle: none of them can run first") from None
    ordered: list[GraphNode] = []
    ready: list[int] = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heapq.heappush(ready, places[name])
        ordered.append(nodes[heapq.heappop(ready)])
        sorter.done(ordered[-1].name)
    taken = {name for node in nodes for name in node.inputs}
    ends = [node.name for node in ordered if node.name not in taken]
    if output is None and len(ends) > 1:
        raise ConfigError(
            f"nothing takes the outputs of {listed(ends)}, but a network has one output: join them with Add() or "
            "Concat(), or remove unused nodes"
        )
    if output is not None and ends != [output]:
        if output not in places:
            raise ConfigError(f"the output is {output!r}, but no node has that name, only {listed([*places])}")
        unread = [name for name in ends if name != output]
        raise ConfigError(f"the output {output!r} does not need {listed(unread)}: remove unused nodes")
    return _with_owners(ordered)


def _cycle(names: Sequence[str]) -> str:
    return " -> ".join(names if len(names) <= NAMED else [*names[: NAMED - 1], "...", names[-1]])


def _with_owners(nodes: Sequence[GraphNode]) -> list[GraphNode]:
    """The nodes, with `shares` set where an earlier node has the same layer."""
    first: dict[int, str] = {}
    owners = [first.setdefault(id(node.layer), node.name) for node in nodes]
    return [
        node if owner == node.name else replace(node, shares=owner) for node, owner in zip(nodes, owners, strict=True)
    ]


def _built(builder: Builder, node: GraphNode, values: Sequence[int]) -> int:
    layer = node.layer
    if isinstance(layer, Merge) and not layer.branches:
        return builder.join(layer, values, node.name)
    if len(values) > 1:
        raise ConfigError(
            f"{node} takes {len(values):,} nodes, {listed(node.inputs)}, but needs one: join them with Add() or "
            "Concat()"
        )
    if isinstance(layer, Merge):
        return builder.split(layer, values[0], node.name)
    return builder.again(layer, values[0], node.name) if node.shares else builder.layer(layer, values[0], node.name)
