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


class Session:
    """Steps over batches of the same samples, towards the same objective; all tiles in this process."""

    def __init__(self, engine: Engine, samples: Samples, objective: Objective, batch_size: int) -> None:
        self.engine = engine
        self.samples = samples
        self.objective = objective
        self.tile = engine.tile_for(batch_size)
        parameters = engine.parameters.vector
        self.gradient: Array = np.zeros_like(parameters)
        """The gradient of the mean loss after a step, laid out like the parameters."""
        self.slots: Array = np.empty((-(-batch_size // self.tile), parameters.size), parameters.dtype)
        """The gradient of each tile."""

    def step(self, batch: Array, key: tuple[int, ...]) -> Sums:
        """One forward and backward pass; leaves the gradient of the mean loss in `self.gradient`.

        batch: (N,) positions of the samples, N at most the session's batch size; key: (seed, epoch, step), from which
        every random number of this step is derived.
        """
        passes = self.passes(batch, key, range(-(-len(batch) // self.tile)))
        total: Array | None = None
        for layer in self.engine.coupled:
            total = functools.reduce(np.add, [to_stop(one, total) for one in passes])
            layer.absorb(total)
        for _ in self.engine.coupled:
            total = functools.reduce(np.add, [to_stop(one, total) for one in passes])
        sums = [to_end(one, total) for one in passes]
        np.add.reduce(self.slots[: len(passes)], axis=0, out=self.gradient)
        return functools.reduce(Sums.__add__, sums)

    def passes(self, batch: Array, key: tuple[int, ...], numbers: range) -> list[TilePass]:
        """The tiles with these numbers, not yet on their way."""
        return [
            self.engine.training_pass(
                self.samples,
                batch[number * self.tile : (number + 1) * self.tile],
                self.objective,
                (*key, number),
                1.0 / len(batch),
                self.slots[number],
            )
            for number in numbers
        ]


@contextmanager
def training_session(
    engine: Engine, samples: Samples, objective: Objective, batch_size: int, workers: int
) -> Iterator[Session]:
    """A session with as many workers as can be kept busy: processes, or this one alone.

    Processes, because threads hand Python's lock to each other between NumPy calls: with two of them, tiles of 64
    samples took 1.2 to 1.6 times as long. They are forked, so that they share the samples and need nothing sent;
    where forking is not safe (macOS) or not possible, one worker does it all.
    """
    tiles = -(-batch_size // engine.tile_for(batch_size))
    with one_blas_thread():
        if min(workers, tiles) == 1 or not hasattr(os, "fork") or sys.platform == "darwin":
            yield Session(engine, samples, objective, batch_size)
            return
        from cnnkit.network.processes import SharedSession

        session = SharedSession(engine, samples, objective, batch_size, min(workers, tiles))
        try:
            yield session
        finally:
            session.close()
