"""Profiling: what each step of the plan costs in training, and how far that is from what the machine can do."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, TypeVar

import numpy as np

from cnnkit.components import Optimizer
from cnnkit.components.checks import whole
from cnnkit.errors import ShapeError
from cnnkit.network.execution.engine import Engine
from cnnkit.network.execution.machine_rates import MachineRates
from cnnkit.network.execution.objective import Objective
from cnnkit.network.execution.operation import Operation
from cnnkit.network.execution.plan import Step
from cnnkit.network.execution.session import training_session
from cnnkit.network.graph.node import INPUT
from cnnkit.types import Array, Cache, Context, Grads, Samples

P = ParamSpec("P")
T = TypeVar("T")
FORWARD, BACKWARD = "forward", "backward"
WARM_UP = 2
"""Passes that do not count: the first one plans the memory of the tiles, the second one faults it in."""


@dataclass(frozen=True)
class WayProfile:
    """What a step costs for one sample on its way forward, or on its way backward."""

    ms: float
    flops: int | None
    """Floating point operations, two for each multiply-add; None for layers without products."""
    nbytes: float
    """What must be moved at least: inputs, outputs and parameters, once for each tile; 0 where only views are made.

    Backward, the gradient of the output comes in, and those of the inputs and parameters go out; a step with parameters
    needs its own inputs again.
    """

    @property
    def gflops(self) -> float | None:
        """GFLOP/s."""
        return _rate(self.flops, self.ms)

    @property
    def gb_per_second(self) -> float | None:
        """1e9 bytes a second."""
        return _rate(self.nbytes, self.ms)

    def least_ms(self, rates: MachineRates) -> float:
        """What the machine needs for as many operations and bytes."""
        return rates.least_ms(self.flops or 0, self.nbytes)

    def of_limit(self, rates: MachineRates) -> float | None:
        """The share of what the machine can do; None where nothing is computed or moved."""
        return _share(self.least_ms(rates), self.ms)


@dataclass(frozen=True)
class StepProfile:
    """What one step of the plan costs for one sample."""

    name: str
    """The nodes that it runs, such as "conv2d_1 + relu_1"."""
    forward: WayProfile
    backward: WayProfile
    """It has as many operations for each gradient that is needed, of the weights and of the input; the network's own
    input needs none."""

    @property
    def ways(self) -> dict[str, WayProfile]:
        """Both by their names."""
        return {FORWARD: self.forward, BACKWARD: self.backward}

    @property
    def ms(self) -> float:
        """Of both."""
        return self.forward.ms + self.backward.ms

    def least_ms(self, rates: MachineRates) -> float:
        """What the machine needs for both."""
        return self.forward.least_ms(rates) + self.backward.least_ms(rates)


@dataclass(frozen=True)
class Profile:
    """What a training costs for one sample on one worker, without the update of the parameters."""

    steps: list[StepProfile]
    """In the order of the plan."""
    ms: float
    """Of a pass with all that is between the steps: samples are gathered and prepared, the loss, sums of gradients."""
    rates: MachineRates

    @property
    def between_ms(self) -> float:
        """Of what is between the steps."""
        return max(0.0, self.ms - sum(step.ms for step in self.steps))

    def rows(self) -> list[dict[str, Any]]:
        """The steps as a table: each way and both together; None where unknown, or where nothing is done."""
        return [self._row(step) for step in self.steps]

    def to_dict(self) -> dict[str, Any]:
        """All numbers, for JSON."""
        return {
            "ms": self.ms,
            "between_steps_ms": self.between_ms,
            "machine_gflops": self.rates.gflops,
            "machine_gb_per_second": self.rates.gb_per_second,
            "steps": self.rows(),
        }

    def _row(self, step: StepProfile) -> dict[str, Any]:
        flops = (step.forward.flops or 0) + (step.backward.flops or 0)
        nbytes = step.forward.nbytes + step.backward.nbytes
        row: dict[str, Any] = {
            "step": step.name,
            "share": step.ms / self.ms if self.ms else 0.0,
            "gflops": _rate(flops, step.ms),
            "bytes": round(nbytes),
            "gb_per_second": _rate(nbytes, step.ms),
            "of_limit": _share(step.least_ms(self.rates), step.ms),
        }
        for name, way in step.ways.items():
            row |= {
                f"{name}_ms": way.ms,
                f"{name}_flops": way.flops,
                f"{name}_gflops": way.gflops,
                f"{name}_bytes": round(way.nbytes),
                f"{name}_gb_per_second": way.gb_per_second,
                f"{name}_of_limit": way.of_limit(self.rates),
            }
        return row


def profile(
    engine: Engine, samples: Samples, objective: Objective, batch_size: int, rates: MachineRates, steps: int = 10
) -> Profile:
    """Time `steps` training passes over batches of the samples, in this process, with one BLAS thread.

    Of the passes, the faster half counts: in the others, the machine did something else as well. Nothing is learned:
    parameters and buffers stay as they are. rates: of the machine, as just measured. Raises ConfigError for numbers
    below 1, and ShapeError if there are no samples.
    """
    whole("steps", steps)
    size = min(whole("batch_size", batch_size), len(samples))
    if not size:
        raise ShapeError("expected at least one sample to profile with, got none")
    meters = [_Meter(step.operation, _parameter_bytes(engine, step)) for step in engine.steps]
    timed = copy.copy(engine)
    timed.steps = [replace(step, operation=meter) for step, meter in zip(engine.steps, meters, strict=True)]
    timed.coupled = [step for step in timed.steps if step.operation.coupled]
    passes: list[tuple[float, list[dict[str, float]]]] = []
    with training_session(timed, samples, objective, Optimizer(), size, workers=1) as session:  # it makes no update
        for number in range(-WARM_UP, steps):
            positions = (np.arange(size) + max(0, number) * size) % len(samples)
            began = time.perf_counter()
            session.step(positions, (0, 0, max(0, number)))
            seconds = time.perf_counter() - began
            if number >= 0:
                passes.append((seconds, [meter.seconds for meter in meters]))
            for meter in meters:
                meter.seconds, meter.counts = _zeros(), False
    passes.sort(key=lambda one: one[0])
    counted = passes[: -(-steps // 2)]
    of_ms = 1e3 / (len(counted) * size)
    found = []
    for number, (step, meter) in enumerate(zip(engine.steps, meters, strict=True)):
        flops = _flops(engine, step)
        ways = {
            way: WayProfile(of_ms * sum(seconds[number][way] for _, seconds in counted), flops[way], nbytes / size)
            for way, nbytes in meter.nbytes().items()
        }
        name = " + ".join(node.name for node in engine.nodes[step.node.index : step.output + 1])
        found.append(StepProfile(name, ways[FORWARD], ways[BACKWARD]))
    return Profile(found, of_ms * sum(seconds for seconds, _ in counted), rates)


class _Meter(Operation):
    """Keeps the time of an operation and, in its first pass, what it moves; it absorbs nothing: no buffer moves."""

    def __init__(self, operation: Operation, parameters: int) -> None:
        """parameters: their bytes."""
        super().__init__(operation.run)
        self.operation = operation
        self.coupled = operation.coupled
        self.seconds = _zeros()
        self.counts = True
        self._parameters = parameters
        self._taken = 0
        """Bytes of the inputs."""
        self._moved = {FORWARD: 0, BACKWARD: 0}

    def nbytes(self) -> dict[str, int]:
        """What is moved, by the way."""
        again = self._taken if self._parameters else 0  # for the gradients of the parameters
        return {FORWARD: self._moved[FORWARD], BACKWARD: self._moved[BACKWARD] + again}

    def partial(self, xs: Sequence[Array], ctx: Context) -> Array:
        return self._timed(FORWARD, self.operation.partial, xs, ctx)

    def join(self, partials: Sequence[Array]) -> Array:
        return self._timed(FORWARD, self.operation.join, partials)

    def absorb(self, total: Array) -> None:
        pass

    def forward(self, xs: Sequence[Array], ctx: Context) -> tuple[Array, Cache]:
        y, cache = self._timed(FORWARD, self.operation.forward, xs, ctx)
        if self.counts:
            self._taken += sum(x.nbytes for x in xs)
            self._moved[FORWARD] += _moved(xs, [y], self._parameters)
        return y, cache

    def backward_partial(self, dy: Array, cache: Cache, ctx: Context) -> Array:
        return self._timed(BACKWARD, self.operation.backward_partial, dy, cache, ctx)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Sequence[Array | None], Grads]:
        dxs, grads = self._timed(BACKWARD, self.operation.backward, dy, cache, ctx)
        if self.counts:
            made = [dx for dx in dxs if dx is not None]
            weights = (bool(made) + bool(grads)) * self._parameters  # read for dx, and their gradients written
            self._moved[BACKWARD] += _moved([dy], made, weights)
        return dxs, grads

    def _timed(self, way: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        began = time.perf_counter()
        result = call(*args, **kwargs)
        self.seconds[way] += time.perf_counter() - began
        return result


def _moved(given: Sequence[Array], made: Sequence[Array], parameters: int) -> int:
    """The bytes of what is read and written, once each; 0 if all that is made are views of what is given."""
    fresh = [one for one in made if not any(np.may_share_memory(one, other) for other in given)]
    return sum(one.nbytes for one in (*given, *fresh)) + parameters if fresh or parameters else 0


def _parameter_bytes(engine: Engine, step: Step) -> int:
    nodes = range(step.node.index, step.output + 1)
    entries = (entry for node in nodes for entry in engine.parameters.of_node(node))
    return sum(entry.stop - entry.start for entry in entries) * engine.dtype.itemsize


def _flops(engine: Engine, step: Step) -> dict[str, int | None]:
    """The operations of all nodes that a step runs, by the way."""
    forward = backward = 0
    for node in engine.nodes[step.node.index : step.output + 1]:
        cost = node.cost
        flops = 2 * cost.products if cost else 0
        forward += flops
        backward += flops * (1 if node.inputs == (INPUT,) else 2)
    return {FORWARD: forward or None, BACKWARD: backward or None}


def _zeros() -> dict[str, float]:
    return {FORWARD: 0.0, BACKWARD: 0.0}


def _rate(number: float | None, ms: float) -> float | None:
    """1e9 of these a second."""
    return number / ms / 1e6 if number and ms else None


def _share(least_ms: float, ms: float) -> float | None:
    return least_ms / ms if least_ms and ms else None
