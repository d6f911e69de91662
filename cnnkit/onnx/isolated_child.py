"""The process that `isolated` starts: it checks an ONNX file of a stranger, then executes it on the inputs it is sent.

The first request is followed by the bytes of the file. Its reply is what the file declares of itself; each later one
holds inputs, and its reply the outputs. A reply with the fact `error` says why there are none.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import onnx
from onnx import TensorProto, ValueInfoProto, helper

from cnnkit.components import Runtime, installed_catalog
from cnnkit.errors import CnnkitError, OnnxError
from cnnkit.onnx import messages
from cnnkit.onnx.executable_model import with_outputs
from cnnkit.onnx.load import Signature, check
from cnnkit.onnx.parts import Part, run_part
from cnnkit.onnx.process_limits import address_space, forbid_writing, limited
from cnnkit.onnx.runner import Runner, median_seconds
from cnnkit.onnx.runtimes import execute
from cnnkit.onnx.work_estimate import Bounds
from cnnkit.types import Array

MAX_INPUT_BYTES = 2**62
"""Bytes of inputs, which come from one who is trusted."""


Reply = tuple[dict[str, Any], dict[str, Array]]
"""Facts and arrays."""


class Child:
    """One file, and the runtimes that have executed it."""

    def __init__(self, first: Mapping[str, Any], data: bytes, before: int | None) -> None:
        """before: bytes of address space that the process had before it read the file."""
        self._first, self._data = first, data
        self._before, self._most = before, 0
        self._runtimes: dict[str, Runtime] = {}
        self._runner = Runner()

    def check(self) -> Signature:
        """Check the file, as `load.check` does, and what a run of it would take."""
        first = self._first
        with self._limited("check_memory"):
            signature = check(self._data, first["path"], first["operators"])
            bounds = Bounds(first["shape"], first["numbers"], first["run_memory"])
            bounds.check(onnx.load_model_from_string(self._data), first["path"])
        return signature

    def answer(self, request: Mapping[str, Any], inputs: Mapping[str, Array]) -> Reply:
        """The reply to a request: facts and arrays."""
        runtime = self._runtime(request["runtime"])
        gc.collect()  # what the last run left in cycles would count for this one
        tasks = {"run": self._run, "latency": self._latency, "part": self._run_part}
        with self._limited("run_memory"):
            return tasks[request["task"]](runtime, request, inputs)

    def _run(self, runtime: Runtime, request: Mapping[str, Any], inputs: Mapping[str, Array]) -> Reply:
        """All outputs of the file, and further values of it."""
        further = list(map(_decoded, request["further"]))
        if further:
            return {}, execute(runtime, with_outputs(self._data, further), inputs)
        return {}, self._runner.ready(runtime, self._data)(inputs)

    def _latency(self, runtime: Runtime, request: Mapping[str, Any], inputs: Mapping[str, Array]) -> Reply:
        return {"seconds": median_seconds(self._runner.ready(runtime, self._data), inputs)}, {}

    def _run_part(self, runtime: Runtime, request: Mapping[str, Any], inputs: Mapping[str, Array]) -> Reply:
        part = Part(tuple(map(_decoded, request["inputs"])), _decoded(request["output"]))
        run = run_part(runtime, onnx.load_model_from_string(self._data), part, inputs)
        return {"names": run.inputs}, {"model": np.frombuffer(run.model, np.uint8), "output": run.output}

    def explain(self, error: Exception) -> str:
        """Why there is no answer."""
        if isinstance(error, MemoryError):
            most = f"{self._most // 2**20:,} MiB of memory"
            return f"{self._first['path']} needs more than {most}, the most that a file of its size may take"
        return str(error) if isinstance(error, CnnkitError) else f"{type(error).__name__}: {error}"

    def _limited(self, memory: str) -> AbstractContextManager[None]:
        self._most = int(self._first[memory])
        return limited(None if self._before is None else self._before + self._most, self._first["seconds"])

    def _runtime(self, expression: str) -> Runtime:
        """The runtime, ready for use: what its packages take does not count for what the file does."""
        if expression not in self._runtimes:
            before = address_space()
            runtime = cast(Runtime, installed_catalog().build(Runtime.kind, expression))
            with contextlib.suppress(OnnxError):  # if it cannot execute even that, it will say so of the file
                execute(runtime, _smallest(), {"input": np.zeros((1, 1), np.float32)})
            if self._before is not None and before is not None:
                self._before += max(0, (address_space() or 0) - before)
            self._runtimes[expression] = runtime
        return self._runtimes[expression]


def main() -> None:
    """Answer requests until there are no more."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # runtimes print as they like; what is read must be replies alone
    forbid_writing()
    requests, before = sys.stdin.buffer, address_space()
    first, _ = messages.read(requests, 0)
    child = Child(first, requests.read(first["size"]), before)
    try:
        messages.write(replies, asdict(child.check()))
    except Exception as error:
        messages.write(replies, {"error": child.explain(error)})
        return
    while True:
        try:
            request, inputs = messages.read(requests, MAX_INPUT_BYTES)
        except EOFError:
            return
        try:
            messages.write(replies, *child.answer(request, inputs))
        except Exception as error:  # whatever a runtime or a file comes to is an answer
            messages.write(replies, {"error": child.explain(error)})


def _decoded(value: str) -> ValueInfoProto:
    return cast(ValueInfoProto, ValueInfoProto.FromString(base64.b64decode(value)))


def _smallest() -> bytes:
    """A model of one node."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("N", 1)) for name in ("input", "output")]
    graph = helper.make_graph([helper.make_node("Identity", ["input"], ["output"])], "smallest", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    return cast(bytes, model.SerializeToString())
