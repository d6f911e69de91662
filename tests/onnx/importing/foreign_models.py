"""Small ONNX files for the tests of the import, as other programs write them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

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
