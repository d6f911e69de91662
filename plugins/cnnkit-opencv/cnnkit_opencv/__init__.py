"""OpenCV's DNN module as a runtime: exported files are compared with the model on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from cnnkit.plugin import Array, Runtime, hookimpl

__all__ = ["OpenCV"]

FIRST_WITH_TYPES = 5
"""Before this version, OpenCV computes in float32 whatever the types in a file are."""


class OpenCV(Runtime):
    """OpenCV's DNN module on the CPU, with one thread.

    Versions before 5 take all inputs as float32, which holds every uint8, and refuse files that give anything else.
    Source: https://docs.opencv.org/5.x/d6/d0f/group__dnn.html
    """

    requires: ClassVar[str] = "opencv-python-headless"

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs of the model, by name. Raises OnnxError if OpenCV cannot execute it."""
        return self.prepare(model)(inputs)

    def prepare(self, model: bytes) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        """The model as a network of OpenCV."""
        return self._network(model)

    def prepare_file(self, path: Path) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        """The file as a network of OpenCV, which reads it by itself."""
        return self._network(path)

    def _network(self, model: bytes | Path) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        import cv2  # here: naming a runtime must not load packages

        is_typed = int(cv2.__version__.split(".")[0]) >= FIRST_WITH_TYPES
        try:
            if not is_typed and (others := _outputs_but_float32(_bytes(model))):
                raise ValueError(f"OpenCV {cv2.__version__} gives float32 alone, and {others[0]} is declared otherwise")
            with _quietly(cv2):
                net = cv2.dnn.readNetFromONNX(_source(model))
                names = net.getUnconnectedOutLayersNames()
        except Exception as error:  # cv2.error, and others of Python
            raise self.refusal(error) from error

        def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
            try:
                with _quietly(cv2):
                    for name, array in inputs.items():
                        net.setInput(np.ascontiguousarray(array, None if is_typed else np.float32), name)
                    outputs = net.forward(names)
            except Exception as error:
                raise self.refusal(error) from error
            return {name: np.array(output) for name, output in zip(names, outputs, strict=True)}

        return run

    def version(self) -> str:
        """Of OpenCV, whichever distribution brought it."""
        import cv2

        return str(cv2.__version__)


def _source(model: bytes | Path) -> Array | str:
    """What OpenCV takes: the file's name, unless it might not find a file of that name, as on Windows."""
    if isinstance(model, Path) and str(model).isascii():
        return str(model)
    return np.frombuffer(_bytes(model), np.uint8)


def _bytes(model: bytes | Path) -> bytes:
    return model.read_bytes() if isinstance(model, Path) else model


def _outputs_but_float32(model: bytes) -> list[str]:
    """The names of those that the file declares to be of another type."""
    import onnx

    outputs = onnx.load_model_from_string(model).graph.output
    return [value.name for value in outputs if value.type.tensor_type.elem_type != onnx.TensorProto.FLOAT]


class _quietly:  # noqa: N801  # a context manager
    """While it lasts, OpenCV uses one thread and prints nothing: what goes wrong is raised as well."""

    def __init__(self, cv2: Any) -> None:
        self._cv2 = cv2

    def __enter__(self) -> None:
        self._threads, self._level = self._cv2.getNumThreads(), self._cv2.utils.logging.getLogLevel()
        self._cv2.setNumThreads(1)
        self._cv2.utils.logging.setLogLevel(self._cv2.utils.logging.LOG_LEVEL_SILENT)

    def __exit__(self, *_: object) -> None:
        self._cv2.setNumThreads(self._threads)
        self._cv2.utils.logging.setLogLevel(self._level)


@hookimpl
def cnnkit_runtimes() -> list[type[Runtime]]:
    """The runtime of this plugin."""
    return [OpenCV]
