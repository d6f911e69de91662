"""An exported file with its layers in float16, between inputs and outputs that stay as they are."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, defs, helper, numpy_helper, shape_inference

from cnnkit.errors import OnnxError
from cnnkit.onnx.precision.graph_editing import replace
from cnnkit.onnx.precision.layers import Layers
from cnnkit.onnx.precision.ranges import Range

SENSITIVE = frozenset(("BatchNormalization", "Exp", "Log", "Pow", "ReduceMean", "ReduceSum"))
"""Operators whose layers stay in float32: the square of 256 is too large for float16, and so is the exponential of 12.

Mixed-precision training keeps the same ones. Source: https://pytorch.org/docs/stable/amp.html
"""
LARGEST, SMALLEST = float(np.finfo(np.float16).max), float(np.finfo(np.float16).smallest_normal)
"""65,504, and 6.1e-5: numbers below have fewer digits."""
HEADROOM = 2
"""How many times as large as on the samples that were looked at values may be on others."""
FLOATS = TensorProto.FLOAT, TensorProto.FLOAT16


def layers_for_float16(layers: Layers, proto: ModelProto) -> list[str]:
    """The layers that float16 is good for; the last one is not if it makes probabilities."""
    read_by_outputs = {name for node in proto.graph.node if not layers.of(node.name) for name in node.input}
    found = []
    for layer, nodes in layers.nodes.items():
        operators = layers.operators(layer)
        is_last = any(name in read_by_outputs for node in nodes for name in node.output)
        if not operators & SENSITIVE and not (is_last and operators & {"Sigmoid", "Softmax"}):
            found.append(layer)
    return found


def to_float16(proto: ModelProto, layers: Layers, chosen: Collection[str]) -> ModelProto:
    """The file with the chosen layers in float16: their weights, and what they compute.

    A Cast stands where a value passes between a layer in float16 and one in float32; the preprocessing and the outputs
    are in float32. An operator that takes no float16 stays in float32, as does an input that must be float32, such as
    the scales of a Resize.
    """
    result = ModelProto()
    result.CopyFrom(proto)
    _Converter(result, {node.name for layer in chosen for node in layers.nodes[layer]}).convert()
    return result


def rounded_in_float32(file: ModelProto) -> ModelProto:
    """What a file in float16 computes where every number that it makes is rounded, as a file that runs in float32.

    ONNX Runtime computes float16 on a CPU in float32 and rounds the weights alone; runtimes that do compute in float16
    round each output of a node, which here a pair of Casts does. Sums inside of a node are left in float32.
    """
    result = ModelProto()
    result.CopyFrom(file)
    inferred = shape_inference.infer_shapes(result).graph
    half = {value.name for value in inferred.value_info if value.type.tensor_type.elem_type == TensorProto.FLOAT16}
    nodes: list[NodeProto] = []
    for node in result.graph.node:
        casts = node.op_type == "Cast"
        if casts and node.output[0] not in half:
            for attribute in node.attribute:
                attribute.i = TensorProto.FLOAT if attribute.i == TensorProto.FLOAT16 else attribute.i
        made = [name for name in node.output if name in half]
        exact = {name: node.input[0] if casts else f"{name}.exact" for name in made}
        if not (casts and made):
            node.output[:] = [exact.get(name, name) for name in node.output]
            nodes.append(node)
        for name in made:
            kind = f"{name}.rounded"
            nodes.append(helper.make_node("Cast", [exact[name]], [kind], kind, to=TensorProto.FLOAT16))
            nodes.append(helper.make_node("Cast", [kind], [name], f"{name}.back", to=TensorProto.FLOAT))
    weights = [
        numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
        if tensor.data_type == TensorProto.FLOAT16
        else tensor
        for tensor in result.graph.initializer
    ]
    del result.graph.value_info[:]
    replace(result, nodes, weights)
    return result


def check_numbers(proto: ModelProto, layers: Layers, chosen: Collection[str], ranges: Mapping[str, Range]) -> None:
    """Raise OnnxError, naming the layers, if numbers of the chosen ones are too large or too small for float16.

    ranges: of each value on some samples; others may have values that are `HEADROOM` times as large. Of values, and of
    weights with several axes, the largest number counts: where that is too small, no number keeps its digits; smaller
    ones beside it do not matter.
    """
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    largest = {name: max(map(abs, filter(math.isfinite, bounds)), default=0.0) for name, bounds in ranges.items()}
    largest |= {name: float(np.abs(array).max(initial=0)) for name, array in weights.items() if array.dtype.kind == "f"}
    large, small = {}, {}
    for layer in chosen:
        for node in layers.nodes[layer]:
            names = [name for name in (*node.input, *node.output) if name in largest]
            made = [name for name in names if name in node.output or (name in weights and weights[name].ndim > 1)]
            if any(largest[name] * (1 if name in weights else HEADROOM) > LARGEST for name in names):
                large[layer] = max(largest[name] for name in names)
            if any(0 < largest[name] < SMALLEST for name in made):
                small[layer] = min(largest[name] for name in made if largest[name])
    for found, why in (
        (large, f"beyond {LARGEST:,.0f}, the largest of its numbers, or values beyond half of it"),
        (small, f"below {SMALLEST:.1e}, the smallest that keep their digits"),
    ):
        if found:
            each = ", ".join(f"{layer} ({number:.1e})" for layer, number in found.items())
            options = " ".join(f"--keep {layer}" for layer in found)
            raise OnnxError(
                f"float16 cannot hold the numbers of {each}, which are {why}: keep these layers in "
                f"float32, on the command line with {options}"
            )


class _Converter:
    """One conversion: which type each value has by now, and under which name it is there in the other type."""

    def __init__(self, proto: ModelProto, chosen: Collection[str]) -> None:
        self._proto, self._chosen = proto, chosen
        self._opset = next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
        self._weights = {tensor.name: tensor for tensor in proto.graph.initializer}
        inferred = shape_inference.infer_shapes(proto).graph
        values = (*inferred.input, *inferred.value_info, *inferred.output)
        self._kinds = {value.name: value.type.tensor_type.elem_type for value in values}
        self._kinds |= {name: tensor.data_type for name, tensor in self._weights.items()}
        self._others: dict[tuple[str, int], str] = {}
        self._nodes: list[NodeProto] = []
        self._added: list[TensorProto] = []

    def convert(self) -> None:
        for node in self._proto.graph.node:
            schema = defs.get_schema(node.op_type, max_inclusive_version=self._opset, domain=node.domain)
            kind = TensorProto.FLOAT16 if node.name in self._chosen and _takes_float16(schema) else TensorProto.FLOAT
            for i, name in enumerate(node.input):
                if name and self._kinds[name] in FLOATS:
                    formal = schema.inputs[min(i, len(schema.inputs) - 1)]  # the last one may stand for several
                    node.input[i] = self._as(name, TensorProto.FLOAT if formal.type_str == "tensor(float)" else kind)
            for name in node.output:
                if self._kinds[name] in FLOATS:
                    self._kinds[name] = kind
            self._nodes.append(node)
        replace(self._proto, self._nodes, [*self._proto.graph.initializer, *self._added])

    def _as(self, name: str, kind: int) -> str:
        """The value or initializer in this type: itself, or another one, which is made once."""
        if self._kinds[name] == kind:
            return name
        if (name, kind) not in self._others:
            other = f"{name}.float16" if kind == TensorProto.FLOAT16 else f"{name}.float32"
            if name in self._weights:
                values = numpy_helper.to_array(self._weights[name]).astype(helper.tensor_dtype_to_np_dtype(kind))
                self._added.append(numpy_helper.from_array(values, other))
            else:
                self._nodes.append(helper.make_node("Cast", [name], [other], other, to=kind))
            self._others[name, kind] = other
        return self._others[name, kind]


def _takes_float16(schema: defs.OpSchema) -> bool:
    """Whether the operator computes in float16, too, wherever it computes in float32."""
    kinds = [constraint.allowed_type_strs for constraint in schema.type_constraints]
    return all("tensor(float16)" in allowed for allowed in kinds if "tensor(float)" in allowed)
