"""ONNX files of strangers, checked and executed in a separate process that has limits of time and memory."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from onnx import ModelProto, ValueInfoProto

from cnnkit.components import Runtime, installed_catalog
from cnnkit.errors import ConfigError, OnnxError
from cnnkit.network import Network
from cnnkit.onnx import messages
from cnnkit.onnx.executable_model import samples_of, value_bytes
from cnnkit.onnx.load import Signature
from cnnkit.onnx.parts import Part, PartRun
from cnnkit.onnx.work_estimate import FREE, TIMES, work_of
from cnnkit.printable_text import printable
from cnnkit.types import Array, Shape
from cnnkit.wording import shorten

NO_MEMORY = 127
"""The exit code of a process to which the C library could not give what a new thread needs."""
SECONDS = 120.0
"""How long the check of a file, and each run of it, may take."""
MEMORY = 64 * 2**20
"""Bytes that a file may take in any case."""
COPIES = 3
"""Of the file that there are at one time: its bytes, what is parsed of them, and a runtime's own form."""
WEIGHTS = 4
"""How many times the model's own parameters a run may take beside that: ONNX Runtime puts kernels in another order."""
VALUES = 16
"""How many times the layers' outputs a run may take, most of which a runtime keeps."""
WINDOWS = 4
"""How many times the unrolled windows of one layer a run may take: the reference evaluator makes copies of them."""
CHUNK_BYTES = 2 * 2**20
"""Most bytes of layer outputs in one run."""
MAX_MESSAGE = 500
"""Characters of a message that come from a file or a runtime."""


@dataclass(frozen=True)
class Limits:
    """What each run of a file may take, beside what its size grants it."""

    shape: Shape
    """Of the input, with the batch axis."""
    numbers: int
    """Numbers that its nodes may touch."""
    memory: int
    """Bytes."""


def limits_for(model: Network, samples: int, batch: int | None, own: Sequence[ModelProto]) -> Limits:
    """Limits of a file that is compared with a model on so many samples.

    batch: of how many it takes at once; any number if None; own: exports of the model.
    """
    shape = (batch or samples_of(CHUNK_BYTES, model, samples), *model.input_shape)
    runs = -(-samples // shape[0])
    numbers = FREE // runs + TIMES * max((work_of(proto, shape).numbers for proto in own), default=0)
    return Limits(shape, numbers, _needed(model, batch))


class IsolatedProgram:
    """A file that another process checks and executes, which is restarted when it has crashed.

    data, path: the file and its name in messages; operators: those that it may use; limits: of a run; runtimes: those
    that it will be run on.
    Raises OnnxError for a file that is refused, or whose check crashes or exceeds a limit, ConfigError for a runtime
    that another process cannot build from its expression.
    """

    chunk_bytes = CHUNK_BYTES

    def __init__(
        self, data: bytes, path: Path, operators: Collection[str], limits: Limits, runtimes: Sequence[Runtime]
    ) -> None:
        self._data, self._path, self._operators, self._limits = data, path, operators, limits
        self._check_memory = MEMORY + COPIES * len(data)
        self._run_memory = self._check_memory + limits.memory
        self._expressions = {id(runtime): _expression(runtime) for runtime in runtimes}
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.signature = self._start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> IsolatedProgram:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, runtime: Runtime, x: Array, further: Sequence[ValueInfoProto] = ()) -> dict[str, Array]:
        """As `Program` says."""
        failed = f"{runtime!r} cannot execute the model"
        return self._request(failed, runtime, {"input": x}, "run", further=list(map(_encoded, further)))[1]

    def latency(self, runtime: Runtime, x: Array) -> float:
        """As `Program` says."""
        failed = f"the latency of {runtime!r} cannot be measured"
        reply, _ = self._request(failed, runtime, {"input": x}, task="latency")
        return float(reply["seconds"])

    def run_part(self, runtime: Runtime, part: Part, values: Mapping[str, Array]) -> PartRun:
        """As `Program` says."""
        facts = {"inputs": list(map(_encoded, part.inputs)), "output": _encoded(part.output)}
        reply, given = self._request(f"{runtime!r} cannot execute {part.output.name}", runtime, values, "part", **facts)
        return PartRun(given["model"].tobytes(), tuple(map(str, reply["names"])), given["output"])

    def close(self) -> int | None:
        """End the process, and return its exit code; None if there is none."""
        process, self._process = self._process, None
        if process is None:
            return None
        _kill(process)
        code = process.wait()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):  # what could not be sent is of no interest any more
                cast(Any, stream).close()
        return code

    def _request(
        self, failed: str, runtime: Runtime, arrays: Mapping[str, Array], task: str, **facts: Any
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        if self._process is None:
            self._start()
        return self._ask(failed, {"task": task, "runtime": self._expressions[id(runtime)], **facts}, arrays)

    def _start(self) -> Signature:
        self.close()
        self._process = start_process()
        facts = {
            "path": str(self._path),
            "size": len(self._data),
            "operators": sorted(self._operators),
            "check_memory": self._check_memory,
            "run_memory": self._run_memory,
            "shape": self._limits.shape,
            "numbers": self._limits.numbers,
            "seconds": SECONDS,
        }
        folders = json.dumps(sys.path).encode() + b"\n"
        reply, _ = self._ask(f"{self._path} cannot be checked", facts, before=folders, after=self._data)
        sizes = reply["sizes"]
        declared = None if sizes is None else tuple(sizes)
        signature = Signature(reply["opset"], reply["dtype"], declared, reply["outputs"], reply["precision"])
        if (batch := signature.batch) not in (None, self._limits.shape[0]):  # that is what memory was granted for
            raise OnnxError(f"{self._path} says in an unusual way that it takes batches of {batch:,} samples")
        return signature

    def _ask(
        self,
        failed: str,
        facts: Mapping[str, Any],
        arrays: Mapping[str, Array] | None = None,
        *,
        before: bytes = b"",
        after: bytes = b"",
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """Send a message, with what stands before and after it, and return the reply.

        Raises OnnxError, which begins with `failed`, if there is none.
        """
        process = cast("subprocess.Popen[bytes]", self._process)
        requests, replies = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
        late: list[bool] = []

        def end() -> None:
            late.append(True)
            _kill(process)

        timer = threading.Timer(SECONDS, end)
        timer.start()
        try:
            requests.write(before)
            messages.write(requests, facts, arrays)
            requests.write(after)
            requests.flush()
            reply, given = messages.read(replies, self._run_memory)
        except (BrokenPipeError, EOFError):
            code = process.wait()
            self.close()
            raise OnnxError(f"{failed}: {_end(code, late)}") from None
        except (ValueError, KeyError, TypeError) as error:  # only what a file has made of the process can write that
            self.close()
            raise OnnxError(f"{failed}: the process that did so sent an unreadable reply: {error}") from None
        finally:
            timer.cancel()
        if "error" in reply:
            raise OnnxError(_one_line(str(reply["error"])))
        return reply, given


def start_process() -> subprocess.Popen[bytes]:
    """Start the process, this very Python, which reads the folders of modules before its first request."""
    return subprocess.Popen(
        [
            sys.executable,
            "-P",  # no module is taken from the current folder, unless this process does so
            "-c",
            "import json, sys; sys.path[:] = json.loads(sys.stdin.buffer.readline()); "
            "from cnnkit.onnx.isolated_child import main; main()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # signals of the terminal are for this process, which ends the other
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},  # each further one of glibc's takes 64 MiB of address space
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End it with all that it has started, such as another Python."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def _encoded(value: ValueInfoProto) -> str:
    return base64.b64encode(value.SerializeToString()).decode()


def _expression(runtime: Runtime) -> str:
    """The expression that makes the runtime again, with the distribution that provides it."""
    catalog = installed_catalog()
    origin = catalog.origin(type(runtime))
    if origin is None:
        catalog.names(Runtime.kind)  # a runtime that was made without the catalog; this loads the plugins
        origin = catalog.origin(type(runtime))
    if origin is None:
        raise ConfigError(
            f"{runtime!r} does not come from an installed plugin. A file that is not the model's own export is run in "
            f"a separate process, which recreates the runtime from its expression: provide "
            f"{type(runtime).__name__} through the hook cnnkit_runtimes, or choose another runtime"
        )
    return f"{origin.distribution}:{runtime!r}"


def _needed(model: Network, batch: int | None) -> int:
    """Bytes that a run of the model itself may take, whatever a file makes of it."""
    weights = 4 * sum(array.size for array in model.state().values())
    each = VALUES * value_bytes(model) + WINDOWS * _window_bytes(model)
    return WEIGHTS * weights + (batch or samples_of(CHUNK_BYTES, model)) * each


def _window_bytes(model: Network) -> int:
    """Most bytes that a layer's inputs have for one sample once each output has its own copy of those it is made of."""
    sizes = [0]
    for node in model.nodes:
        channels = node.out_shape[0]
        weights = max((array.size for array in node.layer.params.values()), default=0)
        sizes.append(4 * weights // channels * math.prod(node.out_shape) // channels)
    return max(sizes)


def _end(code: int, late: Sequence[bool]) -> str:
    """How a process ended that gave no reply."""
    if late or code == -signal.SIGXCPU:
        return f"it did not end within {SECONDS:g} seconds"
    if code == NO_MEMORY:
        return "it ran out of the memory that a file of its size may take"
    if code < 0:
        return f"the process that did so was killed by {signal.Signals(-code).name}"
    return f"the process that did so ended with exit code {code}"


def _one_line(text: str) -> str:
    return shorten(printable(" ".join(text.split())), MAX_MESSAGE)
