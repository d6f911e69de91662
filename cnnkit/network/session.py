"""Training sessions: who takes the tiles of a batch through the network, and how their results are added.

Partials, losses and gradients are added in tile order, so that nothing depends on who ran which tile.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from cnnkit.network.engine import Engine, TilePass, to_end, to_stop
from cnnkit.network.objective import Objective, Sums
from cnnkit.network.workers import one_blas_thread
from cnnkit.types import Array, Samples

SLOT_BYTES = 64 << 20
"""What the gradients of tiles that are not yet added may take, if it is more than one for each worker."""


class Session:
    """Steps over batches of the same samples, towards the same objective; all tiles in this process."""

    workers = 1

    def __init__(self, engine: Engine, samples: Samples, objective: Objective, batch_size: int) -> None:
        self.engine = engine
        self.samples = samples
        self.objective = objective
        self.tile = engine.tile_for(batch_size)
        self.tiles = -(-batch_size // self.tile)
        """In how many tiles a full batch is cut."""
        parameters = engine.parameters.vector
        self.gradient: Array = np.zeros_like(parameters)
        """The gradient of the mean loss after a step, laid out like the parameters."""
        # Coupled tiles are all on their way at once. Others end one after the other, and are added in rounds.
        slots = self.tiles if engine.coupled else SLOT_BYTES // max(1, parameters.nbytes)
        self.slots: Array = np.empty((min(self.tiles, max(self.workers, slots)), parameters.size), parameters.dtype)
        """The gradients of the tiles of a round."""

    def step(self, batch: Array, key: tuple[int, ...]) -> Sums:
        """One forward and backward pass; leaves the gradient of the mean loss in `self.gradient`.

        batch: (N,) positions of the samples, N at most the session's batch size; key: (seed, epoch, step), from which
        every random number of this step is derived.
        """
        sums: list[Sums] = []
        for numbers in self.rounds(len(batch)):
            passes = [self.tile_pass(batch, key, number) for number in numbers]
            total: Array | None = None
            for layer in self.engine.coupled:
                total = functools.reduce(np.add, [to_stop(one, total) for one in passes])
                layer.absorb(total)
            for _ in self.engine.coupled:
                total = functools.reduce(np.add, [to_stop(one, total) for one in passes])
            sums += [to_end(one, total) for one in passes]
            self.add(numbers, slice(None))
        return functools.reduce(Sums.__add__, sums)

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
        )

    def add(self, numbers: range, part: slice) -> None:
        """Add a round's gradients to a part of `self.gradient`, in the order of the tiles."""
        for number in numbers:
            slot = self.slots[number % len(self.slots), part]
            if number == 0:
                self.gradient[part] = slot
            else:
                self.gradient[part] += slot


@contextmanager
def training_session(
    engine: Engine, samples: Samples, objective: Objective, batch_size: int, workers: int
) -> Iterator[Session]:
    """A session with as many workers as can be kept busy: processes, or this one alone.

    Processes, because threads hand Python's lock to each other between NumPy calls. They are forked, so that they share
    the samples and need nothing sent; where forking is not safe (macOS) or not possible, one worker does it all.
    """
    workers = min(workers, -(-batch_size // engine.tile_for(batch_size)))
    with one_blas_thread():
        if workers == 1 or not hasattr(os, "fork") or sys.platform == "darwin":
            yield Session(engine, samples, objective, batch_size)
            return
        from cnnkit.network.processes import SharedSession

        session = SharedSession(engine, samples, objective, batch_size, workers)
        try:
            yield session
        finally:
            session.close()
