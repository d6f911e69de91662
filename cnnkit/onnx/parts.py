"""A part of an ONNX file as a file of its own: the nodes between some of its values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, cast

from onnx import ModelProto, NodeProto, ValueInfoProto, helper

from cnnkit.components import Runtime
from cnnkit.errors import OnnxError
from cnnkit.onnx.runtimes import execute
from cnnkit.types import Array


class Part(NamedTuple):
    """Which part: the nodes that `output` needs, back to the nearest of `inputs`."""

    inputs: tuple[ValueInfoProto, ...]
    output: ValueInfoProto


class PartRun(NamedTuple):
    """A part as a file, and what a runtime made of it."""

    model: bytes
    inputs: tuple[str, ...]
    output: Array


def part_of(proto: ModelProto, part: Part) -> ModelProto:
    """The part as a model that has its weights, and those of the inputs that it needs.

    Raises OnnxError if no node of the file gives its output.
    """
    given = {value.name: value for value in part.inputs}
    made_by = {name: place for place, node in enumerate(proto.graph.node) for name in node.output}
    if part.output.name not in made_by:
        raise OnnxError(f"no node of the file gives {part.output.name!r}")
    places: set[int] = set()
    names, wanted = set(), [part.output.name]
    while wanted:
        name = wanted.pop()
        if name in names:
            continue
        names.add(name)
        if name in made_by and (name not in given or name == part.output.name):
            places.add(made_by[name])
            wanted += [one for one in proto.graph.node[made_by[name]].input if one]
    nodes: list[NodeProto] = [proto.graph.node[place] for place in sorted(places)]
    made = {name for node in nodes for name in node.output}
    graph = helper.make_graph(
        nodes,
        "part",
        [value for name, value in given.items() if name in names - made],
        [part.output],
        [tensor for tensor in proto.graph.initializer if tensor.name in names],
    )
    model = helper.make_model(graph, opset_imports=proto.opset_import, ir_version=proto.ir_version)
    model.producer_name = "cnnkit"
    return model


def run_part(runtime: Runtime, proto: ModelProto, part: Part, values: Mapping[str, Array]) -> PartRun:
    """Execute a part alone; values: of the inputs that it may need. Raises OnnxError if that is not possible."""
    model = part_of(proto, part)
    data = cast(bytes, model.SerializeToString(deterministic=True))
    names = tuple(value.name for value in model.graph.input)
    outputs = execute(runtime, data, {name: values[name] for name in names})
    if part.output.name not in outputs:
        raise OnnxError(f"{runtime!r} gives no {part.output.name!r}")
    return PartRun(data, names, outputs[part.output.name])
