"""tract, an engine in Rust, as a runtime: exported files are compared with the model on it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from cnnkit.plugin import Array, Runtime, hookimpl

__all__ = ["Tract"]


class Tract(Runtime):
    """tract on the CPU.

    Source: https://github.com/sonos/tract
    """

    requires: ClassVar[str] = "tract"

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs of the model, by name. Raises OnnxError if tract cannot execute it."""
        return self.prepare(model)(inputs)

    def prepare(self, model: bytes) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        """The model analysed and optimised."""
        import tract  # here: naming a runtime must not load it

        try:
            loaded = _loaded(tract.onnx(), model)
            takes = [loaded.input_name(place) for place in range(loaded.input_count())]
            gives = [loaded.output_name(place) for place in range(loaded.output_count())]
            runnable = loaded.into_model().into_runnable()
        except Exception as error:  # TractError, and others of Python
            raise self.refusal(_without_backtrace(error)) from error

        def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
            try:
                outputs = runnable.run([np.ascontiguousarray(inputs[name]) for name in takes])
                return {name: np.array(output.to_numpy()) for name, output in zip(gives, outputs, strict=True)}
            except Exception as error:
                raise self.refusal(_without_backtrace(error)) from error

        return run


def _loaded(reader: Any, model: bytes) -> Any:
    """The model, which tract can only read from a file, that is removed again."""
    try:
        with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
            file.write(model)
            file.flush()
            return reader.load(file.name)
    except OSError as error:
        told = f"it reads files alone, and here none can be written: {error.strerror}"
        raise RuntimeError(told) from error


def _without_backtrace(error: Exception) -> Exception:
    """The error without the list of Rust functions behind it."""
    return type(error)(str(error).partition("Stack backtrace:")[0].strip())


@hookimpl
def cnnkit_runtimes() -> list[type[Runtime]]:
    """The runtime of this plugin."""
    return [Tract]
