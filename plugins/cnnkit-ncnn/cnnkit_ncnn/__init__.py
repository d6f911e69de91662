"""ncnn, for mobile devices, as a runtime: exported files are converted by pnnx and compared with the model on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np

from cnnkit.plugin import Array, Runtime, hookimpl

__all__ = ["NCNN"]


class NCNN(Runtime):
    """ncnn on the CPU with one thread, in float32, one sample after another.

    pnnx converts the file for one sample, which takes seconds; every input must be float32.
    Source: https://github.com/Tencent/ncnn
    """

    requires: ClassVar[str] = "ncnn"

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs of the model, by name. Raises OnnxError if it cannot be converted or executed."""
        return self.prepare(model)(inputs)

    def prepare(self, model: bytes) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        """The model as ncnn's own files, which are read and removed."""
        from cnnkit_ncnn.network import Network  # here: naming a runtime must not load ncnn

        try:
            network = Network(model)
        except Exception as error:  # of the system, of onnx, or of ncnn
            raise self.refusal(error) from error

        def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
            try:
                samples = network.samples(inputs)
                outputs = [network.run(sample) for sample in samples]
            except Exception as error:
                raise self.refusal(error) from error
            return {name: np.stack([output[name] for output in outputs]) for name in outputs[0]}

        return run


@hookimpl
def cnnkit_runtimes() -> list[type[Runtime]]:
    """The runtime of this plugin."""
    return [NCNN]
