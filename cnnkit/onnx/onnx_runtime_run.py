"""ONNX Runtime on the CPU: a model read once, executed again and again.

`python onnx_runtime_run.py` does so over pipes, in an environment that has NumPy and ONNX Runtime and nothing of
cnnkit: this file imports nothing else, and takes any Python from 3.8 on. A message is the number of bytes of its head,
as 8 bytes, the head in JSON, `{"facts": {}, "arrays": [[name, dtype, shape]]}`, and the bytes of the arrays, as
`cnnkit.onnx.messages` has it. The first reply holds the fact `version`; the first request the model, as an array of
bytes; each later one inputs, and its reply the outputs or the fact `error`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import IO, Any


def session(model: bytes | str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """What gives all outputs by name for inputs by name, of a model or of one in a file of this name.

    Raises whatever ONNX Runtime does.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised as well; stderr stays the user's
    inference = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in inference.get_outputs()]
    return lambda inputs: dict(zip(names, inference.run(names, dict(inputs))))  # noqa: B905  # Python 3.9 has no strict


def read(stream: IO[bytes]) -> dict[str, Any] | None:
    """The arrays of the next message; None at the end."""
    import numpy as np  # here: of an environment without it, `main` says what is missing

    size = stream.read(8)
    if len(size) < 8:
        return None
    arrays = {}
    for name, dtype, shape in json.loads(stream.read(int.from_bytes(size, "little")))["arrays"]:
        kind = np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        arrays[name] = np.frombuffer(stream.read(count), kind).reshape(shape)
    return arrays


def write(stream: IO[bytes], facts: Mapping[str, str], arrays: Mapping[str, Any]) -> None:
    """Send a message."""
    shapes = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    head = json.dumps({"facts": facts, "arrays": shapes}).encode()
    stream.write(len(head).to_bytes(8, "little") + head)
    for array in arrays.values():
        stream.write(array.tobytes())
    stream.flush()


def limit_memory(more: int) -> None:
    """Let the process have so many further bytes of address space; what the packages take does not count."""
    import resource

    with open("/proc/self/statm") as file:
        has = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (has + more, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main() -> None:
    """Answer requests until there are no more; the argument is for `limit_memory`, "" for no limit."""
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever packages print, what is read must be replies alone
    try:
        import onnxruntime
    except ImportError as error:
        return write(replies, {"missing": str(error)}, {})
    write(replies, {"version": onnxruntime.__version__}, {})
    if sys.argv[1]:
        limit_memory(int(sys.argv[1]))
    first = read(requests)
    if first is None:
        return None
    try:
        execute = session(first["model"].tobytes())
    except Exception as error:
        return write(replies, {"error": f"{type(error).__name__}: {error}"}, {})
    write(replies, {}, {})
    while (inputs := read(requests)) is not None:
        try:
            outputs = execute(inputs)
        except Exception as error:
            write(replies, {"error": f"{type(error).__name__}: {error}"}, {})
        else:
            write(replies, {}, outputs)
    return None


if __name__ == "__main__":
    main()
