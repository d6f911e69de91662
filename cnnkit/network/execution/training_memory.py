"""How much memory a training will take, before it takes any.

What a tile takes is measured: a real pass with a few samples of a tile is recorded, and planned as in training. Shapes
alone would not do: kernels cut their work into blocks, arrays of different lifetimes share memory, and what a plugin's
layer keeps is known to nobody else. They do tell where memory is so ample that nothing needs to be measured.
"""

from __future__ import annotations

import copy
import math
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from cnnkit.components import Optimizer
from cnnkit.components.escape_analysis import is_ours
from cnnkit.errors import CostError
from cnnkit.network.execution.augmented import Augmented
from cnnkit.network.execution.available_memory import present_memory, readable
from cnnkit.network.execution.cost import AMPLE
from cnnkit.network.execution.engine import Engine
from cnnkit.network.execution.memory_plan import memory_errors_told
from cnnkit.network.execution.numeric import in_float64
from cnnkit.network.execution.objective import Objective
from cnnkit.network.execution.optimization import slots_of
from cnnkit.network.execution.session import busy_workers, slot_count, stop_count
from cnnkit.network.execution.threads import one_blas_thread
from cnnkit.network.execution.tile_context import TileContext, Workspace
from cnnkit.network.execution.tile_pass import alone
from cnnkit.network.graph.node import INPUT, Node
from cnnkit.types import Samples

MEASURED_BYTES = 128 << 20
"""What a measured pass may take, unless a single sample takes more; for larger ones it is scaled."""
OUTPUTS = 2
"""How often the outputs of all layers would go into what a pass takes, roughly; by that a sample is found too large."""
EVALUATIONS, VECTORS = 2, 10
"""What a gradient method has at once: evaluations of the loss, and vectors, five in float64."""
PROCESS_BYTES = 8 << 20
"""Private memory of a forked process beside its workspaces: Python's objects, and the buffers of BLAS."""


@dataclass(frozen=True)
class Footprint:
    """The most memory that a training has at any time, in bytes, of all its processes together."""

    program: int
    """The interpreter with its libraries and whatever else the process has now."""
    samples: int
    """Those to train on."""
    parameters: int
    """With the copies that are kept of them."""
    gradients: int
    optimizer: int
    workspaces: int
    """Of all tiles that are on their way at once."""
    processes: int
    """What further workers have beside their workspaces."""
    added: int
    """What of all this is not there yet."""
    largest: Node
    """The layer that takes most."""

    @property
    def parts(self) -> dict[str, int]:
        """The parts by their names."""
        names = "program", "samples", "parameters", "gradients", "optimizer", "workspaces", "processes"
        return {name: getattr(self, name) for name in names}

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(self.parts.values())


class Forecast:
    """What training on these samples will take.

    workers: how many are wished for; evaluated: how many samples the largest evaluation has; copies: how many of the
    parameters are kept beside; available: bytes, None if unknown; numeric: whether a gradient method is asked.
    """

    def __init__(
        self,
        engine: Engine,
        samples: Samples,
        objective: Objective,
        optimizer: Optimizer,
        batch_size: int,
        workers: int,
        *,
        evaluated: int = 0,
        copies: int = 0,
        available: int | None = None,
        numeric: bool = False,
    ) -> None:
        self.engine = engine
        self.samples = samples
        self.objective = objective
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.workers = workers
        self.evaluated = evaluated
        self.copies = copies
        self.available = available
        self.numeric = numeric
        self._present = present_memory()
        self._taken: dict[tuple[Run, int], int] = {}

    def footprint(self, batch_size: int | None = None) -> Footprint:
        """For this batch size, the training's own if None.

        Raises CostError for a network that makes too much of one sample, or for too long.
        """
        self.engine.cost.check()
        return self._footprint(batch_size or self.batch_size, self._pass)

    def _footprint(self, batch: int, takes: Callable[[Run, int], int]) -> Footprint:
        """takes: what a pass takes with so many samples, in bytes."""
        engine, vector = self.engine, self.engine.parameters.vector
        tile = engine.tile_for(batch)
        tiles, workers = -(-batch // tile), 1 if self.numeric else busy_workers(engine, batch, self.workers)
        slots, states = slot_count(engine, self.objective, batch, workers), len(slots_of(self.optimizer))
        at_once = EVALUATIONS * tiles if self.numeric else tiles if stop_count(engine, self.objective) else workers
        in_a_tile = min(tile, batch)
        of_a_tile = takes(Forecast._evaluate if self.numeric else Forecast._train, in_a_tile)
        # The first pass of another kind gets fresh memory, while the workspaces stay what they are.
        rest = max(batch % tile, len(self.samples) % batch % tile)
        fresh = max(of_a_tile * rest // in_a_tile, self._evaluation(takes))
        added = {
            "gradients": (1 + slots + VECTORS * self.numeric) * vector.nbytes,
            "optimizer": states * vector.nbytes,
            "workspaces": at_once * of_a_tile + fresh + self.objective.pair_bytes(batch, engine.dtype.itemsize),
            "processes": (workers - 1) * PROCESS_BYTES,
        }
        samples = self.samples.x.nbytes + self.samples.y.nbytes
        return Footprint(
            program=max(0, self._present - samples - vector.nbytes),
            samples=samples,
            parameters=(1 + self.copies) * vector.nbytes,
            **added,
            added=sum(added.values()) + self.copies * vector.nbytes,
            largest=self._largest(1 + self.copies + 1 + slots + states, at_once * in_a_tile),
        )

    def at_most(self) -> Footprint:
        """More than the training takes, by the shapes alone of layers that are all cnnkit's own."""
        return self._footprint(self.batch_size, lambda _run, samples: int(self._bound(samples)))

    def _bound(self, samples: int) -> float:
        """More than a pass with so many samples takes, by the shapes alone; infinite where they do not tell."""
        return samples * self.engine.cost.training + AMPLE * self.engine.parameters.vector.nbytes

    def fits(self, batch_size: int) -> bool:
        """Whether training with this batch size does not take more than is available."""
        return self.available is None or self.footprint(batch_size).added <= self.available

    def largest_batch(self) -> int:
        """The largest batch size that fits, not above the training's own; 0 if none does."""
        if self.fits(self.batch_size):
            return self.batch_size
        if not self.fits(1):
            return 0
        fitting, beyond = 1, self.batch_size
        while beyond - fitting > 1:
            middle = (fitting + beyond) // 2
            if self.fits(middle):
                fitting = middle
            else:
                beyond = middle
        return fitting

    def require(self) -> None:
        """Raises CostError if the training does not fit into what is available, as far as that is known."""
        self.engine.cost.check()
        if self.available is None or self._is_ample(self.available) or self.fits(self.batch_size):
            return
        found, best = self.footprint(), self.largest_batch()
        shape = " x ".join(map(str, found.largest.out_shape))
        raise CostError(
            f"training with batch size {self.batch_size} takes about {readable(found.added)} of memory in addition to "
            f"the {readable(self._present)} in use, but only {readable(self.available)} is available; the layer that "
            f"takes most is {found.largest}, which gives {shape} values for each sample: "
            + (
                f"the largest batch size that fits is {best}"
                if best
                else "no batch size fits; use fewer workers, smaller inputs, or a smaller network"
            )
        )

    def _largest(self, vectors: int, samples: int) -> Node:
        """The node with the largest outputs and parameters, of which there are as many `vectors`."""

        def numbers(node: Node) -> int:
            parameters = sum(entry.stop - entry.start for entry in self.engine.parameters.of_node(node.index))
            return vectors * parameters + samples * math.prod(node.out_shape)

        return max(self.engine.nodes, key=numbers)

    def _is_ample(self, available: int) -> bool:
        """Whether the shapes alone tell that more is available than the training can take, so that no pass is run."""
        known = math.isfinite(self.engine.cost.training) and is_ours(type(self.objective.loss).__module__)
        if self.numeric or not known or isinstance(self.samples, Augmented):
            return False
        return self.at_most().added <= available

    def _evaluation(self, takes: Callable[[Run, int], int]) -> int:
        """What the threads of an evaluation take."""
        if not self.evaluated:
            return 0
        tile = min(self.engine.largest_prediction_tile, self.evaluated)
        threads = min(self.workers, -(-self.evaluated // tile))
        return threads * takes(Forecast._predict, tile)

    def _pass(self, run: Run, samples: int) -> int:
        """What a pass with these many samples takes; nothing is run that is too large by its shapes alone."""
        outputs = sum(math.prod(node.out_shape) for node in self.engine.nodes) * self.engine.dtype.itemsize
        room = math.inf if self.available is None else self.available
        if self.engine.parameters.vector.nbytes + OUTPUTS * outputs > room:
            return samples * OUTPUTS * outputs
        allowed, most = int(min(MEASURED_BYTES, room)), min(samples, len(self.samples))
        few = most if most * OUTPUTS * outputs <= allowed and self._bound(most) < room else 1
        # A single sample takes more than each of many, as they share what does not grow with them.
        while (more := min(most, allowed * few // max(1, self._measured(run, few)))) >= 2 * few:
            few = more
        return self._measured(run, few) * samples // few

    def _measured(self, run: Run, samples: int) -> int:
        """What a pass takes: the planned memory, and the arrays that layers make themselves."""
        if (run, samples) in self._taken:
            return self._taken[run, samples]
        engine = copy.copy(self.engine)
        engine.workspaces = [workspace := Workspace(engine.dtype)]
        go = run(self, engine, samples)
        with one_blas_thread(), memory_errors_told(), _traced():
            go()
            staying, peak = tracemalloc.get_traced_memory()  # such as constants that kernels share
        self._taken[run, samples] = workspace.memory.planned() + workspace.raw.nbytes + peak - staying
        return self._taken[run, samples]

    def _train(self, engine: Engine, samples: int) -> Callable[[], object]:
        gradient = np.empty_like(engine.parameters.vector)  # counted with the other gradients
        one = engine.training_pass(self.samples, np.arange(samples), self.objective, (0, 0, 0, 0), 1.0, gradient)
        return lambda: alone(one, stop_count(engine, self.objective))

    def _evaluate(self, engine: Engine, samples: int) -> Callable[[], object]:
        exact, (workspace,) = in_float64(engine), engine.workspaces
        workspace.dtype = exact.dtype
        ctx = TileContext(workspace, True, (0, 0, 0, 0), samples)
        return lambda: exact.forward(0, [{INPUT: exact.prepare(self.samples.x[:samples], ctx)}], [ctx])

    def _predict(self, engine: Engine, samples: int) -> Callable[[], object]:
        return lambda: engine.predict(self.samples.x[:samples], 1)


Run = Callable[[Forecast, Engine, int], Callable[[], object]]
"""What makes a pass with these many samples, to be begun by a call."""


@contextmanager
def _traced() -> Iterator[None]:
    """Python and NumPy count what they take; the peak begins here."""
    tracing = tracemalloc.is_tracing()
    if tracing:
        tracemalloc.reset_peak()
    else:
        tracemalloc.start()
    try:
        yield
    finally:
        if not tracing:
            tracemalloc.stop()
