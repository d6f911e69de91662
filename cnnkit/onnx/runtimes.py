"""The runtimes that come with cnnkit: ONNX's own reference evaluator, and ONNX Runtime on the CPU."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np

from cnnkit.components import Runtime
from cnnkit.errors import OnnxError
from cnnkit.onnx.other_python import OtherPython, check_python
from cnnkit.types import Array

# The packages are imported by `run`: naming a runtime must not load them.
Run = Callable[[Mapping[str, Array]], dict[str, Array]]
"""What gives all outputs of a model, by name, for inputs by name."""


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
            raise self.refusal(error) from error

    def prepare_file(self, path: Path) -> Run:
        """The model in an evaluator, with its weights as arrays and nothing else of the file."""
        import onnx

        from cnnkit.onnx.reference_run import reference

        with _named_failures(self):
            return _naming(self, reference(onnx.load_model(path)))

    def version(self) -> str:
        """Of the onnx package."""
        return importlib.metadata.version("onnx")


class OnnxRuntime(Runtime):
    """ONNX Runtime on the CPU with one thread and its usual graph optimisations.

    python: the Python of an environment that has another version of it, such as "~/ort-1.20/bin/python": an absolute
    path, or one that begins with `~`. The file then runs in a process of that Python, which needs nothing else there.

    Its telemetry, which reports models over the network and keeps files beside cnnkit's, is off unless the user's own
    ORT_DISABLE_TELEMETRY says otherwise.
    Raises ConfigError for another path.
    Source: https://onnxruntime.ai/docs/api/python
    """

    requires: ClassVar[str] = "onnxruntime"

    def __init__(self, python: str | None = None) -> None:
        self.python = python
        if python is not None:
            check_python(python)

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs of the model, by name. Raises OnnxError if it is not installed or cannot execute the model."""
        return self.prepare(model)(inputs)

    def prepare(self, model: bytes) -> Run:
        """The model in a session, or in a process of the other Python."""
        return self._session(model) if self.python is None else OtherPython(self.python, repr(self), model).run

    def prepare_file(self, path: Path) -> Run:
        """The file in a session, which reads it by itself; a process of the other Python is sent its bytes."""
        return self._session(str(path)) if self.python is None else self.prepare(path.read_bytes())

    def _session(self, model: bytes | str) -> Run:
        ensure_installed(self)
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it is read by the import
        from cnnkit.onnx.onnx_runtime_run import session

        with _named_failures(self):  # its errors share no base class
            return _naming(self, session(model))

    def version(self) -> str:
        """Of ONNX Runtime; raises OnnxError if the other Python is missing or has none."""
        return super().version() if self.python is None else OtherPython(self.python, repr(self)).version


RUNTIMES: tuple[type[Runtime], ...] = (ReferenceEvaluator, OnnxRuntime)


def is_installed(runtime: Runtime | type[Runtime]) -> bool:
    """Whether what the runtime requires is there, as a distribution or (a variant of it) as a module.

    What another Python requires is looked for there, when it is used.
    """
    if not runtime.requires or (isinstance(runtime, OnnxRuntime) and runtime.python is not None):
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
    with _named_failures(runtime):
        return _copies(runtime.run(model, inputs))


def prepared(runtime: Runtime, model: bytes | Path) -> Run:
    """As `execute`, of a model that is read once, from memory or from a file, which stays there.

    That is done by `prepare` or `prepare_file`, unless only a plainer method is of the runtime's own class.
    """
    if isinstance(model, Path) and _is_own(runtime, "prepare_file", "prepare", "run"):
        return _prepared(runtime, lambda: runtime.prepare_file(model))
    data = model.read_bytes() if isinstance(model, Path) else model
    if _is_own(runtime, "prepare", "run"):
        return _prepared(runtime, lambda: runtime.prepare(data))
    return functools.partial(execute, runtime, data)


def _prepared(runtime: Runtime, prepare: Callable[[], Run]) -> Run:
    with _named_failures(runtime):
        call = _naming(runtime, prepare())
    return lambda inputs: _copies(call(inputs))


def _naming(runtime: Runtime, call: Run) -> Run:
    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        with _named_failures(runtime):
            return call(inputs)

    return run


def _is_own(runtime: Runtime, name: str, *plainer: str) -> bool:
    """Whether no plainer method was defined by a class that came after the one which defined this."""
    depth = _depth(type(runtime), name)
    return all(depth <= _depth(type(runtime), other) for other in plainer)


def _depth(cls: type[Runtime], name: str) -> int:
    """How far up among the classes that it inherits from the method is defined, 0 in the class itself."""
    own = getattr(cls, name)
    return max(depth for depth, base in enumerate(cls.__mro__) if getattr(base, name, None) is own)


def version_of(runtime: Runtime) -> str:
    """The version of what executes the files; "" if it is not known. Raises OnnxError if it is not there."""
    with _named_failures(runtime):
        return str(runtime.version())


@contextmanager
def _named_failures(runtime: Runtime) -> Iterator[None]:
    try:
        yield
    except OnnxError:
        raise
    except Exception as error:
        raise runtime.refusal(error) from error


def _copies(outputs: Mapping[str, Array]) -> dict[str, Array]:
    """An output of ONNX Runtime lies in memory that has the values of all layers, and keeps all of it."""
    return {name: np.array(output) for name, output in outputs.items()}
