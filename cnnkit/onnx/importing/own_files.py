"""Files that cnnkit exported: their nodes say of which layer they are, and become that layer again.

What a file says is only believed where it fits: a layer that comes with cnnkit, which gives the shape that the nodes
give, and has parameters of the sizes that they hold. All else is translated as in any other file. That the layer
computes what the nodes do is part of the proof of the import.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from cnnkit.components import Layer, Merge, installed_catalog
from cnnkit.components.expressions import Call, parse
from cnnkit.components.plugin_metadata import BUILT_IN
from cnnkit.errors import CnnkitError
from cnnkit.layers import Add, Concat, Residual
from cnnkit.layers.reparametrised import innermost
from cnnkit.network import CLASSES
from cnnkit.network.graph.node import UNUSED
from cnnkit.network.graph.parameter_limit import SMALL, Limit
from cnnkit.onnx.importing.draft import Value
from cnnkit.onnx.importing.foreign_graph import Attribute, ForeignGraph, ForeignNode
from cnnkit.onnx.importing.operators import translates
from cnnkit.onnx.importing.step import Step
from cnnkit.onnx.outputs import LOGITS, PROBABILITIES, SCORES, VALUES
from cnnkit.types import Array, Shape, Task

LAYER = "a layer of cnnkit"
"""What is no operator of ONNX, but stands for the nodes of a layer."""
PART = re.compile(r"(.+?)(\.node)?(\.\d+)?")
"""What an export calls the nodes of a layer: its name, then `name.1`, and so on."""
TASKS = {
    (LOGITS, "Softmax"): CLASSES,
    (LOGITS, "Sigmoid"): Task("labels", from_logits=True),
    (PROBABILITIES, ""): Task("labels"),
    (SCORES, ""): Task("classes"),
    (VALUES, ""): Task("values"),
}
"""What a model is for, by the name of the first output and by what makes probabilities of it."""


@dataclass(frozen=True)
class OwnEnd:
    """Where the model ends that was exported, and what it is for."""

    output: str
    task: Task


def is_own(graph: ForeignGraph) -> bool:
    """Whether the file says that cnnkit exported it."""
    return "cnnkit_version" in graph.metadata


def own_end(graph: ForeignGraph) -> OwnEnd | None:
    """The end of a model that cnnkit exported; None for other files. The graph is as it was read.

    Probabilities that an export adds to a network without a Softmax or a Sigmoid are left out again.
    """
    names = [value.name for value in graph.outputs]
    if not is_own(graph) or not names:
        return None
    makers = {name: node for node in graph.nodes for name in node.outputs}
    node: ForeignNode | None = makers.get(PROBABILITIES) if len(names) == 2 else None
    is_added = node is not None and node.operator in ("Softmax", "Sigmoid")
    while node is not None and node.operator not in ("Softmax", "Sigmoid"):
        node = makers.get(node.inputs[0]) if node.operator in ("Identity", "Flatten", "Reshape") else None
    task = TASKS.get((names[0], node.operator if node else ""))
    return None if task is None else OwnEnd(names[0] if is_added or len(names) == 1 else names[1], task)


def restore_layers(graph: ForeignGraph) -> None:
    """Write one node in the place of those of each layer that can be made again."""
    if not is_own(graph):
        return
    users: dict[str, int] = {}
    for place, node in enumerate(graph.nodes):
        users |= dict.fromkeys(node.inputs, place)
    nodes: list[ForeignNode] = []
    for first, group in _groups(graph.nodes):
        last = first + len(group)
        inner = [name for node in group[:-1] for name in node.outputs]
        closed = all(users.get(name, 0) < last for name in inner)
        whole = _restored(group, graph) if closed and group[0].description else None
        nodes += group if whole is None else [whole]
    graph.nodes = nodes


def _groups(nodes: Sequence[ForeignNode]) -> Iterator[tuple[int, list[ForeignNode]]]:
    """The nodes of each layer, which an export writes one after another, with the place of the first."""
    first = 0
    for place in range(1, len(nodes) + 1):
        if place == len(nodes) or _layer_of(nodes[place]) != _layer_of(nodes[first]):
            yield first, list(nodes[first:place])
            first = place


def _layer_of(node: ForeignNode) -> tuple[str, str]:
    name = PART.fullmatch(node.name)
    return (name[1] if name else node.name), node.description


def _restored(group: Sequence[ForeignNode], graph: ForeignGraph) -> ForeignNode | None:
    name, description = _layer_of(group[0])
    made = {output for node in group for output in node.outputs}
    taken = [value for node in group for value in node.inputs if value and value not in made]
    values = list(dict.fromkeys(value for value in taken if value not in graph.constants))
    constants = list(dict.fromkeys(value for value in taken if value in graph.constants))
    shapes = [_shape(graph, value) for value in (*values, group[-1].outputs[0])]
    arrays = _arrays(description, shapes, {constant: graph.constants[constant] for constant in constants})
    if arrays is None:
        return None
    given: dict[str, Attribute] = {"expression": description, "keys": list(arrays)}
    return ForeignNode(LAYER, name, [*values, *arrays.values()], [group[-1].outputs[0]], given)


def _shape(graph: ForeignGraph, value: str) -> Shape:
    """Lengths without the batch axis; () if they are not known."""
    sizes = graph.sizes.get(value, ())[1:]
    if not sizes and value == graph.inputs[0].name:
        sizes = (graph.inputs[0].sizes or ())[1:]
    return tuple(size for size in sizes if isinstance(size, int)) if sizes else ()


def _arrays(description: str, shapes: Sequence[Shape], constants: dict[str, Array]) -> dict[str, str] | None:
    """For each array of the layer the constant that holds it; None if the description does not fit."""
    try:
        layer = built(description)
        if isinstance(layer, Merge):
            return {} if layer.merge_shape(shapes[:-1]) == shapes[-1] else None
        if len(shapes) != 2 or () in shapes:
            return None
        numbers = SMALL + sum(array.size for array in constants.values())
        layer.params, layer.buffers = {}, {}
        if Limit(numbers).build(layer, shapes[0], UNUSED) != shapes[1]:
            return None
    except (CnnkitError, ArithmeticError, MemoryError, TypeError, ValueError):  # a file may say anything
        return None
    left = dict(constants)
    found: dict[str, str] = {}
    for key, array in (layer.params | layer.buffers).items():
        named = [name for name in left if name.rpartition(".")[2] == key]
        alike = [name for name in left if left[name].size == array.size and left[name].dtype.kind == "f"]
        fitting = [name for name in named or alike if left[name].size == array.size]
        if not fitting:
            return None
        found[key] = fitting[0]
        del left[fitting[0]]
    folded = any(name.rpartition(".")[2].startswith("folded_") for name in constants)
    return None if folded else found  # its nodes compute more than the layer


def built(description: str) -> Layer | Merge:
    """The layer that a description makes, of cnnkit alone, as its nodes compute it.

    Of a merge with branches that is the join at its end; of one with other parameters in the place of weights, such as
    WeightNorm, the layer inside, whose weights an export writes.
    """
    layer = innermost(cast(Layer | Merge, installed_catalog().build("layer", _own(parse(description)))))
    if isinstance(layer, Residual):
        return Add()
    return Concat() if isinstance(layer, Concat) else layer


def _own(value: Any) -> Any:
    """A call with all calls among its arguments tied to cnnkit itself."""
    match value:
        case Call():
            arguments = {key: _own(item) for key, item in value.kwargs.items()}
            return Call(value.name, tuple(map(_own, value.args)), arguments, BUILT_IN)
        case list() | tuple():
            return type(value)(map(_own, value))
    return value


@translates(LAYER)
def layer(step: Step) -> Value:
    """The layer, whose arrays take their shapes."""
    keys = cast(list[str], step.node.attributes["keys"])
    places = range(len(step.node.inputs) - len(keys), len(step.node.inputs))
    made = built(step.text("expression", ""))
    values = [step.x(place) for place in range(places.start)]
    return step.add_known(made, values, {key: step.weights(place) for key, place in zip(keys, places, strict=True)})
