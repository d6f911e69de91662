"""What skl2onnx adds to a network in operators of machine learning: labels at its end, a scaler at its beginning.

A network gives probabilities. The label of the most probable class, and the tables that ZipMap makes, say nothing more;
so they are left out before the file is read, with the names of the classes kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from cnnkit.errors import OnnxError
from cnnkit.onnx.importing.tensors import array_of
from cnnkit.printable_text import printable

DOMAIN = "ai.onnx.ml"
NUMBERS = TensorProto.FLOAT, TensorProto.DOUBLE
PASSING = "Cast", "Identity", "Reshape", "Slice"
"""What stands between the probabilities and the column of one class."""
DEEP = 6
"""Operators one behind another through which a column is followed."""
NAMED, LISTED = 3, 20
"""Nodes that are named for each operator, and operators in one message."""


def plain_ends(path: Path, model: ModelProto) -> None:
    """Rewrite a parsed file with operators of machine learning, as far as they stand at the ends of a network.

    Raises OnnxError with all operators of other sets that are left, and where they are.
    """
    if any(node.domain == DOMAIN for node in model.graph.node):
        makers = {name: node for node in model.graph.node for name in node.output}
        names = _class_names(model.graph, path)
        _choose_outputs(model.graph, makers)
        _remove_unused(model.graph)
        _write_scalers(model.graph)
        if names and "labels" not in {entry.key for entry in model.metadata_props}:
            helper.set_model_props(
                model, {entry.key: entry.value for entry in model.metadata_props} | {"labels": json.dumps(names)}
            )
    strange: dict[str, list[str]] = {}
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            strange.setdefault(f"{node.domain}.{node.op_type}", []).append(node.name or next(iter(node.output), ""))
    if strange:
        raise OnnxError(f"{path} uses operators that are not ONNX's own, and no layer does them:\n{_listed(strange)}")


def _listed(strange: dict[str, list[str]]) -> str:
    lines = []
    for operator, names in list(strange.items())[:LISTED]:
        more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        shown = ", ".join(printable(name)[:100] for name in names[:NAMED])
        lines.append(f"  {printable(operator)[:100]}, {len(names)} x ({shown}{more})")
    if len(strange) > LISTED:
        lines.append(f"  and {len(strange) - LISTED:,} more kinds")
    return "\n".join(lines)


def _choose_outputs(graph: GraphProto, makers: dict[str, NodeProto]) -> None:
    """Leave the probabilities as the only output where labels, a table or columns of them are the others."""
    found: list[str] = []
    for value in graph.output:
        maker = makers.get(value.name)
        if maker is not None and _is(maker, "ZipMap") and maker.input:
            found.append(maker.input[0])
        elif value.type.tensor_type.elem_type in NUMBERS:
            found.append(value.name)
    columns = {_before(name, makers) for name in found}
    if len(found) > 1 and len(columns) == 1:
        found = [*columns]
    if found:
        kept = {value.name: value for value in graph.output if value.name in found}
        outputs = [kept.get(name) or helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in found]
        del graph.output[:]
        graph.output.extend(outputs)


def _before(name: str, makers: dict[str, NodeProto]) -> str:
    """What a column was taken of."""
    for _ in range(DEEP):
        maker = makers.get(name)
        if maker is None or maker.op_type not in PASSING or not maker.input:
            break
        name = maker.input[0]
    return name


def _is(node: NodeProto, operator: str) -> bool:
    return bool(node.domain == DOMAIN and node.op_type == operator)


def _remove_unused(graph: GraphProto) -> None:
    """Remove the nodes that no output needs, and texts that no node takes."""
    makers = {name: node for node in graph.node for name in node.output}
    needed, waiting = set[str](), [value.name for value in graph.output]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += makers[name].input if name in makers else ()
    nodes = [node for node in graph.node if needed.intersection(node.output)]
    tensors = [one for one in graph.initializer if one.name in needed or one.data_type != TensorProto.STRING]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(tensors)


def _write_scalers(graph: GraphProto) -> None:
    """(x - offset) * scale, as Scaler does, in operators of ONNX itself."""
    taken = {tensor.name for tensor in graph.initializer} | {name for node in graph.node for name in node.output}
    nodes = list[NodeProto]()
    for node in graph.node:
        if not _is(node, "Scaler") or len(node.input) != 1 or len(node.output) != 1:
            nodes.append(node)
            continue
        given = {attribute.name: list(attribute.floats) for attribute in node.attribute}
        names = list(_free_names(taken, node.output[0], 3))
        for name, key, plain in ((names[0], "offset", 0.0), (names[1], "scale", 1.0)):
            numbers = np.array(given.get(key) or [plain], np.float32)
            graph.initializer.append(numpy_helper.from_array(numbers, name))
        nodes.append(helper.make_node("Sub", [node.input[0], names[0]], [names[2]], f"{node.name} offset"))
        nodes.append(helper.make_node("Mul", [names[2], names[1]], node.output, f"{node.name} scale"))
    del graph.node[:]
    graph.node.extend(nodes)


def _free_names(taken: set[str], stem: str, count: int) -> Iterator[str]:
    for number in range(count):
        name = f"{stem}.{number}"
        while name in taken:
            name += "_"
        taken.add(name)
        yield name


def _class_names(graph: GraphProto, path: Path) -> Sequence[str]:
    """The names of the classes, as ZipMap or what looks up the label has them; none if they are 0, 1, 2, ..."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if _is(node, "ZipMap"):
            for attribute in node.attribute:
                if attribute.name == "classlabels_strings":
                    return _texts(attribute.strings)
                if attribute.name == "classlabels_int64s":
                    return _unless_counted([int(number) for number in attribute.ints])
        if _is(node, "ArrayFeatureExtractor") and node.input and node.input[0] in tensors:
            tensor = tensors[node.input[0]]
            if tensor.data_type == TensorProto.STRING:
                return _texts(tensor.string_data)
            if tensor.data_type in (TensorProto.INT32, TensorProto.INT64):
                places = array_of(tensor, f"{path}: tensor {tensor.name!r:.100}", None)
                return _unless_counted([int(number) for number in places.ravel()])
    return ()


def _texts(texts: Sequence[bytes]) -> Sequence[str]:
    return [text.decode(errors="replace") for text in texts]


def _unless_counted(numbers: Sequence[int]) -> Sequence[str]:
    return () if list(numbers) == list(range(len(numbers))) else [str(number) for number in numbers]
