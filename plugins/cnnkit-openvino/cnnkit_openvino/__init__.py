"""OpenVINO as a runtime: exported files are compared with the model on it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
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
        return self._compiled(model)

    def prepare_file(self, path: Path) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        """The file compiled for the CPU; OpenVINO reads it by itself."""
        return self._compiled(path)

    def _compiled(self, model: bytes | Path) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        import openvino  # here: naming a runtime must not load packages

        try:
            takes, names = _inputs_and_outputs(model)
            core = openvino.Core()
            read = core.read_model(model if isinstance(model, Path) else io.BytesIO(model))
            compiled = core.compile_model(read, "CPU", CONFIGURATION)
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


def _inputs_and_outputs(model: bytes | Path) -> tuple[set[str], list[str]]:
    """Their names in the model, of which nothing else is kept."""
    import onnx

    graph = onnx.load_model_from_string(model.read_bytes() if isinstance(model, Path) else model).graph
    takes = {value.name for value in graph.input} - {array.name for array in graph.initializer}
    return takes, [output.name for output in graph.output]


@hookimpl
def cnnkit_runtimes() -> list[type[Runtime]]:
    """The runtime of this plugin."""
    return [OpenVINO]
