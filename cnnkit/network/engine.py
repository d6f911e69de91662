"""The engine: cuts a batch into tiles, takes them through the network, and adds what they give in tile order.

A tile's way is a generator. It runs without a stop unless a layer is coupled over the batch: there it yields its
partial sum and is sent the total of all tiles. One loop therefore serves networks with and without such layers, and
nothing depends on how many workers run the generators.
"""

from __future__ import annotations

import functools
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.components import BatchCoupledLayer, Layer, Loss, Merge, Metric
from cnnkit.errors import ShapeError
from cnnkit.network.context import TileContext, Workspace
from cnnkit.network.kernels import Kernel
from cnnkit.network.kernels.layout import logical
from cnnkit.network.node import INPUT, Node
from cnnkit.network.parameters import Parameters
from cnnkit.network.plan import plan
from cnnkit.network.workers import Workers, one_blas_thread
from cnnkit.types import Array, Cache, Grads, Preprocessing, Samples

CACHE_BYTES = 4 << 20
"""What a tile's activations should fit into: about one core's share of the last-level cache."""
MAX_TILE, MIN_TILE = 256, 32


@dataclass(frozen=True)
class Sums:
    """What a pass over samples adds up to: the loss and, for each metric, its sums; over `count` samples."""

    count: int
    loss: float
    metrics: tuple[Array, ...]

    def __add__(self, other: Sums) -> Sums:
        metrics = tuple(a + b for a, b in zip(self.metrics, other.metrics, strict=True))
        return Sums(self.count + other.count, self.loss + other.loss, metrics)


@dataclass(frozen=True)
class Sync:
    """A tile waits here for the sum of all tiles' partials."""

    layer: BatchCoupledLayer
    partial: Array
    forward: bool


@dataclass(frozen=True)
class Objective:
    """What a pass measures: the loss, and metrics beside it."""

    loss: Loss
    metrics: tuple[Metric, ...] = ()

    def sums(self, outputs: Array, targets: Array, losses: Array) -> Sums:
        """The contribution of one tile."""
        metrics = tuple(metric.sums(outputs, targets) for metric in self.metrics)
        return Sums(len(targets), float(losses.sum(dtype=np.float64)), metrics)


Pass = Generator[Sync, Array, "tuple[Sums, Array]"]


def tile_size(nodes: Sequence[Node], itemsize: int) -> int:
    """How many samples a tile has: a power of two whose activations fit into the cache."""
    per_sample = sum(int(np.prod(node.out_shape)) for node in nodes) * itemsize
    fitting = max(1, CACHE_BYTES // max(1, per_sample))
    return int(np.clip(1 << (fitting.bit_length() - 1), MIN_TILE, MAX_TILE))


class Engine:
    """Runs a network's nodes over batches with a number of workers."""

    def __init__(
        self,
        nodes: Sequence[Node],
        parameters: Parameters,
        preprocessing: Preprocessing,
        input_axes: int,
        workers: Workers,
    ) -> None:
        self.nodes = list(nodes)
        self.steps = plan(nodes)
        self.parameters = parameters
        self.workers = workers
        self.dtype: np.dtype[Any] = parameters.vector.dtype
        self.tile = tile_size(nodes, self.dtype.itemsize)
        self.gradient: Array = np.zeros_like(parameters.vector)
        """The gradient of the mean loss after `train_step`, laid out like the parameters."""
        self._factor, self._offset = preprocessing.affine(self.dtype, input_axes)
        self._workspaces: list[Workspace] = []
        self._gradients: list[Array] = []

    def train_step(self, samples: Samples, batch: Array, objective: Objective, key: tuple[int, ...]) -> Sums:
        """One forward and backward pass over a batch; leaves the gradient of the mean loss in `self.gradient`.

        batch: (N,) positions in `samples`; key: (seed, epoch, step), from which every random number of this step is
        derived.
        """
        passes = [
            self._training_pass(samples, batch[tile], objective, (*key, number), 1.0 / len(batch))
            for number, tile in enumerate(self._tiles(len(batch)))
        ]
        results = self._run(passes)
        self.gradient[...] = 0
        for _, gradient in results:
            self.gradient += gradient
            self._gradients.append(gradient)
        return functools.reduce(Sums.__add__, (sums for sums, _ in results))

    def evaluate(self, samples: Samples, objective: Objective) -> Sums:
        """Loss and metrics in prediction mode."""

        def one(tile: slice) -> Sums:
            part = samples.take(tile)
            with_workspace = self._take_workspace()
            outputs = self._predict(part.x, with_workspace)
            losses, _ = objective.loss.forward(outputs, part.y)
            sums = objective.sums(outputs, part.y, losses)
            self._workspaces.append(with_workspace)
            return sums

        with one_blas_thread():
            return functools.reduce(Sums.__add__, self.workers.map(one, self._tiles(len(samples))))

    def predict(self, x: Array) -> Array:
        """The outputs of the last node in prediction mode, (N, ...)."""
        y = np.empty((len(x), *self.nodes[-1].out_shape), self.dtype)

        def one(tile: slice) -> None:
            workspace = self._take_workspace()
            y[tile] = self._predict(x[tile], workspace)
            self._workspaces.append(workspace)

        with one_blas_thread():
            self.workers.map(one, self._tiles(len(x)))
        return y

    def trace(self, x: Array) -> list[Array]:
        """The output of every node in prediction mode, by the plain layers, for one tile."""
        ctx = TileContext(Workspace(self.dtype), False, ())
        values: dict[int, Array] = {INPUT: self._prepare(x, ctx)}
        for node in self.nodes:
            ctx.enter(node.index)
            values[node.index], _ = _forward(node.layer, [values[i] for i in node.inputs], ctx)
        return [np.array(values[node.index]) for node in self.nodes]

    def _run(self, passes: Sequence[Pass]) -> list[tuple[Sums, Array]]:
        total = None
        with one_blas_thread():
            while True:
                states = self.workers.map(functools.partial(_advance, total=total), passes)
                syncs = [state for state in states if isinstance(state, Sync)]
                if not syncs:
                    return [state for state in states if not isinstance(state, Sync)]
                total = functools.reduce(np.add, (sync.partial for sync in syncs))
                if syncs[0].forward:
                    syncs[0].layer.absorb(total)

    def _training_pass(
        self, samples: Samples, positions: Array, objective: Objective, key: tuple[int, ...], weight: float
    ) -> Pass:
        part = samples.take(positions)
        workspace = self._take_workspace()
        ctx = TileContext(workspace, True, key)
        values: dict[int, Array] = {INPUT: self._prepare(part.x, ctx)}
        caches: list[Cache] = []
        for step in self.steps:
            ctx.enter(step.node.index)
            inputs = [values[i] for i in step.node.inputs]
            if isinstance(step.run, BatchCoupledLayer):
                ctx.partial = step.run.partial(inputs[0], ctx)
                ctx.total = yield Sync(step.run, ctx.partial, forward=True)
            values[step.output], cache = _forward(step.run, inputs, ctx)
            caches.append(cache)

        outputs = values[self.steps[-1].output]
        losses, loss_cache = objective.loss.forward(outputs, part.y)
        sums = objective.sums(outputs, part.y, losses)

        gradient = self._take_gradient()
        pending: dict[int, Array] = {self.steps[-1].output: objective.loss.backward(loss_cache, weight)}
        for step, cache in zip(reversed(self.steps), reversed(caches), strict=True):
            ctx.enter(step.node.index)
            dy = pending.pop(step.output)
            if isinstance(step.run, BatchCoupledLayer):
                ctx.partial = step.run.backward_partial(dy, cache, ctx)
                ctx.total = yield Sync(step.run, ctx.partial, forward=False)
            if isinstance(step.run, Merge):
                dxs: Sequence[Array | None] = step.run.backward(dy, cache, ctx)
            else:
                dx, grads = step.run.backward(dy, cache, ctx)
                dxs = [dx]
                self._keep(step.node, grads, gradient)
            for source, dx in zip(step.node.inputs, dxs, strict=True):
                if source != INPUT and dx is not None:
                    pending[source] = pending[source] + dx if source in pending else dx
        self._workspaces.append(workspace)
        return sums, gradient

    def _keep(self, node: Node, grads: Grads, gradient: Array) -> None:
        entries = self.parameters.of_node(node.index)
        if {entry.name: entry.shape for entry in entries} != {name: grad.shape for name, grad in grads.items()}:
            raise ShapeError(
                f"{node}: backward must return a gradient for each parameter, "
                f"{ {entry.name: entry.shape for entry in entries} }; "
                f"it returned { {name: grad.shape for name, grad in grads.items()} }"
            )
        for entry in entries:
            self.parameters.view(gradient, entry)[...] = grads[entry.name]

    def _predict(self, x: Array, workspace: Workspace) -> Array:
        ctx = TileContext(workspace, False, ())
        values: dict[int, Array] = {INPUT: self._prepare(x, ctx)}
        for step in self.steps:
            ctx.enter(step.node.index)
            values[step.output], _ = _forward(step.run, [values[i] for i in step.node.inputs], ctx)
        return values[self.steps[-1].output]

    def _prepare(self, x: Array, ctx: TileContext) -> Array:
        """Raw values to network input; images get the memory order of the kernels, rows first."""
        if x.ndim == 4:
            samples, channels, height, width = x.shape
            y = logical(ctx.empty((height, channels, width, samples)))
        else:
            y = ctx.empty(x.shape)
        np.multiply(x, self._factor, out=y, dtype=self.dtype, casting="unsafe")
        return np.add(y, self._offset, out=y)

    def _tiles(self, count: int) -> list[slice]:
        return [slice(start, min(start + self.tile, count)) for start in range(0, count, self.tile)]

    def _take_workspace(self) -> Workspace:
        try:
            return self._workspaces.pop()
        except IndexError:
            return Workspace(self.dtype)

    def _take_gradient(self) -> Array:
        try:
            return self._gradients.pop()
        except IndexError:
            return np.empty_like(self.parameters.vector)


def _advance(run: Pass, total: Array | None) -> Sync | tuple[Sums, Array]:
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # the trainer reports what is not finite
            return run.send(total)  # type: ignore[arg-type]
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def _forward(run: Layer | Merge | Kernel, inputs: Sequence[Array], ctx: TileContext) -> tuple[Array, Cache]:
    return run.forward(inputs, ctx) if isinstance(run, Merge) else run.forward(inputs[0], ctx)
