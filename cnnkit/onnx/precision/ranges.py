"""The range of each value in an exported file over some samples."""

from __future__ import annotations

from onnx import ModelProto, TensorProto, shape_inference

from cnnkit.network import Network
from cnnkit.onnx.executable_model import CHUNK_BYTES, TrustedProgram, as_declared, samples_of
from cnnkit.onnx.runtimes import OnnxRuntime
from cnnkit.types import Array

Range = tuple[float, float]
"""The lowest and the highest number."""


def value_ranges(proto: ModelProto, model: Network, x: Array) -> dict[str, Range]:
    """The lowest and the highest number of each value in float32, and of the input, over samples x."""
    inferred = shape_inference.infer_shapes(proto).graph
    further = [value for value in inferred.value_info if value.type.tensor_type.elem_type == TensorProto.FLOAT]
    names = {value.name for value in (*further, *proto.graph.output)}
    found: dict[str, Range] = {"input": (float(x.min()), float(x.max()))}
    chunk = samples_of(CHUNK_BYTES, model, len(x))
    with TrustedProgram(proto) as program:
        for start in range(0, len(x), chunk):
            outputs = program.run(OnnxRuntime(), as_declared(program.signature, x[start : start + chunk]), further)
            for name in names:
                low, high = float(outputs[name].min()), float(outputs[name].max())
                known = found.get(name, (low, high))
                found[name] = (min(known[0], low), max(known[1], high))
    return found
