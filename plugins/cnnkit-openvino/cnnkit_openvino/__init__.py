"""OpenVINO as a runtime: exported files are compared with the model on it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np

from cnnkit.plugin import Array, Runtime, hookimpl

__all__ = ["OpenVINO"]

CONFIGURATION = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
"""Where a processor has bfloat16, OpenVINO computes in that unless it is told otherwise."""


class OpenVINO(Runtime):
    """OpenVINO on the CPU, in float32, with one thread.

    Source: https://docs.openvino.ai
    """

    requires: ClassVar[str] = "openvino"

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs of the model, by name. Raises OnnxError if OpenVINO cannot execute it."""
        return self.prepare(model)(inputs)

    def prepare(self, model: bytes) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        """The model compiled for the CPU."""
        import onnx  # here: naming a runtime must not load packages
        import openvino

        try:
            graph = onnx.load_model_from_string(model).graph
            names = [output.name for output in graph.output]
            takes = {value.name for value in graph.input} - {array.name for array in graph.initializer}
            core = openvino.Core()
            compiled = core.compile_model(core.read_model(io.BytesIO(model)), "CPU", CONFIGURATION)
        except Exception as error:  # its errors share no base class
            raise self.refusal(error) from error

        def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
            if inputs.keys() != takes:
                raise self.refusal(ValueError(f"the inputs are {sorted(takes)}, got {sorted(inputs)}"))
            try:
                outputs = compiled({name: np.ascontiguousarray(array) for name, array in inputs.items()})
            except Exception as error:
                raise self.refusal(error) from error
            found = {name: np.array(outputs[place]) for place, name in enumerate(names)}  # which have other names, too
            if all(array.size for array in inputs.values()) and not all(array.size for array in found.values()):
                raise self.refusal(MemoryError("it gave no numbers, as it does where it gets no memory"))
            return found

        return run


@hookimpl
def cnnkit_runtimes() -> list[type[Runtime]]:
    """The runtime of this plugin."""
    return [OpenVINO]
