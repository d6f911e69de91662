"""The proof of an import: the file and the model give the same answers, before anything is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]  # it ships no types
from onnx import ModelProto, TensorProto, helper, numpy_helper

from cnnkit.components import Runtime
from cnnkit.errors import CheckError, OnnxError
from cnnkit.network import Network
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.importing.constant_folding import without_unused
from cnnkit.onnx.importing.foreign_graph import ForeignGraph, ForeignNode
from cnnkit.onnx.isolated import IsolatedProgram, limits_for
from cnnkit.onnx.runtimes import OnnxRuntime, ReferenceEvaluator, is_installed
from cnnkit.types import Array
from cnnkit.waiting_line import waiting

SAMPLES = 4
"""Random samples to compare on, unless the file takes another number."""
TOLERANCE = 1e-4
"""Largest difference, relative to the largest number that the file gives."""
INPUT, OUTPUT = "input", "output"
"""What the file that is run calls its ends."""


@dataclass(frozen=True)
class Proof:
    """How far the answers of the model are from those of the file."""

    difference: float
    """The largest one, relative to the largest number that the file gives."""
    samples: int
    runtime: str

    def __str__(self) -> str:
        return (
            f"the model gives the answers of the file to {self.difference:.1e} of the largest, on {self.samples} "
            f"random inputs by {self.runtime} in a process of its own"
        )


def prove(graph: ForeignGraph, output: str, model: Network, path: Path, samples: int) -> Proof:
    """Compare the file with the model on random inputs.

    graph: what was read of the file that the output needs, nothing of it rewritten, and which of its ends have the
    channels last; output: which of its values the model gives; samples: how many it takes at once, 0 for any.
    Raises CheckError for different answers, OnnxError if the file cannot be executed within the limits of a file that
    comes from elsewhere.
    """
    proto = _executable(graph, output, len(model.output_shape) + 1)
    try:
        data = cast(bytes, proto.SerializeToString())
    except EncodeError:  # protobuf ends at 2 GiB
        raise OnnxError(f"{path} cannot be imported: to run it, its constants would take 2 GiB or more") from None
    count = samples or SAMPLES
    runtimes: list[Runtime] = [OnnxRuntime()] if is_installed(OnnxRuntime) else []
    runtimes.append(ReferenceEvaluator())
    x = _random_inputs(model, count)
    operators = {node.op_type for node in proto.graph.node}
    limits = limits_for(model, count, samples or None, [to_onnx(model)])
    with (
        waiting("running the file in a process of its own"),
        IsolatedProgram(data, path, operators, limits, runtimes) as program,
    ):
        given, runtime = _run(program, runtimes, x)
    ours = model.outputs(x)
    return Proof(_difference(given, ours, path), count, f"{runtime!r}")


def in_advance(graph: ForeignGraph, folded: ForeignGraph) -> ForeignGraph:
    """The graph with what does not depend on the samples as constants, so that all shapes are known before it runs.

    folded: the same graph once its constants are computed, and the shapes that it computes are known.
    """
    known = {node.outputs[0]: node for node in folded.nodes}
    computed = folded.constants.keys() - graph.constants.keys()
    nodes = []
    for node in graph.nodes:
        other = known.get(node.outputs[0])
        if other is not None and computed.intersection(other.inputs):
            nodes.append(other)
        elif not all(name in computed for name in node.outputs):
            nodes.append(node)
    return without_unused(replace(graph, nodes=nodes, constants=graph.constants | folded.constants))


def _run(program: IsolatedProgram, runtimes: Sequence[Runtime], x: Array) -> tuple[Array, Runtime]:
    """The answers of the first runtime that can execute the file: not each has every operator in every form.

    Raises OnnxError, the first one, if there is none.
    """
    first: OnnxError | None = None
    for runtime in runtimes:
        try:
            return program.run(runtime, x)[OUTPUT], runtime
        except OnnxError as error:
            first = first or error
    raise first or OnnxError("no runtime is there to execute the file")


def _difference(given: Array, ours: Array, path: Path) -> float:
    if given.size != ours.size:
        raise CheckError(
            f"{path} cannot be imported: its outputs have shape {given.shape}, and those of the network "
            f"made of it {ours.shape}"
        )
    given = given.reshape(ours.shape).astype(np.float64)
    if not np.array_equal(np.isfinite(given), np.isfinite(ours)):
        raise CheckError(f"{path} cannot be imported: it and the network made of it do not overflow in the same places")
    finite = np.isfinite(given)
    largest = float(np.abs(given[finite]).max(initial=0)) or 1.0
    difference = float(np.abs(given[finite] - ours[finite]).max(initial=0)) / largest
    if difference > TOLERANCE:
        raise CheckError(
            f"{path} cannot be imported: on random inputs its answers and those of the network made of it differ by "
            f"{difference:.1e} of the largest, and {TOLERANCE:g} is allowed; please report this fault of the import"
        )
    return difference


def _random_inputs(model: Network, count: int) -> Array:
    rng = np.random.default_rng(0)
    shape = (count, *model.input_shape)
    if model.input_dtype == "uint8":
        return rng.integers(0, 256, shape, np.uint8)
    return rng.standard_normal(shape, np.float32)


def _executable(graph: ForeignGraph, output: str, axes: int) -> ModelProto:
    """The file as one that a runtime takes: its weights inside, its ends named, its images with the channels first."""
    entrance = graph.inputs[0]
    sizes: list[Any] = list(entrance.sizes or ())
    if graph.transposed_inputs:
        sizes = [sizes[0], sizes[-1], *sizes[1:-1]]
        first = helper.make_node("Transpose", [INPUT], [_own(entrance.name)], perm=[0, *range(2, len(sizes)), 1])
    else:
        first = helper.make_node("Identity", [INPUT], [_own(entrance.name)])
    sizes[0] = sizes[0] if isinstance(sizes[0], int) else "N"
    if graph.transposed_output:
        last = helper.make_node("Transpose", [_own(output)], [OUTPUT], perm=[0, axes - 1, *range(1, axes - 1)])
    else:
        last = helper.make_node("Identity", [_own(output)], [OUTPUT])
    nodes = [first, *map(_node, graph.nodes), last]
    used = {name for node in nodes for name in node.input}
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(entrance.dtype))
    body = helper.make_graph(
        nodes,
        "imported",
        [helper.make_tensor_value_info(INPUT, kind, sizes)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None] * axes)],
        [numpy_helper.from_array(array, _own(name)) for name, array in graph.constants.items() if _own(name) in used],
    )
    opset = helper.make_opsetid("", graph.opset)
    return helper.make_model(body, opset_imports=[opset], ir_version=max(4, helper.find_min_ir_version_for([opset])))


def _node(node: ForeignNode) -> Any:
    attributes: dict[str, Any] = {
        name: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for name, value in node.attributes.items()
    }
    empty = [name for name, value in attributes.items() if isinstance(value, list) and not value]
    given: dict[str, Any] = {name: value for name, value in attributes.items() if name not in empty}
    made = helper.make_node(node.operator, [*map(_own, node.inputs)], [*map(_own, node.outputs)], node.name, **given)
    made.attribute.extend(helper.make_attribute(name, [], attr_type=7) for name in empty)
    return made


def _own(name: str) -> str:
    """A value of the file by a name that is never one of the ends."""
    return f"file:{name}" if name else ""
