"""Small ONNX files for the tests of the import, as other programs write them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from cnnkit.network import Sequential
from cnnkit.onnx.export import to_onnx
from cnnkit.types import Array

Sizes = Sequence[int | str | None]
FOLDER = Path(os.environ.get("CNNKIT_DATA_DIR", ""), "../onnx/torch")
"""Files that PyTorch wrote, each with an input and its own output; they may be missing."""
EXPORTS = sorted(FOLDER.glob("*.onnx")) if "CNNKIT_DATA_DIR" in os.environ else []


def node(operator: str, inputs: Sequence[str], outputs: Sequence[str], name: str = "", **attributes: Any) -> NodeProto:
    return helper.make_node(operator, inputs, outputs, name, **attributes)


def model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Sizes],
    outputs: Sequence[str],
    weights: Mapping[str, Array] | None = None,
    opset: int = 17,
) -> ModelProto:
    """A model with inputs of float32, and outputs of any size."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes) for name, sizes in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def write(path: Path, proto: ModelProto) -> Path:
    path.write_bytes(proto.SerializeToString())
    return path


def _named(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> NodeProto:
    return node(operator, inputs, [output], f"node_{output}", **attributes)


RNG = np.random.default_rng(7)
WEIGHTS: dict[str, Array] = {
    "kernel": RNG.standard_normal((2, 1, 3, 3)).astype(np.float32),
    "bias": np.ones(2, np.float32),
    "matrix": (RNG.standard_normal((18, 3)) / 10).astype(np.float32),
    "zero": np.array(0, np.int64),
    "first": np.array([0], np.int64),
    "rest": np.array([-1], np.int64),
}


def plain_export() -> ModelProto:
    """What an exporter writes, with a shape that is computed."""
    nodes = [
        _named("Conv", ["x", "kernel", "bias"], "c", kernel_shape=[3, 3], strides=[1, 1], pads=[0, 0, 0, 0], group=1),
        _named("Relu", ["c"], "r"),
        _named("MaxPool", ["r"], "m", kernel_shape=[2, 2], strides=[2, 2]),
        _named("Shape", ["m"], "s"),
        _named("Gather", ["s", "zero"], "n", axis=0),
        _named("Unsqueeze", ["n", "first"], "n1"),
        _named("Concat", ["n1", "rest"], "t", axis=0),
        _named("Reshape", ["m", "t"], "f"),
        _named("Gemm", ["f", "matrix"], "g", transB=0),
        _named("Softmax", ["g"], "y", axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "base",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(array, name) for name, array in WEIGHTS.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def own_export() -> ModelProto:
    """What cnnkit itself exports."""
    layers = ["Conv2D(2, 3)", "ReLU()", "MaxPool2D(2)", "Flatten()", "Dense(3)"]
    return to_onnx(Sequential(layers, (1, 8, 8)))
