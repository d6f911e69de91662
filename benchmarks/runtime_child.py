"""The child of `benchmarks.runtimes`: executes ONNX models in another environment, of which it needs NumPy alone.

`python executing.py NAME`; each message is a number of bytes, as 8 bytes, and an .npz file of so many. A request holds
the bytes of a model as `model`, and its inputs by name; the reply its outputs by name, or the text `error`. The first
reply holds the text `version`.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Callable, Mapping
from typing import IO, Any

import numpy as np

Outputs = Mapping[str, Any]


def onnxruntime(model: bytes, inputs: Outputs) -> Outputs:
    """ONNX Runtime on the CPU with one thread and its usual optimisations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def opencv(model: bytes, inputs: Outputs) -> Outputs:
    """OpenCV's dnn module; before version 5 it takes float32 for inputs of any dtype."""
    import cv2

    cv2.setNumThreads(1)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model, np.uint8))
    for name, array in inputs.items():
        net.setInput(array.astype(np.float32) if int(cv2.__version__[0]) < 5 else array, name)
    names = net.getUnconnectedOutLayersNames()
    return {name: np.array(output) for name, output in zip(names, net.forward(names), strict=True)}


def openvino(model: bytes, inputs: Outputs) -> Outputs:
    """OpenVINO on the CPU, in float32 where it would otherwise choose bfloat16."""
    import openvino

    core = openvino.Core()
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(core.read_model(io.BytesIO(model)), "CPU", config)
    outputs = compiled(dict(inputs))
    return {name: np.array(outputs[output]) for output in compiled.outputs for name in output.get_names()}


def reference(model: bytes, inputs: Outputs) -> Outputs:
    """The reference evaluator of the onnx package."""
    import onnx.reference

    evaluator = onnx.reference.ReferenceEvaluator(onnx.load_model_from_string(model))
    return dict(zip(evaluator.output_names, evaluator.run(None, dict(inputs)), strict=True))


RUNTIMES: dict[str, tuple[str, Callable[[bytes, Outputs], Outputs]]] = {
    "ONNX Runtime": ("onnxruntime", onnxruntime),
    "OpenCV": ("cv2", opencv),
    "OpenVINO": ("openvino", openvino),
    "reference": ("onnx", reference),
}
"""By the name in the table: the module that must be there, and what executes a model."""


def read(stream: IO[bytes]) -> dict[str, Any] | None:
    """The next message, or None at the end."""
    size = stream.read(8)
    if len(size) < 8:
        return None
    data = stream.read(int.from_bytes(size, "little"))
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return dict(arrays)


def write(stream: IO[bytes], message: Mapping[str, Any]) -> None:
    """Send a message."""
    data = io.BytesIO()
    np.savez(data, **message)
    stream.write(len(data.getbuffer()).to_bytes(8, "little") + data.getbuffer())
    stream.flush()


def main(name: str) -> None:
    """Answer requests until there are no more."""
    # Runtimes print as they like; what the parent reads must be replies alone.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    module, execute = RUNTIMES[name]
    version = str(importlib.import_module(module).__version__).partition("-")[0]
    write(replies, {"version": version})
    while (request := read(sys.stdin.buffer)) is not None:
        model = request.pop("model").tobytes()
        try:
            reply = execute(model, request)
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        write(replies, reply)


if __name__ == "__main__":
    main(sys.argv[1])
