"""Inputs with the channels last, as TensorFlow has them, which become inputs with the channels first."""

from __future__ import annotations

import dataclasses

import numpy as np

from cnnkit.onnx.importing.attributes import integers
from cnnkit.onnx.importing.foreign_graph import ForeignGraph, ForeignNode, ForeignValue, Sizes

RANKS = 3, 4
"""Axes of signals and of images, with that of the batch."""
PASSING = frozenset(("Add", "Cast", "Clip", "Div", "Mul", "Neg", "Pad", "Relu", "Sub"))
"""What stands between an input, the Transpose that brings its channels to the front, and what needs them there."""
CHANNELS_FIRST = frozenset(
    (
        "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace", "GlobalAveragePool",
        "GlobalMaxPool", "InstanceNormalization", "LRN", "LpPool", "MaxPool", "Resize", "SpaceToDepth", "Upsample",
    )
)  # fmt: skip
"""Operators to which the second axis is that of the channels."""


def channels_first(graph: ForeignGraph) -> ForeignGraph:
    """The graph with inputs (N, C, H, W) and (N, C, L), each followed by a Transpose to what it was if it was another.

    An input is changed if a Transpose brings its last axis to the front; the two Transposes then cancel. A signal is
    one that becomes an image first, as TensorFlow's convolutions of signals have it; other sequences (N, T, F) stay.
    All other values stay what they are. `transposed_inputs` has the names of the inputs that were changed.
    """
    changed = [value for value in graph.inputs if _has_channels_last(graph, value)]
    names = {value.name for value in graph.inputs} | {name for node in graph.nodes for name in node.outputs}
    inputs, nodes, sizes = list(graph.inputs), list[ForeignNode](), dict(graph.sizes)
    renamed: dict[str, str] = {}
    for value in changed:
        new = f"{value.name}.channels_last"
        while new in names:
            new += "_"
        names.add(new)
        renamed[value.name] = new
        old: Sizes = value.sizes or ()
        nodes.append(
            ForeignNode(
                "Transpose",
                f"channels of {value.name} last",
                [value.name],
                [new],
                {"perm": [0, *range(2, len(old)), 1]},
            )
        )
        inputs[graph.inputs.index(value)] = dataclasses.replace(value, sizes=(old[0], old[-1], *old[1:-1]))
        sizes[new], sizes[value.name] = old, (old[0], old[-1], *old[1:-1])
    for node in graph.nodes:
        nodes.append(dataclasses.replace(node, inputs=[renamed.get(name, name) for name in node.inputs]))
    return dataclasses.replace(graph, inputs=inputs, nodes=nodes, sizes=sizes, transposed_inputs=list(renamed))


def _has_channels_last(graph: ForeignGraph, value: ForeignValue) -> bool:
    """Whether all that follows from an input takes it with the last axis at the front, and some of it as channels."""
    if len(value.sizes or ()) not in RANKS:
        return False
    last, first, found = {value.name: len(value.sizes or ())}, set[str](), False
    for node in graph.nodes:
        ranks = [last[name] for name in node.inputs if name in last]
        if ranks:
            if node.operator == "Transpose" and integers(node, "perm") == [0, 3, 1, 2]:
                first.update(node.outputs)
            elif node.operator in PASSING:
                last |= dict.fromkeys(node.outputs, ranks[0])
            elif node.operator == "Unsqueeze" and _is_before_pixels(node, graph, ranks[0]):
                last |= dict.fromkeys(node.outputs, ranks[0] + 1)
            else:
                return False
        elif first.intersection(node.inputs):
            found = found or node.operator in CHANNELS_FIRST
            if node.operator in PASSING:
                first.update(node.outputs)
    return found


def _is_before_pixels(node: ForeignNode, graph: ForeignGraph, rank: int) -> bool:
    """Whether an Unsqueeze makes an image one pixel high of a signal, as TensorFlow's convolutions do."""
    given = graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else integers(node, "axes")
    axes = [] if given is None else [int(axis) % (rank + 1) for axis in np.ravel(given)]
    return rank == 3 and axes == [1]
