"""Exports and validates a network; prints the most memory that each takes, as multiples of that of the weights.

usage: memory_driver.py lean|keeping; keeping: a positive control, in which the reference evaluator's files stay
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from onnx import ModelProto

from cnnkit.network import Sequential
from cnnkit.onnx import reference_run
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.validate import validate_proto
from cnnkit.types import Array

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
KEPT: list[object] = []
reference = reference_run.reference


def memory(name: str) -> int:
    """VmRSS: bytes in memory now; VmHWM: the most since the last reset."""
    return 1024 * int(STATUS.read_text().partition(f"{name}:")[2].split()[0])


@contextmanager
def measured(found: list[float], weights: int) -> Iterator[None]:
    RESET.write_text("5")
    before = memory("VmRSS")
    yield
    found.append((memory("VmHWM") - before) / weights)


def keeping(model: ModelProto) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    run = reference(model)
    KEPT.append((model, run))
    return run


if __name__ == "__main__":
    small = Sequential(["Dense(4)"], (4,))
    validate_proto(to_onnx(small), Path("small.onnx"), small)  # what is imported is counted before
    if sys.argv[1] == "keeping":
        reference_run.reference = keeping
    model = Sequential(["Dense(4096)", "ReLU()", "Dense(10)"], (2048,))
    weights, found = model.parameters.vector.nbytes, list[float]()
    with measured(found, weights):
        proto = to_onnx(model)
    with measured(found, weights):
        validate_proto(proto, Path("large.onnx"), model, np.zeros((3, 2048), np.float32))
    print(json.dumps(found))
