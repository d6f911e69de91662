"""From the operators of a file to the draft of a network, or a list of all that no layer can do."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from onnx import defs

from cnnkit.errors import CnnkitError, OnnxError
from cnnkit.onnx.importing import (  # noqa: F401  # each enters its operators into the table
    activations,
    convolutions,
    dense,
    joins,
    normalisation,
    own_files,
    pooling,
    resizing,
    shapes,
)
from cnnkit.onnx.importing.attributes import naming
from cnnkit.onnx.importing.dense import TWO_COMPUTED
from cnnkit.onnx.importing.draft import Draft, UntranslatableError, Value
from cnnkit.onnx.importing.foreign_graph import ForeignGraph, ForeignNode
from cnnkit.onnx.importing.number_types import FLOAT, type_of_outputs
from cnnkit.onnx.importing.operators import TRANSLATIONS
from cnnkit.onnx.importing.shapes import MOVES_BATCH
from cnnkit.onnx.importing.step import Step
from cnnkit.printable_text import printable
from cnnkit.wording import counted, shorten

SIZES = "Shape", "Size"
NAMED, LISTED = 3, 20
"""Nodes that are named for each thing that is missing, and such things in one message."""


def translate(graph: ForeignGraph, input_shape: tuple[int, ...], numbers: int) -> tuple[Draft, dict[str, Value]]:
    """A draft with layers for all nodes, and the values of the file in it.

    numbers: how many the file holds, and so all layers may have together.
    Raises OnnxError that lists all that cannot be written with layers, and where it is.
    """
    draft = Draft(input_shape, numbers)
    values = {graph.inputs[0].name: draft.input}
    types = {value.name: value.dtype for value in graph.inputs if value.dtype != FLOAT}
    coming = {name for node in graph.nodes for name in node.outputs}
    unsure = set[str]()
    missing: dict[tuple[str, str], list[str]] = {}
    for node in graph.nodes:
        known = len(values)
        reason = _translated(node, graph, values, types, coming, unsure, draft)
        if reason:
            missing.setdefault((node.operator, reason), []).append(node.name)
        if len(values) == known or not unsure.isdisjoint(node.inputs):
            unsure.update(filter(None, node.outputs))
            _stand_in(node, graph, values, draft)
    if missing:
        raise OnnxError(_listed(missing))
    return draft, {name: value for name, value in values.items() if name not in unsure}


def _translated(
    node: ForeignNode,
    graph: ForeignGraph,
    values: dict[str, Value],
    types: dict[str, str],
    coming: set[str],
    unsure: set[str],
    draft: Draft,
) -> str:
    """Add a node to the draft, and return why that cannot be done; "" if it is done, or what it takes is missing.

    types: of the values that are no floating numbers; coming: all that nodes of the graph give; unsure: what follows
    from a value that no layer gives.
    """
    lacking = [name for name in node.inputs if name and name not in graph.constants and name not in values]
    if not coming.issuperset(lacking):
        return "it computes with the number of samples, which a layer does not know"
    if node.operator in SIZES:
        if lacking or not unsure.isdisjoint(node.inputs):
            return ""
        return "it asks for a size that is not known before the file runs; export it with fixed sizes"
    if node.operator not in TRANSLATIONS:
        if defs.has(node.operator, graph.opset):
            return "no layer does it"
        return f"ONNX {graph.opset} has no such operator, so no runtime can run the file"
    if lacking:
        return _by_itself(node, graph)
    step = Step(node, graph, values, draft)
    try:
        with naming(node):
            kind = type_of_outputs(node, types)
            given = TRANSLATIONS[node.operator](step)
    except (UntranslatableError, CnnkitError) as error:
        return str(error)
    for name, value in zip(node.outputs, given if isinstance(given, list) else [given], strict=False):
        values[name] = value
        if kind != FLOAT:
            types[name] = kind
    return ""


def _by_itself(node: ForeignNode, graph: ForeignGraph) -> str:
    """Why a node cannot be written with layers whatever it takes; "" if that depends on it."""
    perm = node.attributes.get("perm", [])  # all axes backwards
    if node.operator == "MatMul" and not any(name in graph.constants for name in node.inputs):
        return TWO_COMPUTED
    if node.operator == "Transpose" and isinstance(perm, list) and perm[:1] != [0]:
        return MOVES_BATCH
    return ""


def _stand_in(node: ForeignNode, graph: ForeignGraph, values: dict[str, Value], draft: Draft) -> None:
    """Give values in the place of what a node should give, wherever its sizes are known."""
    for name in node.outputs:
        batch, *sizes = graph.sizes.get(name) or ("",)
        shape = tuple(size for size in sizes if isinstance(size, int) and size > 0)
        if name and name not in values and isinstance(batch, str) and 0 < len(shape) == len(sizes):
            with contextlib.suppress(UntranslatableError):  # more numbers than any draft takes
                values[name] = draft.stand_in(node.name, shape)


def _listed(missing: Mapping[tuple[str, str], list[str]]) -> str:
    total = sum(map(len, missing.values()))
    lines = [f"{counted(total, 'operator')} of the file cannot be written with layers:"]
    for (operator, reason), names in list(missing.items())[:LISTED]:
        more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        where = ", ".join(printable(name)[:100] for name in names[:NAMED])
        lines.append(f"  {printable(operator)[:50]}, {len(names)} x ({where}{more}): {shorten(printable(reason), 400)}")
    if len(missing) > LISTED:
        lines.append(f"  and {len(missing) - LISTED:,} more kinds")
    return "\n".join(lines)
