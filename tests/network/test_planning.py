"""Planning grows with the number of layers, not with its square: all it does is counted, in Python's own steps."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest

from cnnkit.network import Sequential
from cnnkit.network.execution.memory_plan import MemoryPlan
from cnnkit.network.execution.plan import plan
from cnnkit.network.graph.node import flatten
from cnnkit.network.graph.parameter_limit import Limit
from cnnkit.network.graph.summary import Summary

LAYERS: dict[str, Callable[[int], list[str]]] = {
    "layers": lambda count: ["Flatten()"] + ["ReLU()"] * count,
    "merges": lambda count: ["Flatten()"] + ["Residual(ReLU())"] * count,
    "branches": lambda count: ["Flatten()", f"Concat({', '.join(['ReLU()'] * count)})"],
}
SHAPE = (1, 2, 2)
GROWTH = 2.2
"""How much more work twice as many layers may be; with the square, it is 4."""


def steps(work: Callable[[], object]) -> int:
    """How many instructions of Python the work takes."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def growth(work: Callable[[int], Callable[[], object]]) -> float:
    return steps(work(200)) / steps(work(100))


@pytest.mark.parametrize("kind", LAYERS)
def test_the_work_grows_with_the_layers(kind: str) -> None:
    models = {count: Sequential(LAYERS[kind](count), SHAPE) for count in (100, 200)}
    layers = {count: Sequential(LAYERS[kind](count), SHAPE).layers for count in (100, 200)}
    assert growth(lambda count: lambda: flatten(layers[count], SHAPE, 0, Limit(10**9))) < GROWTH
    assert growth(lambda count: lambda: plan(models[count].nodes, prediction=True)) < GROWTH
    assert growth(lambda count: lambda: Summary(models[count].nodes, SHAPE)) < GROWTH


@pytest.mark.parametrize("kept", [False, True])
def test_so_does_the_planning_of_memory(kept: bool) -> None:
    """Of arrays that are dropped at once, as in a prediction, or kept to the end, as for a backward pass."""

    def planning(count: int) -> Callable[[], object]:
        made, arrays = MemoryPlan(), []
        for _ in range(count):
            array = made.record((64,), np.dtype(np.float32))
            arrays += [array] if kept else []
        del array
        return lambda: (made.size(), made._before())

    assert growth(planning) < GROWTH


def test_positive_control_the_square_is_noticed() -> None:
    assert growth(lambda count: lambda: [other for one in range(count) for other in range(one)]) > 3
