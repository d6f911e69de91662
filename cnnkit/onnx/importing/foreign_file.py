"""Reading an ONNX file of another program: only data is read, nothing of it is run, and no compiled check sees it."""

from __future__ import annotations

import heapq
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, defs

from cnnkit.errors import OnnxError
from cnnkit.onnx.file_content import check_building
from cnnkit.onnx.importing.classifier_ends import plain_ends
from cnnkit.onnx.importing.external_data import DataFiles
from cnnkit.onnx.importing.foreign_graph import Attribute, ForeignGraph, ForeignNode, ForeignValue
from cnnkit.onnx.importing.tensors import array_of, dtype_of
from cnnkit.onnx.load import check_flat, parse, read_file
from cnnkit.types import Array
from cnnkit.user_folders import expanded

OPSETS = range(6, 24)
"""Versions of ONNX's operator set that are read; the newest is the newest whose operators were compared."""
UNKNOWN = "?"
MOST_NODES = 100_000
"""Operators of a file, those of constants among them."""


def read_graph(path: str | os.PathLike[str]) -> ForeignGraph:
    """The graph in an ONNX file, and the data files beside it that it names.

    Raises OnnxError for a file that is missing or damaged, of an operator set that is not read, or with anything but
    one flat graph of ONNX's own operators and dense tensors of numbers; each message names the file and the place.
    """
    path = expanded(Path(path))
    data = read_file(path)
    with DataFiles(path, len(data)) as files:
        try:
            return graph_of(data, path, files)
        except MemoryError:
            raise OnnxError(f"{path} needs more memory than there is to be read") from None


def graph_of(data: bytes, path: Path, files: DataFiles | None = None) -> ForeignGraph:
    """The graph in the bytes of a file; path: what messages call it; files: those beside it, None for none.

    Raises what `read_graph` does.
    """
    check_building(path, data)
    model = parse(path, data)
    plain_ends(path, model)
    check_flat(path, model)
    opset = _opset(model, path)
    if (count := len(model.graph.node)) > MOST_NODES:
        raise OnnxError(f"{path} has {count:,} operators; expected at most {MOST_NODES:,}")
    reader = _Reader(path, files)
    nodes = [reader.node(node) for node in model.graph.node]
    for node in nodes:
        _check_counts(path, node, opset)
    constants = reader.constants(model.graph)
    inputs = [reader.value(value, "input") for value in model.graph.input if _text(value.name, path) not in constants]
    outputs = [reader.value(value, "output") for value in model.graph.output]
    _check_names(path, nodes, constants, inputs, outputs)
    return ForeignGraph(
        opset=opset,
        nodes=_sorted(path, nodes),
        constants=constants,
        inputs=inputs,
        outputs=outputs,
        sizes={},
        producer=_text(f"{model.producer_name} {model.producer_version}".strip(), path),
        digest=files.digest(data) if files is not None else "",
        metadata={_text(entry.key, path): _text(entry.value, path) for entry in model.metadata_props},
    )


class _Reader:
    """What turns messages of a file into plain data."""

    def __init__(self, path: Path, files: DataFiles | None) -> None:
        self._path, self._files = path, files

    def node(self, node: NodeProto) -> ForeignNode:
        operator = _text(node.op_type, self._path)
        outputs = [_text(name, self._path) for name in node.output]
        first = next(filter(None, outputs), "nothing")
        name = _text(node.name, self._path) or f"{operator} of {first}"
        attributes: dict[str, Attribute] = {}
        for attribute in node.attribute:
            key = _text(attribute.name, self._path)
            if key in attributes:
                raise OnnxError(f"{self._path}: node {name!r:.100} has the attribute {key!r:.100} twice")
            attributes[key] = self._attribute(attribute, f"{self._path}: attribute {key!r:.100} of node {name!r:.100}")
        inputs = [_text(one, self._path) for one in node.input]
        return ForeignNode(operator, name, inputs, outputs, attributes, _text(node.doc_string, self._path))

    def constants(self, graph: GraphProto) -> dict[str, Array]:
        constants: dict[str, Array] = {}
        for tensor in graph.initializer:
            name = _text(tensor.name, self._path)
            if name in constants or not name:
                raise OnnxError(f"{self._path}: two tensors are called {name!r:.100}; expected a name for each")
            constants[name] = self._array(tensor, f"{self._path}: tensor {name!r:.100}")
        return constants

    def value(self, value: ValueInfoProto, what: str) -> ForeignValue:
        name = _text(value.name, self._path)
        where = f"{self._path}: the {what} {name!r:.100}"
        if not value.type.HasField("tensor_type"):
            if what == "output" and not value.HasField("type"):
                return ForeignValue(name, "float32", None)
            raise OnnxError(f"{where} is no tensor; expected only tensors")
        kind = value.type.tensor_type
        sizes = tuple(map(self._size, kind.shape.dim)) if kind.HasField("shape") else None
        return ForeignValue(name, dtype_of(kind.elem_type, where), sizes)

    def _size(self, dimension: onnx.TensorShapeProto.Dimension) -> int | str:
        if dimension.HasField("dim_value"):
            return int(dimension.dim_value) if dimension.dim_value > 0 else UNKNOWN
        return _text(dimension.dim_param, self._path) or UNKNOWN

    def _array(self, tensor: TensorProto, where: str) -> Array:
        return array_of(tensor, where, self._files)

    def _attribute(self, attribute: AttributeProto, where: str) -> Attribute:
        match attribute.type:
            case AttributeProto.INT:
                return int(attribute.i)
            case AttributeProto.FLOAT:
                return float(attribute.f)
            case AttributeProto.STRING:
                return _decoded(attribute.s, where)
            case AttributeProto.TENSOR:
                return self._array(attribute.t, where)
            case AttributeProto.INTS:
                return [int(number) for number in attribute.ints]
            case AttributeProto.FLOATS:
                return [float(number) for number in attribute.floats]
            case AttributeProto.STRINGS:
                return [_decoded(text, where) for text in attribute.strings]
        raise OnnxError(f"{where} is of type {attribute.type}; expected numbers, texts or a tensor")


def _opset(model: ModelProto, path: Path) -> int:
    """The version of ONNX's own operator set. Raises OnnxError for one that is not read."""
    if model.ir_version > onnx.IR_VERSION:
        raise OnnxError(
            f"{path} is written in version {model.ir_version} of the ONNX format; the installed onnx package knows "
            f"{onnx.IR_VERSION}: install a newer one, or export the model for an older version"
        )
    versions = {int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")}
    if len(versions) != 1:
        named = ", ".join(map(str, sorted(versions))) or "none"
        raise OnnxError(f"{path} names {named} as version of ONNX's operators; expected one version")
    (opset,) = versions
    if opset not in OPSETS:
        raise OnnxError(
            f"{path} uses version {opset} of ONNX's operators; expected {OPSETS[0]} to {OPSETS[-1]}: export it again "
            "for one of them, or convert it with onnx.version_converter"
        )
    return opset


def _check_counts(path: Path, node: ForeignNode, opset: int) -> None:
    """Raise OnnxError for more or fewer inputs or outputs than the operator has, if ONNX has it."""
    if not defs.has(node.operator, opset):
        return
    schema = defs.get_schema(node.operator, opset)
    for what, count, least, most in (
        ("inputs", len(node.inputs), schema.min_input, schema.max_input),
        ("outputs", len(node.outputs), schema.min_output, schema.max_output),
    ):
        if not least <= count <= most:
            raise OnnxError(
                f"{path}: node {node.name!r:.100} ({node.operator}) has {count:,} {what}; expected "
                f"{least if least == most else f'{least} to {most:,}'}"
            )


def _check_names(
    path: Path,
    nodes: Sequence[ForeignNode],
    constants: Iterable[str],
    inputs: Sequence[ForeignValue],
    outputs: Sequence[ForeignValue],
) -> None:
    """Raise OnnxError for a value that two give, and for one that nothing gives."""
    given: set[str] = set()
    for name in (*(value.name for value in inputs), *constants, *(o for node in nodes for o in node.outputs if o)):
        if name in given or not name:
            raise OnnxError(f"{path}: two values are called {name!r:.100}; expected a name for each")
        given.add(name)
    for node in nodes:
        for name in node.inputs:
            if name and name not in given:
                raise OnnxError(f"{path}: node {node.name!r:.100} takes {name!r:.100}, which nothing in the file gives")
    if not outputs:
        raise OnnxError(f"{path} has no output; expected at least one")
    for name, count in Counter(value.name for value in outputs).items():
        if name not in given:
            raise OnnxError(f"{path}: nothing in the file gives the output {name!r:.100}")
        if count > 1:
            raise OnnxError(f"{path}: two outputs are called {name!r:.100}; expected a name for each")


def _sorted(path: Path, nodes: Sequence[ForeignNode]) -> list[ForeignNode]:
    """The nodes in an order in which each comes after its inputs: the file's own one, as far as that is possible.

    Source: A. B. Kahn, Topological sorting of large networks, Communications of the ACM 5 (1962).
    """
    makers = {name: at for at, node in enumerate(nodes) for name in node.outputs if name}
    needs = [{makers[name] for name in node.inputs if name in makers} for node in nodes]
    users: list[list[int]] = [[] for _ in nodes]
    for at, needed in enumerate(needs):
        for one in needed:
            users[one].append(at)
    missing = [len(needed) for needed in needs]
    ready = [at for at, count in enumerate(missing) if not count]
    order = []
    while ready:
        at = heapq.heappop(ready)
        order.append(nodes[at])
        for user in users[at]:
            missing[user] -= 1
            if not missing[user]:
                heapq.heappush(ready, user)
    if len(order) < len(nodes):
        at, seen = next(at for at, count in enumerate(missing) if count), dict[int, None]()
        while at not in seen:  # whoever waits, waits for one that waits
            seen[at] = None
            at = min(one for one in needs[at] if missing[one])
        waiting = list(seen)
        circle = [f"{nodes[one].name!r:.60}" for one in waiting[waiting.index(at) :]]
        names = ", ".join(circle[:5]) + (", ..." if len(circle) > 5 else "")
        raise OnnxError(f"{path}: these nodes need one another's outputs: {names}; expected no circle")
    return order


def _decoded(text: bytes, where: str) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise OnnxError(f"{where} is not UTF-8: {error}") from None


def _text(text: str | bytes, path: Path) -> str:
    """A name of the file; protobuf gives one that is not UTF-8 as bytes."""
    if isinstance(text, bytes):
        raise OnnxError(f"{path}: the name {text!r:.100} is not UTF-8; expected names in UTF-8")
    return text
