"""ONNX Runtime of another environment: a process of its Python, which is sent arrays over pipes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import IO, cast

import numpy as np

from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError, OnnxError
from cnnkit.onnx import messages
from cnnkit.onnx.process_limits import further_memory, without_memory_limit
from cnnkit.types import Array
from cnnkit.user_folders import expanded

CHILD = Path(__file__).with_name("onnx_runtime_run.py")
MAX_REPLY_BYTES = 2**40
"""Of outputs: a file of a stranger runs under a limit of memory anyway."""


def check_python(python: str) -> None:
    """Raise ConfigError unless it is an absolute path or one that begins with `~`."""
    if not isinstance(python, str) or not (python.startswith("~") or os.path.isabs(python)):
        raise ConfigError(
            f"python must be the absolute path of an environment's Python, or begin with ~, such as "
            f'"~/ort-1.20/bin/python"; got {shown(python)}'
        )


class OtherPython:
    """A process of another Python, with a model if one is given.

    python: a path as `check_python` wants it; name: of the runtime, in messages.
    Raises OnnxError if there is no such Python, if it has no ONNX Runtime, or if that cannot execute the model.
    """

    def __init__(self, python: str, name: str, model: bytes | None = None) -> None:
        self._name = name
        self._process = _start(python, name)
        self.close = weakref.finalize(self, _end, self._process)
        try:
            facts, _ = self._reply()
            if "missing" in facts:
                raise OnnxError(
                    f"{name}: {python} has no ONNX Runtime ({facts['missing']}); "
                    f"run: {python} -m pip install onnxruntime"
                )
            self.version = str(facts["version"])
            if model is None:
                self.close()
            else:
                self._ask({"model": np.frombuffer(model, np.uint8)})
        except BaseException:
            self.close()
            raise

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs of the model, by name."""
        return self._ask(inputs)

    def _ask(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        with contextlib.suppress(BrokenPipeError):  # that it has ended is told by what it does not reply
            messages.write(cast("IO[bytes]", self._process.stdin), {}, arrays)
        facts, outputs = self._reply()
        if "error" in facts:
            raise OnnxError(f"{self._name} cannot execute the model: {' '.join(str(facts['error']).split())}")
        return outputs

    def _reply(self) -> tuple[dict[str, object], dict[str, Array]]:
        try:
            return messages.read(cast("IO[bytes]", self._process.stdout), MAX_REPLY_BYTES)
        except (EOFError, ValueError, KeyError, TypeError):
            self.close()
            raise OnnxError(
                f"{self._name}: its process ended with exit code {self._process.returncode} and without an answer"
            ) from None


def _start(python: str, name: str) -> subprocess.Popen[bytes]:
    memory = further_memory()
    try:
        with without_memory_limit():
            return subprocess.Popen(  # noqa: S603  # the user names the program
                [str(expanded(python)), "-I", str(CHILD), "" if memory is None else str(memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"ORT_DISABLE_TELEMETRY": "1", **os.environ},
            )
    except OSError as error:
        raise OnnxError(
            f"{name}: cannot start {python}: {error.strerror}; expected the Python of an environment with ONNX Runtime"
        ) from error


def _end(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # a request that it did not read any more
            cast("IO[bytes]", stream).close()
    process.kill()
    process.wait()
