"""The runtimes that come with cnnkit: ONNX's own reference evaluator, and ONNX Runtime on the CPU."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from cnnkit.components import Runtime
from cnnkit.errors import OnnxError
from cnnkit.types import Array

# The packages are imported by `run`: naming a runtime must not load them.


class ReferenceEvaluator(Runtime):
    """The evaluator of the onnx package: plain NumPy, slow, and what the operators' specification means.

    Source: https://onnx.ai/onnx/api/reference.html
    """

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs of the model, by name. Raises OnnxError if it cannot be executed."""
        from cnnkit.onnx.reference_run import run_reference

        try:
            return run_reference(model, inputs)
        except Exception as error:  # an operator may fail in any way on a model that does not fit together
            raise OnnxError(_refused(self, error)) from error


class OnnxRuntime(Runtime):
    """ONNX Runtime on the CPU with one thread and its usual graph optimisations.

    Its telemetry, which reports models over the network and keeps files beside cnnkit's, is off unless the user's own
    ORT_DISABLE_TELEMETRY says otherwise.
    Source: https://onnxruntime.ai/docs/api/python
    """

    requires: ClassVar[str] = "onnxruntime"

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs of the model, by name. Raises OnnxError if it is not installed or cannot execute the model."""
        ensure_installed(self)
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it is read by the import
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is raised as well; stderr stays the user's
        try:
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            names = [output.name for output in session.get_outputs()]
            return dict(zip(names, session.run(names, dict(inputs)), strict=True))
        except Exception as error:  # its errors share no base class
            raise OnnxError(_refused(self, error)) from error


RUNTIMES: tuple[type[Runtime], ...] = (ReferenceEvaluator, OnnxRuntime)


def is_installed(runtime: Runtime | type[Runtime]) -> bool:
    """Whether what the runtime requires is there, as a distribution or (a variant of it) as a module."""
    if not runtime.requires:
        return True
    try:
        importlib.metadata.version(runtime.requires)
    except importlib.metadata.PackageNotFoundError:
        return importlib.util.find_spec(runtime.requires.replace("-", "_")) is not None
    return True


def ensure_installed(runtime: Runtime) -> None:
    """Raise OnnxError, saying what to install, unless the runtime can be imported."""
    if not is_installed(runtime):
        raise OnnxError(
            f"{runtime!r} needs {runtime.requires}, which is not installed; run: {install_command(type(runtime))}"
        )


def install_command(runtime: type[Runtime]) -> str:
    """The command that installs what the runtime requires."""
    what = '"cnnkit[runtimes]"' if runtime in RUNTIMES else runtime.requires
    return f"pip install {what}"


def execute(runtime: Runtime, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """What `runtime.run` gives, as arrays. Raises OnnxError in whatever way a plugin's runtime fails."""
    try:
        # Copies: an output of ONNX Runtime lies in memory that has the values of all layers, and keeps all of it.
        return {name: np.array(output) for name, output in runtime.run(model, inputs).items()}
    except OnnxError:
        raise
    except Exception as error:
        raise OnnxError(_refused(runtime, error)) from error


def _refused(runtime: Runtime, error: Exception) -> str:
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{runtime!r} cannot execute the model: {told}"
