"""A training session over several processes that share the parameters and the gradients.

Worker w takes the tiles w, w + workers, ...; worker 0 is this process. All meet at a barrier wherever tiles wait for
each other, read the partials from shared memory, and add them in the same order: each arrives at the same total. Then
each adds the gradients of its part of the parameters, and updates them.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import select
import signal
import traceback
import warnings
from typing import Any, NoReturn

import numpy as np

from cnnkit import errors
from cnnkit.components import Optimizer
from cnnkit.errors import CnnkitError, TrainingError
from cnnkit.network.execution.engine import Engine
from cnnkit.network.execution.memory_plan import out_of_memory, pages
from cnnkit.network.execution.objective import Objective, Sums
from cnnkit.network.execution.parameter_groups import Groups
from cnnkit.network.execution.session import LOSS_STOPS, NO_GROUPS, Session, stop_count
from cnnkit.network.execution.tile_pass import alone, to_end, to_stop
from cnnkit.terminal import HANGUP
from cnnkit.types import Array, Samples, Shape

GO, UPDATE, FAILED = b"g", b"u", b"f"
PATIENCE = 1_000
"""How often a pipe is asked, some 0.5 ms in all, before the process sleeps: to wake up takes longer than most waits."""
STOPPING = tuple(filter(None, (signal.SIGINT, signal.SIGTERM, HANGUP)))


class SharedSession(Session):
    """A session whose tiles are spread over forked processes; `close` ends them, and so does an error."""

    def __init__(
        self,
        engine: Engine,
        samples: Samples,
        objective: Objective,
        optimizer: Optimizer,
        batch_size: int,
        workers: int,
        groups: Groups = NO_GROUPS,
    ) -> None:
        self.workers = workers
        super().__init__(engine, samples, objective, optimizer, batch_size, groups)
        self._like, partials = self._probe()
        parameters = engine.parameters
        parameters.move_to(_shared(parameters.vector.shape, parameters.vector.dtype))
        self.gradient = _shared(self.gradient.shape, self.gradient.dtype)
        self.slots = _shared(self.slots.shape, self.slots.dtype)
        self.squares = _shared(self.squares.shape, self.squares.dtype)
        self.state = {name: _shared(vector.shape, vector.dtype) for name, vector in self.state.items()}
        self._batch = _shared((batch_size,), np.dtype(np.int64))
        self._order = _shared((4,), np.dtype(np.int64))
        """Length of the batch, and its key."""
        self._update = _shared((3,), np.dtype(np.float64))
        """What `update` was given."""
        self._sums = _shared((self.tiles, self._like.pack().size), np.dtype(np.float64))
        self._partials = [_shared((self.tiles, *shape), np.dtype(np.float64)) for shape in partials]
        """For each stop a place for each tile."""
        self._links: list[tuple[int, int]] = []
        """For each other worker the ends of two pipes: to hear from it, to tell it."""
        self._children: list[int] = []
        try:
            for worker in range(1, workers):
                self._fork(worker)
        except BaseException:
            self.close()
            raise

    def step(self, batch: Array, key: tuple[int, ...]) -> Sums:
        """As `Session.step`."""
        self._batch[: len(batch)] = batch
        self._order[:] = len(batch), *key
        self._together(GO)
        tiles = -(-len(batch) // self.tile)
        return self.objective.total(map(self._like.unpack, self._sums[:tiles]))

    def update(self, lr: float, number: int, scale: float = 1.0) -> None:
        """As `Session.update`."""
        self._update[:] = lr, number, scale
        self._together(UPDATE)
        self.hold()

    def _together(self, order: bytes) -> None:
        """All workers do what they are told."""
        if not self._links:
            raise TrainingError("this training session has ended or failed: start a new one")
        try:
            self._tell(order)
            self._obey(0, order)
            self._hear()
        except BaseException:
            self.close()  # the workers are somewhere inside it: there is no way back to a common start
            raise

    def _obey(self, worker: int, order: bytes) -> None:
        if order == UPDATE:
            lr, number, scale = map(float, self._update)
            self.move(worker, lr, int(number), scale)
        else:
            self._work(worker)

    def close(self) -> None:
        """End the other processes, and take the parameters out of the shared memory; their values stay.

        Called again, it does what is left of one that was interrupted.
        """
        while self._children:
            child = self._children[-1]
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)  # it waits for an order, or works on a step that nobody waits for
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, 0)
            self._children.pop()
        if self._links:
            parameters = self.engine.parameters
            parameters.move_to(np.empty_like(parameters.vector))
        while self._links:
            for end in self._links.pop():
                os.close(end)

    def _probe(self) -> tuple[Sums, list[Shape]]:
        """What sums look like, and the partials of each stop: one sample, taken through without effect."""
        one = self.engine.training_pass(
            self.samples, np.arange(1), self.objective, (0, 0, 0, 0), 1.0, np.empty_like(self.gradient)
        )
        sums, partials = alone(one, stop_count(self.engine, self.objective))
        shapes = [partial.shape for partial in partials]
        for stop in self._stops_of_loss():
            shapes[stop] = self.tile, *shapes[stop][1:]
        return sums, shapes

    def _stops_of_loss(self) -> range:
        """Those at which a tile gives a row for each of its samples."""
        layers = len(self.engine.coupled)
        return range(layers, layers + LOSS_STOPS * self.objective.coupled)

    def _work(self, worker: int) -> None:
        """One worker's share of a step."""
        count, *key = map(int, self._order)
        for numbers in self.rounds(count):
            mine = numbers[worker :: self.workers]
            passes = [self.tile_pass(self._batch[:count], tuple(key), number) for number in mine]
            total: Array | None = None
            for stop, places in enumerate(self._partials):
                rows = stop in self._stops_of_loss()
                for number, one in zip(mine, passes, strict=True):
                    partial = to_stop(one, total)
                    (places[number, : len(partial)] if rows else places[number])[...] = partial
                self._meet(worker)
                partials = list(places[: len(numbers)])
                if rows:
                    partials[-1] = partials[-1][: count - numbers[-1] * self.tile]
                total = self.join(stop, partials)
            for number, one in zip(mine, passes, strict=True):
                sums = to_end(one, total)
                self.objective.require_alike(self._like, sums)
                self._sums[number] = sums.pack()
            self._meet(worker)
            self.add(numbers, worker)
            if numbers[-1] + 1 < -(-count // self.tile):
                self._meet(worker)  # nobody writes into a slot of the next round that others still add
        self.end_gradient(worker)

    def _meet(self, worker: int) -> None:
        """Wait until all workers are here."""
        if worker == 0:
            self._hear()
            self._tell(GO)
        else:
            os.write(self._up, GO)
            if _read(self._down) != GO:
                os._exit(0)

    def _tell(self, order: bytes) -> None:
        for _, tell in self._links:
            try:
                os.write(tell, order)
            except BrokenPipeError:
                self._hear()  # it ended, and may have said why

    def _hear(self) -> None:
        for hear, _ in self._links:
            heard = _read(hear)
            if heard == FAILED:
                raise _error(hear)
            if heard != GO:
                raise TrainingError("a worker process ended unexpectedly; was it killed, or out of memory?")

    def _fork(self, worker: int) -> None:
        hear, up = os.pipe()
        down, tell = os.pipe()
        for end in (hear, down):
            os.set_blocking(end, False)
        # A signal must not lead the child back into the program that called: it waits until the child ignores it.
        masked = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        try:
            with warnings.catch_warnings():
                # Python warns where other threads run: the child must touch no lock of theirs, and it only computes.
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if not child:
                self._serve(worker, up, down, (hear, tell, *(end for link in self._links for end in link)))
            self._links.append((hear, tell))
            self._children.append(child)
        except OSError as error:
            os.close(hear)
            os.close(tell)
            raise TrainingError(f"cannot start {self.workers} workers: {error.strerror}; use fewer") from error
        finally:
            os.close(up)
            os.close(down)
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)

    def _serve(self, worker: int, up: int, down: int, others: tuple[int, ...]) -> NoReturn:
        """The life of a forked worker: it ends when its orders do, and whatever happens it never returns."""
        try:
            for number in STOPPING:
                signal.signal(number, signal.SIG_IGN)  # the first worker decides when to stop
            for end in others:
                os.close(end)
            self._up, self._down = up, down
            while order := _read(down):
                self._obey(worker, order)
                os.write(up, GO)
        except BrokenPipeError:
            pass  # the first worker has ended
        except BaseException as error:  # told to the first worker, which raises it
            text = traceback.format_exc() if not isinstance(error, CnnkitError) else ""
            notes = getattr(error, "__notes__", ())
            os.write(up, FAILED + "\0".join([type(error).__name__, str(error), *notes, text]).encode())
        finally:
            os._exit(0)


def _read(end: int) -> bytes:
    """The next byte of a pipe, or none if its other end is closed."""
    for _ in range(PATIENCE):
        with contextlib.suppress(BlockingIOError):
            return os.read(end, 1)
        os.sched_yield()
    waiting = select.poll()  # not select, which takes no descriptor above 1023
    waiting.register(end, select.POLLIN)
    while True:
        waiting.poll()
        with contextlib.suppress(BlockingIOError):
            return os.read(end, 1)


def _shared(shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Zeros in memory that forked processes share."""
    count = math.prod(shape)
    return np.frombuffer(pages(max(1, count * dtype.itemsize), mmap.MAP_SHARED), dtype, count=count).reshape(shape)


def _error(hear: int) -> CnnkitError:
    """The error that a worker has told, with its traceback as a note where it was no mistake of the user."""
    os.set_blocking(hear, True)
    with os.fdopen(os.dup(hear), "rb") as stream:
        name, message, *notes = stream.read().decode(errors="replace").split("\0")
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, CnnkitError):
        error = kind(message)
    elif name.endswith("MemoryError"):  # NumPy has one of its own
        return out_of_memory(message, notes[:-1])
    else:
        error = TrainingError(f"a worker process failed: {name}: {message}")
    for note in filter(None, notes):
        error.add_note(note)
    return error
