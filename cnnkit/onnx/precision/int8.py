"""An exported file with layers in int8, made by the quantizer of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from onnx import ModelProto

from cnnkit.onnx.precision.graph_editing import replace
from cnnkit.onnx.precision.layers import ARITHMETIC, PRODUCTS, Layers
from cnnkit.onnx.precision.ranges import Range

KERNELS = PRODUCTS | {
    "Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Mul", "Pad",
    "Relu", "Reshape", "Resize", "Slice", "Transpose",
}  # fmt: skip
"""The operators that ONNX Runtime computes with 8 bits."""


def layers_for_int8(layers: Layers, ranges: Mapping[str, Range]) -> list[str]:
    """The layers that 8 bits are good for: all of a layer's operators have kernels for them, all its values bounds."""
    return [
        layer
        for layer, nodes in layers.nodes.items()
        if layers.operators(layer) <= KERNELS
        and all(np.isfinite(ranges[name]).all() for node in nodes for name in node.output if name in ranges)
    ]


def _within(layers: Layers, chosen: Collection[str]) -> list[str]:
    """The chosen layers without those that only pass values on, such as ReLU, to layers that are not chosen."""
    readers: dict[str, set[str]] = {}
    for node in layers.proto.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(layers.of(node.name))
    found = set(chosen)
    for layer in reversed(layers.nodes):
        values = [name for node in layers.nodes[layer] for name in node.output]
        if not layers.operators(layer) & ARITHMETIC and any(readers.get(name, set()) - found for name in values):
            found.discard(layer)
    return [layer for layer in layers.nodes if layer in found]


def to_int8(proto: ModelProto, layers: Layers, chosen: Collection[str], ranges: Mapping[str, Range]) -> ModelProto:
    """The file with the chosen layers in int8, in the format QDQ of ONNX Runtime.

    A QuantizeLinear and a DequantizeLinear stand at each value that is rounded, which is what these layers read:

        weights: round(w / s_c) from -64 to 64 for each output channel c, s_c = max|w_c| / 64
        values:  round(x / s) + z from 0 to 255, with the s and z that the range of the calibration samples gives
        biases:  round(b / (s s_c)) in 32 bits

    Weights have 7 bits, since processors without an instruction for sums of four products (VNNI) add two in 16 bits,
    where 255 * 127 * 2 is too large. ranges: the lowest and the highest number of each value.
    Source: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html; Jacob et al. (2018),
    Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference.
    """
    from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType
    from onnxruntime.quantization.calibrate import TensorData, TensorsData

    copy = ModelProto()
    copy.CopyFrom(proto)
    bounds = {
        name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
        for name, (low, high) in ranges.items()
    }
    nodes = [node.name for layer in _within(layers, chosen) for node in layers.nodes[layer]]
    quantizer = QDQQuantizer(
        copy,
        True,  # a scale for each output channel of the weights
        True,  # weights of 7 bits
        QuantType.QInt8,
        QuantType.QUInt8,
        TensorsData(CalibrationMethod.MinMax, bounds),
        nodes,
        [],
        sorted(KERNELS),
        {},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    result: ModelProto = quantizer.model.model
    _read_raw(result, set(nodes))
    return result


def _read_raw(proto: ModelProto, chosen: Collection[str]) -> None:
    """Let all nodes but the chosen ones read values that are not rounded.

    What a file gives needs no rounding, and of 256 levels some would be equal. A layer that is kept must not read them,
    either: ONNX Runtime takes one between a DequantizeLinear and a QuantizeLinear for one that shall be in int8.
    """
    made_by = {name: node for node in proto.graph.node for name in node.output}
    for reader in proto.graph.node:
        if reader.name in chosen or reader.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        for i, name in enumerate(reader.input):
            last = made_by.get(name)
            if last is not None and last.op_type == "DequantizeLinear" and last.input[0] in made_by:
                reader.input[i] = made_by[last.input[0]].input[0]
    replace(proto, proto.graph.node, proto.graph.initializer)
