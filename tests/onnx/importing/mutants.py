"""Random damage to ONNX files: of their bytes, and of what they mean."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto


def damaged_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Flipped bits, other bytes, missing bytes."""
    mutant = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        position = int(rng.integers(len(mutant)))
        match rng.integers(4):
            case 0:
                mutant[position] ^= 1 << int(rng.integers(8))
            case 1:
                mutant[position : position + 4] = rng.bytes(4)
            case 2:
                mutant[position : position + 8] = b"\xff" * 8
            case _:
                del mutant[position : position + int(rng.integers(1, 16))]
    return bytes(mutant)


NUMBERS = (0, 1, -1, 2, 3, 7, 100, 2**31 - 1, 2**31, 2**32, 2**62, -(2**63), 2**63 - 1)
OPERATORS = (
    "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Conv", "ConvTranspose", "Expand", "Flatten",
    "Gather", "Gemm", "GlobalAveragePool", "LRN", "MatMul", "MaxPool", "Mul", "Pad", "ReduceMean", "Relu", "Reshape",
    "Resize", "Shape", "Slice", "Softmax", "Split", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Where",
)  # fmt: skip


def damaged_meaning(data: bytes, rng: np.random.Generator) -> bytes:
    """A file that can be parsed, with other attributes, operators, shapes, inputs or outputs."""
    proto = ModelProto.FromString(data)
    graph = proto.graph

    def one(of: Any) -> Any:
        return of[int(rng.integers(len(of)))]

    for _ in range(rng.integers(1, 4)):
        node, number = one(graph.node), int(one(NUMBERS))
        attributes = [attribute for each in graph.node for attribute in each.attribute]
        match rng.integers(9):
            case 0 | 1:
                attribute = one(attributes)
                if attribute.ints:
                    attribute.ints[int(rng.integers(len(attribute.ints)))] = number
                else:
                    attribute.i = number
            case 2:
                one(attributes).ints.append(number)
            case 3:
                node.op_type = one(OPERATORS)
            case 4:
                tensor = one(graph.initializer)
                tensor.dims.append(number) if rng.integers(2) or not tensor.dims else tensor.dims.__setitem__(0, number)
            case 5:
                names = [tensor.name for tensor in graph.initializer] + [each.output[0] for each in graph.node] + ["x"]
                node.input[int(rng.integers(len(node.input)))] = one(names)
            case 6:
                for tensor in graph.initializer:
                    if tensor.data_type == TensorProto.INT64:
                        tensor.raw_data = np.full(len(tensor.raw_data) // 8, number, np.int64).tobytes()
                for each in graph.node:  # in a file that cnnkit exported, the expression of the layer
                    each.doc_string = each.doc_string.replace("2", str(number))
            case 7:
                one(graph.input).type.tensor_type.shape.dim[int(rng.integers(4))].dim_value = number
            case _:
                one(graph.initializer).data_type = int(rng.integers(25))
    return bytes(proto.SerializeToString())
