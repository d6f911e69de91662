"""Profiling: what each step of the plan costs in training."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cnnkit.components import Optimizer
from cnnkit.components.checks import whole
from cnnkit.errors import ShapeError
from cnnkit.network.execution.engine import Engine
from cnnkit.network.execution.objective import Objective
from cnnkit.network.execution.operation import Operation
from cnnkit.network.execution.plan import Step
from cnnkit.network.execution.session import training_session
from cnnkit.network.graph.node import INPUT, Node
from cnnkit.types import Array, Cache, Context, Grads, Samples


@dataclass(frozen=True)
class StepProfile:
    """What one step of the plan costs for one sample."""

    name: str
    """The nodes that it runs, such as "conv2d_1 + relu_1"."""
    forward_ms: float
    backward_ms: float
    flops: int | None
    """Floating point operations of the forward pass, two for each multiply-add; None for layers without products."""
    backward_flops: int | None
    """As many for each gradient that is needed, of the weights and of the input; the network's own input needs none."""


def profile(
    engine: Engine, samples: Samples, objective: Objective, batch_size: int, steps: int = 10
) -> list[StepProfile]:
    """Time `steps` training passes over batches of the samples, in this process, with one BLAS thread.

    Nothing is learned: parameters and buffers stay as they are. The steps of the result are those of the plan, in
    their order. Raises ConfigError for numbers below 1, and ShapeError if there are no samples.
    """
    whole("steps", steps)
    size = min(whole("batch_size", batch_size), len(samples))
    if not size:
        raise ShapeError("expected at least one sample to profile with, got none")
    clocks = [_Clock(step.operation) for step in engine.steps]
    timed = copy.copy(engine)
    timed.steps = [replace(step, operation=clock) for step, clock in zip(engine.steps, clocks, strict=True)]
    timed.coupled = [step for step in timed.steps if step.operation.coupled]
    with training_session(timed, samples, objective, Optimizer(), size, workers=1) as session:  # it makes no update
        for number in range(-1, steps):
            if number == 0:  # the pass before was the one that faults memory in
                for clock in clocks:
                    clock.forward_seconds = clock.backward_seconds = 0.0
            positions = (np.arange(size) + max(0, number) * size) % len(samples)
            session.step(positions, (0, 0, max(0, number)))
    return [_profile(engine.nodes, step, clock, steps * size) for step, clock in zip(engine.steps, clocks, strict=True)]


def rows(profiles: Sequence[StepProfile]) -> list[dict[str, Any]]:
    """A profile as a table: the times of a sample in ms, shares of the whole time, and GFLOP/s, None where unknown."""
    whole_ms = sum(one.forward_ms + one.backward_ms for one in profiles)
    return [
        {
            "step": one.name,
            "forward_ms": one.forward_ms,
            "backward_ms": one.backward_ms,
            "share": (one.forward_ms + one.backward_ms) / whole_ms if whole_ms else 0.0,
            "forward_gflops": _rate(one.flops, one.forward_ms),
            "backward_gflops": _rate(one.backward_flops, one.backward_ms),
        }
        for one in profiles
    ]


class _Clock(Operation):
    """Keeps the time of an operation; it absorbs nothing, so that no buffer moves."""

    def __init__(self, operation: Operation) -> None:
        super().__init__(operation.run)
        self.operation = operation
        self.coupled = operation.coupled
        self.forward_seconds = self.backward_seconds = 0.0

    def partial(self, xs: Sequence[Array], ctx: Context) -> Array:
        with self._in_forward():
            return self.operation.partial(xs, ctx)

    def join(self, partials: Sequence[Array]) -> Array:
        with self._in_forward():
            return self.operation.join(partials)

    def absorb(self, total: Array) -> None:
        pass

    def forward(self, xs: Sequence[Array], ctx: Context) -> tuple[Array, Cache]:
        with self._in_forward():
            return self.operation.forward(xs, ctx)

    def backward_partial(self, dy: Array, cache: Cache, ctx: Context) -> Array:
        with self._in_backward():
            return self.operation.backward_partial(dy, cache, ctx)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Sequence[Array | None], Grads]:
        with self._in_backward():
            return self.operation.backward(dy, cache, ctx)

    @contextmanager
    def _in_forward(self) -> Iterator[None]:
        """Add the time of a block to the forward pass."""
        began = time.perf_counter()
        yield
        self.forward_seconds += time.perf_counter() - began

    @contextmanager
    def _in_backward(self) -> Iterator[None]:
        """Add the time of a block to the backward pass."""
        began = time.perf_counter()
        yield
        self.backward_seconds += time.perf_counter() - began


def _profile(nodes: Sequence[Node], step: Step, clock: _Clock, samples: int) -> StepProfile:
    cost = step.node.cost
    flops = 2 * cost.products if cost and cost.products else None
    return StepProfile(
        " + ".join(node.name for node in nodes[step.node.index : step.output + 1]),
        1e3 * clock.forward_seconds / samples,
        1e3 * clock.backward_seconds / samples,
        flops,
        flops and flops * (1 if step.node.inputs == (INPUT,) else 2),
    )


def _rate(flops: int | None, ms: float) -> float | None:
    """GFLOP/s."""
    return flops / ms / 1e6 if flops and ms else None
