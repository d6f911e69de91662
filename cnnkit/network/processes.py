"""A training session over several processes that share the parameters and the gradients.

Worker w takes the tiles w, w + workers, ...; worker 0 is this process. All meet at a barrier wherever tiles wait for
each other, read the partials from shared memory, and add them in the same order: each arrives at the same total.
"""

from __future__ import annotations

import contextlib
import functools
import mmap
import os
import signal
import warnings
from typing import Any, NoReturn

import numpy as np

from cnnkit import errors
from cnnkit.errors import CnnkitError, TrainingError
from cnnkit.network.engine import Engine, to_end, to_stop
from cnnkit.network.objective import Objective, Sums
from cnnkit.network.session import Session
from cnnkit.types import Array, Samples, Shape

GO, FAILED = b"g", b"f"


class SharedSession(Session):
    """A session whose tiles are spread over forked processes; `close` ends them."""

    def __init__(self, engine: Engine, samples: Samples, objective: Objective, batch_size: int, workers: int) -> None:
        super().__init__(engine, samples, objective, batch_size)
        self.workers = workers
        parameters = engine.parameters
        parameters.move_to(_shared(parameters.vector.shape, parameters.vector.dtype))
        self.gradient = _shared(self.gradient.shape, self.gradient.dtype)
        self.slots = _shared(self.slots.shape, self.slots.dtype)
        self._batch = _shared((batch_size,), np.dtype(np.int64))
        self._order = _shared((4,), np.dtype(np.int64))
        """Length of the batch, and its key."""
        self._like, partials = self._probe()
        tiles = len(self.slots)
        self._sums = _shared((tiles, self._like.pack().size), np.dtype(np.float64))
        # Two sets, used in turn: a worker that is ahead must not write where another one still reads.
        self._partials = [[_shared((tiles, *shape), np.dtype(np.float64)) for shape in partials] for _ in range(2)]
        self._turn = 0
        self._links: list[tuple[int, int]] = []
        """For each other worker the ends of two pipes: to hear from it, to tell it."""
        self._children: list[int] = []
        for worker in range(1, workers):
            self._fork(worker)

    def step(self, batch: Array, key: tuple[int, ...]) -> Sums:
        """As `Session.step`."""
        self._batch[: len(batch)] = batch
        self._order[:] = len(batch), *key
        self._tell()
        self._work(0)
        self._hear()
        tiles = -(-len(batch) // self.tile)
        return functools.reduce(Sums.__add__, map(self._like.unpack, self._sums[:tiles]))

    def close(self) -> None:
        """End the other processes; the parameters stay as they are."""
        for hear, tell in self._links:
            os.close(hear)
            os.close(tell)
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)  # it waits for an order, or works on a step that nobody waits for
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, 0)
        self._links, self._children = [], []

    def _probe(self) -> tuple[Sums, list[Shape]]:
        """What sums look like, and the partials of each stop: one sample, taken through without effect."""
        one = self.engine.training_pass(
            self.samples, np.arange(1), self.objective, (0, 0, 0, 0), 1.0, np.empty_like(self.gradient)
        )
        shapes: list[Shape] = []
        total: Array | None = None
        for _ in range(2 * len(self.engine.coupled)):
            total = to_stop(one, total)
            shapes.append(total.shape)
        return to_end(one, total), shapes

    def _work(self, worker: int) -> None:
        """One worker's share of a step."""
        count, *key = map(int, self._order)
        batch = self._batch[:count]
        tiles = -(-count // self.tile)
        mine = range(worker, tiles, self.workers)
        passes = self.passes(batch, tuple(key), mine)
        coupled = self.engine.coupled
        total: Array | None = None
        for stop, places in enumerate(self._partials[self._turn]):
            for number, one in zip(mine, passes, strict=True):
                places[number] = to_stop(one, total)
            self._meet(worker)
            total = functools.reduce(np.add, places[:tiles])
            if stop < len(coupled):
                coupled[stop].absorb(total)
        for number, one in zip(mine, passes, strict=True):
            self._sums[number] = to_end(one, total).pack()
        self._turn = 1 - self._turn
        self._meet(worker)
        size = self.gradient.size
        part = slice(size * worker // self.workers, size * (worker + 1) // self.workers)
        np.add.reduce(self.slots[:tiles, part], axis=0, out=self.gradient[part])

    def _meet(self, worker: int) -> None:
        """Wait until all workers are here."""
        if worker == 0:
            self._hear()
            self._tell()
        else:
            os.write(self._up, GO)
            if os.read(self._down, 1) != GO:
                os._exit(0)

    def _tell(self) -> None:
        for _, tell in self._links:
            try:
                os.write(tell, GO)
            except BrokenPipeError:
                self._hear()  # it ended, and may have said why

    def _hear(self) -> None:
        for hear, _ in self._links:
            heard = os.read(hear, 1)
            if heard == FAILED:
                raise _error(hear)
            if heard != GO:
                raise TrainingError("a worker process ended unexpectedly; was it killed, or out of memory?")

    def _fork(self, worker: int) -> None:
        hear, up = os.pipe()
        down, tell = os.pipe()
        with warnings.catch_warnings():
            # Python warns where other threads run: the child must touch no lock of theirs, and it only computes.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child:
            os.close(up)
            os.close(down)
            self._links.append((hear, tell))
            self._children.append(child)
            return
        for other in (hear, tell, *(end for link in self._links for end in link)):
            os.close(other)
        self._up, self._down = up, down
        self._serve(worker)

    def _serve(self, worker: int) -> NoReturn:
        """The life of a forked worker: it ends when its orders do, and whatever happens it never returns."""
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)  # the first worker decides when to stop
            while os.read(self._down, 1) == GO:
                self._work(worker)
                os.write(self._up, GO)
        except BrokenPipeError:
            pass  # the first worker has ended
        except BaseException as error:  # told to the first worker, which raises it
            os.write(self._up, FAILED + f"{type(error).__name__}\n{error}".encode())
        finally:
            os._exit(0)


def _shared(shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Zeros in memory that forked processes share."""
    size = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer(mmap.mmap(-1, max(1, size)), dtype, count=int(np.prod(shape))).reshape(shape)


def _error(hear: int) -> CnnkitError:
    """The error that a worker has told."""
    with os.fdopen(os.dup(hear), "rb") as stream:
        name, _, message = stream.read().decode().partition("\n")
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, CnnkitError):
        return kind(message)
    return TrainingError(f"a worker process failed: {name}: {message}")
