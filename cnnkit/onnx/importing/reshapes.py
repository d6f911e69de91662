"""Reshapes that say less than they seem to: one that changes nothing, and one that only moves axes of length 1."""

from __future__ import annotations

import dataclasses

from cnnkit.onnx.importing.foreign_graph import ForeignGraph, ForeignNode

RANKS = 3, 4
"""Axes of signals and of images, with that of the batch."""


def plain_reshapes(graph: ForeignGraph) -> ForeignGraph:
    """The graph without Reshapes that change nothing, and with a Transpose where one brings channels first or last.

    tf2onnx writes a Transpose of (N, H, W, 1) or (N, 1, 1, C) as a Reshape, since no number moves. Which axis has the
    channels can be seen from a Transpose alone.
    """
    same: dict[str, str] = {}
    nodes, outputs = list[ForeignNode](), {value.name for value in graph.outputs}
    for given in graph.nodes:
        node = dataclasses.replace(given, inputs=[same.get(name, name) for name in given.inputs])
        order = _order(node, graph) if node.operator == "Reshape" else None
        if order is None:
            nodes.append(node)
        elif order != sorted(order) or node.outputs[0] in outputs:
            nodes.append(ForeignNode("Transpose", node.name, node.inputs[:1], node.outputs, {"perm": order}))
        else:
            same[node.outputs[0]] = node.inputs[0]
    return dataclasses.replace(graph, nodes=nodes)


def _order(node: ForeignNode, graph: ForeignGraph) -> list[int] | None:
    """The order of axes with which a Transpose does the same; None if there is none, or none of channels."""
    before, after = (graph.sizes.get(name, ()) for name in (node.inputs[0], node.outputs[0]))
    rank = len(before)
    if rank != len(after) or not all(isinstance(size, int) for size in (*before[1:], *after[1:])):
        return None
    if not before or before[0] != after[0] or before[0] == "?":
        return None
    if before == after:
        return list(range(rank))
    moving = [[size for size in sizes if size != 1] for sizes in (before, after)]
    if rank in RANKS and moving[0] == moving[1]:
        for order in ([0, rank - 1, *range(1, rank - 1)], [0, *range(2, rank), 1]):
            if [before[axis] for axis in order] == [*after]:
                return order
    return None
