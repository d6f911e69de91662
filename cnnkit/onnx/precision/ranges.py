"""The range of each value in an exported file over some samples."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import ModelProto, TensorProto, helper, shape_inference

from cnnkit.network import Network
from cnnkit.onnx.precision.running import Running
from cnnkit.types import Inputs, blocks

Range = tuple[float, float]
"""The lowest and the highest number."""


def value_ranges(proto: ModelProto, model: Network, x: Inputs) -> dict[str, Range]:
    """The lowest and the highest number of each value in float32, and of the input, over samples x.

    The file itself finds them, so that no value leaves the runtime: memory does not grow with the samples.
    """
    inferred = shape_inference.infer_shapes(proto).graph
    values = [*inferred.value_info, *proto.graph.output]
    names = sorted({value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT})
    found: dict[str, Range] = {}
    for block in blocks(x):
        part = x[block]
        found = widened(found, {"input": (float(part.min()), float(part.max()))})
    with Running(_with_ranges(proto, names), model) as running:
        for outputs in running.parts(x):
            ranges = {name: (float(outputs[f"{name}.low"]), float(outputs[f"{name}.high"])) for name in names}
            found = widened(found, ranges)
    return found


def widened(ranges: Mapping[str, Range], others: Mapping[str, Range]) -> dict[str, Range]:
    """What holds both ranges of each value."""
    pairs = {name: (ranges.get(name, other), other) for name, other in others.items()}
    return {**ranges, **{name: (min(a[0], b[0]), max(a[1], b[1])) for name, (a, b) in pairs.items()}}


def _with_ranges(proto: ModelProto, names: list[str]) -> ModelProto:
    """The file with the range of each of these values for outputs."""
    result = ModelProto()
    result.CopyFrom(proto)
    del result.graph.output[:]
    for name in names:
        for operator, output in (("ReduceMin", f"{name}.low"), ("ReduceMax", f"{name}.high")):
            result.graph.node.append(helper.make_node(operator, [name], [output], output, keepdims=0))
            result.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, []))
    return result
