"""The preprocessing of a file that cnnkit exported: its first nodes, which become that of the model again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cnnkit.errors import ConfigError
from cnnkit.onnx.importing.foreign_graph import ForeignGraph, ForeignNode
from cnnkit.types import Array, Preprocessing


def take_preprocessing(graph: ForeignGraph) -> Preprocessing:
    """Remove the first nodes of the graph if they compute what its metadata say, and return that.

    What then takes the input takes the floating numbers that those made of it.
    What the metadata say and the nodes do not is ignored: the nodes stay, and become layers.
    """
    said = _said(graph.metadata)
    if said is None:
        return Preprocessing()
    factor, offset = said.affine(np.dtype(np.float32), len(graph.inputs[0].sizes or ()) - 1)
    wanted: list[tuple[str, Array | None]] = [("Cast", None)] if graph.inputs[0].dtype != "float32" else []
    wanted += [
        (operator, values)
        for operator, values, plain in (("Mul", factor, 1), ("Add", offset, 0))
        if np.any(values != plain)
    ]
    value, found = graph.inputs[0].name, list[ForeignNode]()
    for operator, constant in wanted:
        users = [node for node in graph.nodes if value in node.inputs]
        if len(users) != 1 or users[0].operator != operator or not _has(users[0], graph, constant):
            return Preprocessing()
        found.append(users[0])
        value = users[0].outputs[0]
    entrance = graph.inputs[0].name
    graph.nodes = [
        replace(node, inputs=[entrance if name == value else name for name in node.inputs])
        for node in graph.nodes
        if node not in found
    ]
    graph.inputs = [replace(one, dtype="float32") for one in graph.inputs]
    return said


def _has(node: ForeignNode, graph: ForeignGraph, constant: Array | None) -> bool:
    if constant is None:
        return True
    given = graph.constants.get(node.inputs[1])
    return given is not None and given.size == constant.size and bool(np.all(given.reshape(-1) == constant.reshape(-1)))


def _said(metadata: Mapping[str, str]) -> Preprocessing | None:
    """What the metadata of an export of cnnkit say; None if they say nothing that is a preprocessing."""
    try:
        said = json.loads(metadata.get("preprocessing", "null"))
        return Preprocessing(float(said["scale"]), tuple(map(float, said["mean"])), tuple(map(float, said["std"])))
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError, ConfigError):
        return None
