"""ONNX Runtime's WebAssembly build, executed by Node: what a browser answers."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from cnnkit.plugin import Array, OnnxError, Runtime, hookimpl
from cnnkit_onnxruntime_web.node import Node

__all__ = ["OnnxRuntimeWeb"]

VARIABLE = "CNNKIT_ONNXRUNTIME_WEB"
PACKAGE = "onnxruntime-web"


class OnnxRuntimeWeb(Runtime):
    """ONNX Runtime's WebAssembly build with one thread, in a process of Node; nothing is ever downloaded.

    folder: where `npm install onnxruntime-web` was run; None for what the variable CNNKIT_ONNXRUNTIME_WEB says.
    Source: https://onnxruntime.ai/docs/get-started/with-javascript/web.html
    """

    def __init__(self, folder: str | None = None) -> None:
        self.folder = folder

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs of the model, by name. Raises OnnxError if it cannot be executed, or a part is missing."""
        return self.prepare(model)(inputs)

    def prepare(self, model: bytes) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        """The model in a process of Node."""
        program, package = self._program(), self._package()
        try:
            node = Node(program, package, model)
        except (RuntimeError, OSError) as error:
            raise self.refusal(error) from error

        def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
            try:
                return node.run(inputs)
            except (RuntimeError, OSError) as error:
                raise self.refusal(error) from error

        return run

    def version(self) -> str:
        """Of the package. Raises OnnxError if it is missing."""
        return str(json.loads((self._package() / "package.json").read_text("utf-8"))["version"])

    def _program(self) -> str:
        program = shutil.which("node")
        if program is None:
            raise OnnxError(f"{self!r} needs Node, and no folder in PATH has it: install Node 18 or newer (nodejs.org)")
        return program

    def _package(self) -> Path:
        folder = self.folder or os.environ.get(VARIABLE)
        if not folder:
            raise OnnxError(
                f"{self!r} needs the npm package {PACKAGE}: run `npm install {PACKAGE}` in a folder, and name that in "
                f'{VARIABLE} or as OnnxRuntimeWeb("FOLDER")'
            )
        path = Path(folder).expanduser()
        for package in (path, path / "node_modules" / PACKAGE):
            if (package / "dist" / "ort.wasm.min.mjs").is_file() and (package / "package.json").is_file():
                return package.absolute()
        raise OnnxError(f"{self!r}: there is no {PACKAGE} in {path}; run there: npm install {PACKAGE}")


@hookimpl
def cnnkit_runtimes() -> list[type[Runtime]]:
    """The runtime of this plugin."""
    return [OnnxRuntimeWeb]
