"""One runtime with a file that it has read, to be run again and again, and how long a run takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path

from cnnkit.components import Runtime
from cnnkit.onnx.runtimes import Run, prepared
from cnnkit.types import Array

RUNS, SECONDS = 9, 1.0
"""Runs whose median is taken, the first one left aside, and how long all may take; one is counted in any case."""


class Runner:
    """The runtime that executed a file last, ready to do so again."""

    def __init__(self) -> None:
        self._ready: tuple[Runtime, Run] | None = None

    def ready(self, runtime: Runtime, model: bytes | Path) -> Run:
        """What executes the model, or the one in a file, on this runtime; only one runtime is kept.

        Raises OnnxError if it cannot.
        """
        if self._ready is None or self._ready[0] is not runtime:
            self._ready = None  # what the last one keeps is freed first
            self._ready = runtime, prepared(runtime, model)
        return self._ready[1]


def median_seconds(run: Run, inputs: Mapping[str, Array]) -> float:
    """The median time of a few runs, after one that does not count."""
    run(inputs)
    times: list[float] = []
    while not times or (len(times) < RUNS and sum(times) < SECONDS):
        start = time.perf_counter()
        run(inputs)
        times.append(time.perf_counter() - start)
    return statistics.median(times)
