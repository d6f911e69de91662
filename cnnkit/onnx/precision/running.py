"""A file on ONNX Runtime, for samples that need not be in memory together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import ModelProto

from cnnkit.network import Network
from cnnkit.onnx.executable_model import CHUNK_BYTES, TrustedProgram, as_declared, block_of, samples_of
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

    @property
    def dtype(self) -> str:
        """That of the file's input."""
        return self._program.signature.dtype

    def parts(self, x: Inputs) -> Iterator[dict[str, Array]]:
        """All outputs by name for the next few samples of x, (N, *input_shape), until there are no more."""
        few = min(block_of(self._model), samples_of(CHUNK_BYTES, self._model, len(x)))
        for start in range(0, len(x), few):
            part = np.asarray(x[start : start + few]).astype(self._model.input_dtype, copy=False)
            yield self._program.run(self._runtime, as_declared(self._program.signature, part))

    def answers(self, x: Inputs) -> list[Array]:
        """The outputs for all of x, in the order of `output_names`."""
        names = output_names(self._model)
        parts = [[outputs[name] for name in names] for outputs in self.parts(x)]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]
