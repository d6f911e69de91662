"""Replacing what a file consists of."""

from __future__ import annotations

from collections.abc import Iterable

from onnx import ModelProto, NodeProto, TensorProto


def replace(proto: ModelProto, nodes: Iterable[NodeProto], initializers: Iterable[TensorProto]) -> None:
    """Give a file other nodes and initializers, some of which may be its own; those that nothing reads are left out."""
    read = {value.name for value in proto.graph.output}
    needed: list[NodeProto] = []
    for node in reversed(list(nodes)):
        if read.intersection(node.output):
            read.update(node.input)
            needed.append(node)
    # Copies: clearing a field ends what it holds.
    needed = [NodeProto.FromString(node.SerializeToString()) for node in reversed(needed)]
    weights = [TensorProto.FromString(one.SerializeToString()) for one in initializers if one.name in read]
    proto.graph.ClearField("value_info")  # the types of what was there
    proto.graph.ClearField("node")
    proto.graph.ClearField("initializer")
    proto.graph.node.extend(needed)
    proto.graph.initializer.extend(weights)
