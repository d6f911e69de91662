"""Training sessions: who takes the tiles of a batch through the network, and how their results are added.

Partials, losses and gradients are added in tile order, so that nothing depends on who ran which tile.
"""

from __future__ import annotations

import functools
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from cnnkit.components import GradientMethod, Optimizer
from cnnkit.network.execution.engine import Engine
from cnnkit.network.execution.memory_plan import memory_errors_told
from cnnkit.network.execution.objective import Objective, Sums
from cnnkit.network.execution.optimization import move, scope_of, slots_of
from cnnkit.network.execution.parameter_groups import Groups, ParameterGroups
from cnnkit.network.execution.threads import one_blas_thread
from cnnkit.network.execution.tile_pass import TilePass, to_end, to_stop
from cnnkit.network.execution.weight_rules import Constraints, Penalties
from cnnkit.network.kernels.compiled.optimizer_kernels import CompiledUpdates
from cnnkit.types import Array, Samples, Shape

SLOT_BYTES = 64 << 20
"""What the gradients of tiles that are not yet added may take, if it is more than one for each worker."""
NO_GROUPS = Groups()
LOSS_STOPS = 2
"""Of a coupled loss: for outputs and targets, and for what tiles share of their samples."""
CHUNK = 4096
"""Numbers whose squares are summed up together for the norm of the gradient, whoever does it."""


class Session:
    """Steps over batches of the same samples, towards the same objective; all in this process.

    A step leaves the gradient in `self.gradient`; an update moves the parameters by it.
    """

    workers = 1

    def __init__(
        self,
        engine: Engine,
        samples: Samples,
        objective: Objective,
        optimizer: Optimizer,
        batch_size: int,
        groups: Groups = NO_GROUPS,
    ) -> None:
        self.engine = engine
        self.groups = ParameterGroups(engine.parameters, optimizer, groups)
        self.penalties = Penalties(engine.parameters, groups)
        self._constraints = Constraints(engine.parameters, groups)
        self.samples = samples
        self.objective = objective
        self.optimizer = optimizer
        self._compiled = CompiledUpdates() if engine.compiled else None
        self.tile = engine.tile_for(batch_size)
        self.tiles = -(-batch_size // self.tile)
        """In how many tiles a full batch is cut."""
        engine.parameters.require_in_place()
        parameters = engine.parameters.vector
        self.gradient: Array = np.zeros_like(parameters)
        """The gradient of the mean loss and the penalties after a step, laid out like the parameters."""
        slots = slot_count(engine, objective, batch_size, self.workers)
        self.slots: Array = np.empty((slots, parameters.size), parameters.dtype)
        """The gradients of the tiles of a round."""
        self.state = {name: np.zeros_like(parameters) for name in slots_of(optimizer)}
        """The optimizer's vectors, by their names."""
        self.squares: Array = np.zeros(-(-parameters.size // CHUNK), parameters.dtype)
        """Of each chunk of the gradient the sum of the squares."""

    def step(self, batch: Array, key: tuple[int, ...]) -> Sums:
        """One forward and backward pass; leaves the gradient of mean loss and penalties in `self.gradient`.

        batch: (N,) positions of the samples, N at most the session's batch size; key: (seed, epoch, step), from which
        every random number of this step is derived.
        """
        sums: list[Sums] = []
        for numbers in self.rounds(len(batch)):
            passes = [self.tile_pass(batch, key, number) for number in numbers]
            total: Array | None = None
            for stop in range(stop_count(self.engine, self.objective)):
                total = self.join(stop, [to_stop(one, total) for one in passes])
            sums += [to_end(one, total) for one in passes]
            self.add(numbers, 0)
        self.end_gradient(0)
        return self.objective.total(sums)

    def join(self, stop: int, partials: Sequence[Array]) -> Array:
        """What the tiles of a batch are sent at a stop: layers forward, perhaps the loss, layers backward."""
        layers = len(self.engine.coupled)
        if stop < layers:
            return self.engine.join(stop, partials)
        if self.objective.coupled and stop < layers + LOSS_STOPS:
            return np.concatenate(partials)
        return functools.reduce(np.add, partials)

    def norm(self) -> float:
        """The Euclidean norm of the gradient."""
        norm = math.sqrt(float(self.squares.sum(dtype=np.float64)))
        if math.isfinite(norm):
            return norm
        return float(np.linalg.norm(self.gradient.astype(np.float64)))  # squares overflow before numbers do

    def update(self, lr: float, number: int, scale: float = 1.0) -> None:
        """Let the optimizer move the parameters by `scale` times the gradient, which it may overwrite.

        lr: the rate of this step, after the schedule; number: of this update, 1 for the first.
        """
        self.move(0, float(lr), number, float(scale))  # NumPy's own float64 would have it compute in float64
        self.hold()

    def hold(self) -> None:
        """Change the parameters, when all have been updated, to those that the constraints allow."""
        self._constraints.hold()

    def measure(self) -> None:
        """Take in that the gradient was changed after the step, for its norm."""
        for worker in range(self.workers):
            self.square(worker)

    def rounds(self, count: int) -> list[range]:
        """The numbers of the tiles of a batch with `count` samples, as many at a time as there are slots."""
        tiles, slots = -(-count // self.tile), len(self.slots)
        return [range(first, min(first + slots, tiles)) for first in range(0, tiles, slots)]

    def tile_pass(self, batch: Array, key: tuple[int, ...], number: int) -> TilePass:
        """The tile with this number, not yet on its way."""
        return self.engine.training_pass(
            self.samples,
            batch[number * self.tile : (number + 1) * self.tile],
            self.objective,
            (*key, number),
            1.0 / len(batch),
            self.slots[number % len(self.slots)],
            number * self.tile,
        )

    def part(self, worker: int) -> slice:
        """What one worker adds and updates of the parameters: whole chunks."""
        chunks = len(self.squares)
        first, last = chunks * worker // self.workers, chunks * (worker + 1) // self.workers
        return slice(first * CHUNK, min(last * CHUNK, self.gradient.size))

    def add(self, numbers: range, worker: int) -> None:
        """Add a round's gradients to a worker's part of `self.gradient`, in the order of the tiles."""
        part = self.part(worker)
        gradient, slots = self.gradient[part], self.slots[:, part]
        if numbers.start > 0:
            gradient += slots[0]
        elif len(numbers) == 1:
            gradient[...] = slots[0]
        else:
            np.add(slots[0], slots[1], out=gradient)
        for slot in slots[1 if numbers.start else 2 : len(numbers)]:
            gradient += slot

    def end_gradient(self, worker: int) -> None:
        """Take what is not of the tiles into a worker's part of the gradient: penalties, and what is frozen."""
        self.penalties.add(self.gradient, self.part(worker))
        self.square(worker)

    def square(self, worker: int) -> None:
        """Sum up the squares of the chunks in a worker's part."""
        part = self.part(worker)
        self.groups.zero_frozen(self.gradient, part)
        gradient, first = self.gradient[part], part.start // CHUNK
        whole = len(gradient) // CHUNK
        chunks, rest = gradient[: whole * CHUNK].reshape(whole, CHUNK), gradient[whole * CHUNK :]
        with np.errstate(over="ignore", invalid="ignore"):  # the trainer reports what is not finite
            np.vecdot(chunks, chunks, out=self.squares[first : first + whole])
            if rest.size:
                self.squares[first + whole] = np.vecdot(rest, rest)

    def move(self, worker: int, lr: float, number: int, scale: float) -> None:
        """Update a worker's part of the parameters."""
        self.engine.parameters.require_in_place()
        parameters = self.engine.parameters.vector

        def call(optimizer: Optimizer, params: Array, grads: Array, state: dict[str, Array]) -> None:
            compiled = self._compiled
            if not (compiled and compiled.update(optimizer, params, grads, state, lr, number)):
                move(optimizer, params, grads, state, lr, number)

        for part, shape in self.shares(worker):
            if scale != 1:
                self.gradient[part] *= scale
            state = {name: vector[part].reshape(shape) for name, vector in self.state.items()}
            self.groups.move(part, parameters[part].reshape(shape), self.gradient[part].reshape(shape), state, call)

    def shares(self, worker: int) -> list[tuple[slice, Shape]]:
        """What one worker lets the optimizer move: the parts of the vectors, each with the shape that it is given."""
        size = self.gradient.size
        match scope_of(self.optimizer):
            case "numbers":
                part = self.part(worker)
                return [(part, (part.stop - part.start,))] if part.start < part.stop else []
            case "network":
                return [(slice(0, size), (size,))] if worker == 0 and size else []
        return self._whole_parameters[worker]

    @functools.cached_property
    def _whole_parameters(self) -> list[list[tuple[slice, Shape]]]:
        """For each worker its parameters: the next largest one is for whom has the fewest numbers."""
        shares: list[list[tuple[slice, Shape]]] = [[] for _ in range(self.workers)]
        numbers = [0] * self.workers
        entries = [entry for entry in self.engine.parameters if entry.start < entry.stop]
        for entry in sorted(entries, key=lambda entry: (entry.start - entry.stop, entry.start)):
            worker = numbers.index(min(numbers))
            numbers[worker] += entry.stop - entry.start
            shares[worker].append((slice(entry.start, entry.stop), entry.shape))
        return shares


def stop_count(engine: Engine, objective: Objective) -> int:
    """How often the tiles of a batch wait for each other."""
    return 2 * len(engine.coupled) + LOSS_STOPS * objective.coupled


def slot_count(engine: Engine, objective: Objective, batch_size: int, workers: int) -> int:
    """How many tiles of a batch have room for their gradients at once."""
    tiles = -(-batch_size // engine.tile_for(batch_size))
    if stop_count(
        engine, objective
    ):  # they are all on their way at once; others end one after the other, and are added in rounds
        return tiles
    return min(tiles, max(workers, SLOT_BYTES // max(1, engine.parameters.vector.nbytes)))


def busy_workers(engine: Engine, batch_size: int, workers: int) -> int:
    """How many of the workers can be kept busy; one where forking is not safe (macOS) or not possible."""
    if not hasattr(os, "fork") or sys.platform == "darwin":
        return 1
    return min(workers, -(-batch_size // engine.tile_for(batch_size)))


@contextmanager
def training_session(
    engine: Engine,
    samples: Samples,
    objective: Objective,
    optimizer: Optimizer,
    batch_size: int,
    workers: int,
    method: GradientMethod | None = None,
    groups: Groups = NO_GROUPS,
) -> Iterator[Session]:
    """A session with as many workers as can be kept busy: processes, or this one alone; with a method, always alone.

    Processes, because threads hand Python's lock to each other between NumPy calls. They are forked, so that they share
    the samples and need nothing sent. Raises TrainingError where memory runs out.
    """
    workers = busy_workers(engine, batch_size, workers)
    with one_blas_thread(), memory_errors_told():
        if method is not None:
            from cnnkit.network.execution.numeric import NumericSession

            yield NumericSession(engine, samples, objective, optimizer, batch_size, method, groups)
            return
        if workers == 1:
            yield Session(engine, samples, objective, optimizer, batch_size, groups)
            return
        from cnnkit.network.execution.worker_processes import SharedSession

        session = SharedSession(engine, samples, objective, optimizer, batch_size, workers, groups)
        try:
            yield session
        finally:
            session.close()
