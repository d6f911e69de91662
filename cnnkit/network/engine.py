"""The engine: takes tiles, slices of a batch that fit into the processor's cache, through a network.

A tile's way through training is a generator. It runs without a stop unless a layer is coupled over the batch: there
it yields its partial sum and is sent the total of all tiles. Who runs the generators is the session's business.
"""

from __future__ import annotations

import functools
from collections.abc import Generator, Sequence
from typing import Any, cast

import numpy as np

from cnnkit.components import BatchCoupledLayer, Layer, Merge
from cnnkit.errors import ShapeError
from cnnkit.network.context import TileContext, Workspace
from cnnkit.network.kernels import Kernel
from cnnkit.network.kernels.layout import logical
from cnnkit.network.node import INPUT, Node
from cnnkit.network.objective import Objective, Sums
from cnnkit.network.parameters import Parameters
from cnnkit.network.plan import plan
from cnnkit.network.workers import in_threads, one_blas_thread
from cnnkit.types import Array, Cache, Grads, Preprocessing, Samples

CACHE_BYTES = 16 << 20
"""What a tile's activations should fit into: one core's share of a last-level cache."""
MIN_TILE, MAX_TILE = 32, 256
TILES = 8
"""In how many tiles a batch is cut, if they get neither too small nor too large: enough for as many workers."""

TilePass = Generator[Array, Array, Sums]
"""Yields partials, is sent totals, ends with the tile's sums."""


class Engine:
    """Runs a network's nodes over tiles.

    One engine may be used by several threads: each tile has a workspace of its own while it is on its way.
    """

    def __init__(
        self, nodes: Sequence[Node], parameters: Parameters, preprocessing: Preprocessing, input_axes: int
    ) -> None:
        self.nodes = list(nodes)
        self.steps = plan(nodes)
        self.parameters = parameters
        self.dtype: np.dtype[Any] = parameters.vector.dtype
        self.coupled = [step.run for step in self.steps if isinstance(step.run, BatchCoupledLayer)]
        """The layers at which tiles wait for each other, in the order of the forward pass."""
        per_sample = sum(int(np.prod(node.out_shape)) for node in nodes) * self.dtype.itemsize
        self.largest_tile = int(np.clip(_power_of_two(CACHE_BYTES // max(1, per_sample)), MIN_TILE, MAX_TILE))
        self._factor, self._offset = preprocessing.affine(self.dtype, input_axes)
        self._workspaces: list[Workspace] = []

    def tile_for(self, batch_size: int) -> int:
        """How many samples a tile has in training; it depends on nothing but the network and the batch size."""
        return int(np.clip(_power_of_two(batch_size // TILES), MIN_TILE, self.largest_tile))

    def evaluate(self, samples: Samples, objective: Objective, workers: int) -> Sums:
        """Loss and metrics in prediction mode."""

        def one(tile: slice) -> Sums:
            part = samples.take(tile)
            workspace = self._take_workspace()
            outputs = self._predict(part.x, workspace)
            losses, _ = objective.loss.forward(outputs, part.y)
            sums = objective.sums(outputs, part.y, losses)
            self._workspaces.append(workspace)
            return sums

        with one_blas_thread():
            return functools.reduce(Sums.__add__, in_threads(workers, one, self._tiles(len(samples))))

    def predict(self, x: Array, workers: int) -> Array:
        """The outputs of the last node in prediction mode, (N, ...)."""
        y = np.empty((len(x), *self.nodes[-1].out_shape), self.dtype)

        def one(tile: slice) -> None:
            workspace = self._take_workspace()
            y[tile] = self._predict(x[tile], workspace)
            self._workspaces.append(workspace)

        if 0 < len(x) <= self.largest_tile:  # alone, a tile may have all of BLAS
            one(slice(0, len(x)))
            return y
        with one_blas_thread():
            in_threads(workers, one, self._tiles(len(x)))
        return y

    def trace(self, x: Array) -> list[Array]:
        """The output of every node in prediction mode, by the plain layers, for one tile."""
        ctx = TileContext(Workspace(self.dtype), False, ())
        values: dict[int, Array] = {INPUT: self._prepare(x, ctx)}
        for node in self.nodes:
            ctx.enter(node.index)
            values[node.index], _ = _forward(node.layer, [values[i] for i in node.inputs], ctx)
        return [np.array(values[node.index]) for node in self.nodes]

    def training_pass(
        self,
        samples: Samples,
        positions: Array,
        objective: Objective,
        key: tuple[int, ...],
        weight: float,
        gradient: Array,
    ) -> TilePass:
        """One tile's way forward and backward.

        positions: of the tile's samples; key: what its random numbers depend on; weight: of each sample's loss in the
        gradient, which is written to `gradient`, laid out like the parameters.
        """
        workspace = self._take_workspace()
        ctx = TileContext(workspace, True, key)
        values: dict[int, Array] = {INPUT: self._prepare(workspace.gather(samples.x, positions), ctx)}
        targets = samples.y[positions]
        caches: list[Cache] = []
        for step in self.steps:
            ctx.enter(step.node.index)
            inputs = [values[i] for i in step.node.inputs]
            try:
                if isinstance(step.run, BatchCoupledLayer):
                    ctx.partial = step.run.partial(inputs[0], ctx)
                    ctx.total = yield ctx.partial
                values[step.output], cache = _forward(step.run, inputs, ctx)
            except Exception as error:
                error.add_note(f"in the forward pass of {step.node}")
                raise
            caches.append(cache)

        outputs = values[self.steps[-1].output]
        losses, loss_cache = objective.loss.forward(outputs, targets)
        sums = objective.sums(outputs, targets, losses)

        pending: dict[int, Array] = {self.steps[-1].output: objective.loss.backward(loss_cache, weight)}
        for step, cache in zip(reversed(self.steps), reversed(caches), strict=True):
            ctx.enter(step.node.index)
            dy = pending.pop(step.output)
            try:
                if isinstance(step.run, BatchCoupledLayer):
                    ctx.partial = step.run.backward_partial(dy, cache, ctx)
                    ctx.total = yield ctx.partial
                if isinstance(step.run, Merge):
                    dxs: Sequence[Array | None] = step.run.backward(dy, cache, ctx)
                else:
                    dx, grads = step.run.backward(dy, cache, ctx)
                    dxs = [dx]
                    self._keep(step.node, grads, gradient)
            except Exception as error:
                error.add_note(f"in the backward pass of {step.node}")
                raise
            for source, dx in zip(step.node.inputs, dxs, strict=True):
                if source != INPUT and dx is not None:
                    pending[source] = pending[source] + dx if source in pending else dx
        self._workspaces.append(workspace)
        return sums

    def _keep(self, node: Node, grads: Grads, gradient: Array) -> None:
        entries = self.parameters.of_node(node.index)
        if len(entries) != len(grads) or any(
            entry.name not in grads or grads[entry.name].shape != entry.shape for entry in entries
        ):
            expected = {entry.name: entry.shape for entry in entries}
            found = {name: grad.shape for name, grad in grads.items()}
            raise ShapeError(f"{node}: backward must return a gradient for each parameter, {expected}; it gave {found}")
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
        size = self.largest_tile
        return [slice(start, min(start + size, count)) for start in range(0, count, size)]

    def _take_workspace(self) -> Workspace:
        try:
            return self._workspaces.pop()
        except IndexError:
            return Workspace(self.dtype)


def to_stop(tile: TilePass, total: Array | None) -> Array:
    """Take a tile to its next stop and return its partial there; total: of the stop before, None before the first."""
    with _unwarned():
        partial = tile.send(total)  # type: ignore[arg-type]  # a generator starts with None
    return np.asarray(partial, np.float64)


def to_end(tile: TilePass, total: Array | None) -> Sums:
    """Take a tile from its last stop to its end and return its sums; total: of the last stop, None if there is none."""
    try:
        with _unwarned():
            tile.send(total)  # type: ignore[arg-type]  # as above
    except StopIteration as end:
        return cast(Sums, end.value)
    raise RuntimeError("a tile stopped once more than there are layers that are coupled over the batch")


def _unwarned() -> np.errstate:
    return np.errstate(over="ignore", invalid="ignore")  # the trainer reports what is not finite


def _power_of_two(n: int) -> int:
    return 1 << max(0, n.bit_length() - 1)


def _forward(run: Layer | Merge | Kernel, inputs: Sequence[Array], ctx: TileContext) -> tuple[Array, Cache]:
    return run.forward(inputs, ctx) if isinstance(run, Merge) else run.forward(inputs[0], ctx)
