"""A file on ONNX Runtime, for samples that need not be in memory together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import ModelProto

from cnnkit.network import Network
from cnnkit.onnx.executable_model import CHUNK_BYTES, TrustedProgram, block_of, outputs_of, samples_of
from cnnkit.onnx.outputs import output_names
from cnnkit.onnx.runtimes import OnnxRuntime
from cnnkit.types import Array, Inputs


class Running:
    """A file that ONNX Runtime has read, and runs again and again until the end of its `with`."""

    def __init__(self, proto: ModelProto, model: Network) -> None:
        self._model, self._program, self._runtime = model, TrustedProgram(proto), OnnxRuntime()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self._program.close()

    def parts(self, x: Inputs) -> Iterator[dict[str, Array]]:
        """All outputs by name for the next few samples of x, (N, *input_shape), until there are no more."""
        few = min(block_of(self._model), samples_of(CHUNK_BYTES, self._model, len(x)))
        for start in range(0, len(x), few):
            part = np.asarray(x[start : start + few]).astype(self._model.input_dtype, copy=False)
            yield outputs_of(self._program, self._runtime, part)

    def outputs(self, x: Inputs) -> dict[str, Array]:
        """The outputs for all of x, by name; of a file with any batch, or a fixed one."""
        parts = list(self.parts(x))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def answers(self, x: Inputs) -> list[Array]:
        """The outputs for all of x, in the order of `output_names`."""
        outputs = self.outputs(x)
        return [outputs[name] for name in output_names(self._model)]
