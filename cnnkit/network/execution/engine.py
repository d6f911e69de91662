"""The engine: takes tiles, slices of a batch that fit into the processor's cache, through a network."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit.components import CollectingMetric
from cnnkit.components.error_naming import Naming
from cnnkit.layers.layout import empty_pixels
from cnnkit.network.execution.augmented import Augmented
from cnnkit.network.execution.cost import Cost, cost_of
from cnnkit.network.execution.objective import Objective, Sums, Told
from cnnkit.network.execution.operation import backward, forward, together
from cnnkit.network.execution.plan import Plan, Step, plain_steps, plan
from cnnkit.network.execution.threads import in_threads, one_blas_thread
from cnnkit.network.execution.tile_context import TileContext, Workspace
from cnnkit.network.execution.tile_pass import Arithmetic, TilePass, side_by_side, taken_apart
from cnnkit.network.graph.node import INPUT, Node
from cnnkit.network.graph.parameters import Parameters
from cnnkit.network.kernels.layout import samples_fastest
from cnnkit.types import Array, Batch, Cache, Inputs, Preprocessing, Samples

if TYPE_CHECKING:
    from cnnkit.network.execution.compiled_prediction import CompiledPrediction

FORWARD, BACKWARD = "forward pass", "backward pass"
MIN_TILE, MIDDLE_TILE, MAX_TILE = 32, 64, 128
"""With fewer samples, calls cost more than they compute; with more, what a tile needs leaves the processor's cache."""
CACHE_BYTES = 3 << 20
"""Tiles are larger than the middle size only if the largest output of a layer takes no more than this."""
KEPT_BYTES = 32 << 20
"""What a tile's memory may take to stay for the next prediction; where it takes more, to get it again takes no time."""
LONG = 10**9
"""Multiplications of a prediction from which on starting a thread takes no time beside them."""
COPIES = 6
"""Of all outputs, at most, that a metric has at once: their rows with the targets, twice, and their order."""
OUTPUT_BYTES = 16 << 20
"""What the largest output of a layer may take for a tile in any case; large images have smaller tiles."""


class Engine:
    """Runs a network's nodes over tiles.

    One engine may be used by several threads: each tile has its own workspace while it is being processed.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        parameters: Parameters,
        preprocessing: Preprocessing,
        input_axes: int,
        *,
        compiled: bool = False,
        predicts_compiled: bool = False,
    ) -> None:
        """compiled: whether a training uses compiled kernels; predicts_compiled: whether predictions do."""
        self.nodes = list(nodes)
        self.compiled, self._predicts_compiled = compiled, predicts_compiled
        self.parameters = parameters
        self.dtype: np.dtype[Any] = parameters.vector.dtype
        largest_output = max(math.prod(node.out_shape) for node in nodes) * self.dtype.itemsize
        in_cache, at_most = (_power_of_two(size // largest_output) for size in (CACHE_BYTES, OUTPUT_BYTES))
        self.largest_tile = min(MAX_TILE, max(in_cache, min(MIDDLE_TILE, at_most)))
        self.preprocessing, self.input_axes = preprocessing, input_axes
        self._factor, self._offset = preprocessing.affine(self.dtype, input_axes)
        self.workspaces: list[Workspace] = []
        """Those that no tile has now."""

    @functools.cached_property
    def steps(self) -> list[Step]:
        """Those of a training; who only predicts does not plan them."""
        return plan(self.nodes, compiled=self.compiled).steps

    @functools.cached_property
    def coupled(self) -> list[Step]:
        """The steps at which tiles wait for each other, in the order of the forward pass."""
        return [step for step in self.steps if step.operation.coupled]

    @functools.cached_property
    def largest_prediction_tile(self) -> int:
        """How many samples a tile of a prediction has at most.

        A prediction keeps nothing for a backward pass: its tiles may be twice as large, unless what they copy, such as
        the patches of a convolution, takes too much.
        """
        return min(MAX_TILE, 2 * self.largest_tile, _power_of_two(self.cost.tile_bytes // max(1, self.cost.peak)))

    def tile_for(self, batch_size: int) -> int:
        """How many samples a tile has in training; it depends on nothing but the network and the batch size.

        A batch has at least two tiles, unless they get too small, and four if they are larger than the middle size.
        """
        return min(self.largest_tile, _wanted_tile(batch_size))

    def why_tile(self, batch_size: int) -> str:
        """Why a tile has as many samples as it has, for a batch that is not smaller."""
        if self.largest_tile < _wanted_tile(batch_size):
            is_small = self.largest_tile < MIDDLE_TILE
            return f"as larger ones would {'take too much memory' if is_small else 'not fit into the cache'}"
        if batch_size < 2 * MIN_TILE:
            return "as smaller ones would cost more than they compute"
        return f"so that a batch has {-(-batch_size // self.tile_for(batch_size))} to share out"

    def check_training(self, samples: int, batch_size: int, batches: int = 1) -> None:
        """Raise CostError if the network makes too much of a sample, or takes too long by the loops of its layers.

        For an epoch of so many samples, and for one of its steps; batches: of a step.
        """
        self.cost.check()
        tile = self.tile_for(batch_size)
        self.cost.check_step(min(samples, batches * batch_size), tile)
        self.cost.check_rounds(samples, tile)

    def evaluate(self, samples: Samples, objective: Objective, workers: int, told: Told | None = None) -> Sums:
        """Loss and metrics in prediction mode. Raises CostError for what takes more memory or time than there is."""
        self.check_evaluation(len(samples), objective)
        threads = self.cost.threads(len(samples), self.largest_prediction_tile, workers)
        prediction = self._prediction_steps()
        kept = np.empty((objective.coupled * len(samples), *self.nodes[-1].out_shape), self.dtype)

        def one(tile: slice) -> Sums:
            targets = samples.y[tile]
            workspace = self._take_workspace()
            outputs = self._predict(prediction, samples.x[tile], workspace)
            if objective.coupled:
                kept[tile] = outputs
                losses = np.zeros(len(outputs))
            else:
                losses, _ = objective.losses(outputs, targets)
            sums = objective.sums(outputs, targets, losses)
            if told:
                told(tile, outputs)
            self.workspaces.append(workspace)
            return sums

        with one_blas_thread():
            sums = objective.total(
                in_threads(threads, one, self._tiles(len(samples)), apart=self._is_long(len(samples)))
            )
        return replace(sums, loss=objective.evaluated(kept, samples.y)) if objective.coupled else sums

    def check_evaluation(self, samples: int, objective: Objective) -> None:
        """Raise CostError if metrics would collect more from so many samples than there is memory for."""
        collecting = sum(isinstance(metric, CollectingMetric) for metric in objective.metrics)
        self.cost.check_collected(samples, COPIES * collecting + objective.coupled)

    def predict(self, x: Inputs, workers: int) -> Array:
        """The outputs of the last node in prediction mode, (N, ...).

        Raises CostError for what takes more memory or time than there is.
        """
        threads = self.cost.threads(len(x), self.largest_prediction_tile, workers, kept=len(x))
        y = np.empty((len(x), *self.nodes[-1].out_shape), self.dtype)
        machine_code = self._machine_code
        if machine_code and not machine_code.suits(len(x)):
            machine_code = None
        prediction = [] if machine_code else self._prediction_steps()

        def one(tile: slice) -> None:
            if machine_code:
                machine_code.run(x[tile], y[tile])
                return
            workspace = self._take_workspace()
            y[tile] = self._predict(prediction, x[tile], workspace)
            self.workspaces.append(workspace)

        tiles, apart = self._tiles(len(x)), self._is_long(len(x))
        if len(tiles) == 1:  # alone, a tile may have all of BLAS
            if apart:
                in_threads(1, one, tiles, apart=True)
            else:
                one(tiles[0])
            return y
        with one_blas_thread():
            in_threads(threads, one, tiles, apart=apart)
        self.workspaces = [workspace for workspace in self.workspaces if workspace.memory.nbytes <= KEPT_BYTES]
        return y

    def trace(self, x: Array) -> list[Array]:
        """The output of every node in prediction mode, by the plain layers, for one tile.

        Raises CostError as `predict` does.
        """
        self.plain_cost.threads(len(x), len(x), 1)

        def one(tile: Array) -> list[Array]:
            ctx = TileContext(Workspace(self.dtype), False, ())
            values: dict[int, Array] = {INPUT: self.prepare(tile, ctx)}
            self._forward(plain_steps(self.nodes), values, ctx)
            return [np.array(values[node.index]) for node in self.nodes]

        (outputs,) = in_threads(1, one, [x], apart=self._is_long(len(x)))
        return outputs

    def training_pass(
        self,
        samples: Samples,
        positions: Array,
        objective: Objective,
        key: tuple[int, ...],
        weight: float,
        gradient: Array,
        first: int = 0,
    ) -> TilePass:
        """One tile's way forward and backward.

        positions: of the tile's samples; key: what its random numbers depend on, seed and epoch first; weight: of each
        sample's loss in the gradient, which is written to `gradient`, laid out like the parameters; first: which of
        the batch's samples is the tile's first.
        """
        workspace = self._take_workspace()
        ctx = TileContext(workspace, True, key, len(positions))
        if isinstance(samples, Augmented):
            seed, epoch, *_ = key
            batch = samples.at(positions, seed, epoch)
        else:
            batch = Batch(workspace.gather(samples.x, positions), samples.y[positions])
        values: dict[int, Array] = {INPUT: self.prepare(batch.x, ctx)}
        targets = batch.y
        caches: list[Cache] = []
        for step in self.steps:
            ctx.enter(step.node.index)
            inputs = step.taken_from(values)
            with Naming(step.node, FORWARD):
                y, cache = yield from forward(step.operation, inputs, ctx)
                step.check_output(y, len(positions))
            values[step.output] = samples_fastest(y, ctx)
            caches.append(cache)
            del inputs, y  # what nobody refers to any more is memory for the next step

        outputs = values.pop(self.steps[-1].output)
        everyones = None
        if objective.coupled:
            rows = yield side_by_side(outputs, targets)
            batch_outputs, batch_targets = taken_apart(rows, outputs, targets)
            losses, loss_cache = objective.losses(batch_outputs, batch_targets, slice(first, first + len(outputs)))
            everyones = yield objective.shared(loss_cache)
        else:
            losses, loss_cache = objective.losses(outputs, targets)
        sums = objective.sums(outputs, targets, losses)

        gradient_of_loss = objective.gradient(loss_cache, weight, outputs.shape, everyones)
        pending: dict[int, Array] = {self.steps[-1].output: gradient_of_loss}
        del outputs, loss_cache, gradient_of_loss
        for step in reversed(self.steps):
            ctx.enter(step.node.index)
            dy, cache = pending.pop(step.output), caches.pop()
            entries = self.parameters.of_node(step.node.index)
            places = {entry.name: self.parameters.view(gradient, entry) for entry in entries}
            added = self.parameters.adds(step.node.index)  # to what stands there: that is no place to compute in
            ctx.gradients = {} if added else places
            with Naming(step.node, BACKWARD):
                dxs, grads = yield from backward(step.operation, dy, cache, ctx)
                step.check_gradients(dxs, len(positions))
                step.keep(grads, places, added=added)
            for source, dx in zip(step.node.inputs, dxs, strict=True):
                if source != INPUT and dx is not None:
                    dx = samples_fastest(dx, ctx)
                    if source in pending:
                        dx = np.add(pending[source], dx, out=ctx.empty_like(dx))
                    pending[source] = dx
            del dy, cache, dx, dxs, grads
        self.workspaces.append(workspace)
        return sums

    def forward(self, first: int, tiles: Sequence[dict[int, Array]], contexts: Sequence[TileContext]) -> list[Array]:
        """Take all tiles of a batch forward in training mode, one step after the other; the totals of coupled layers.

        first: of the steps, where to begin; tiles: the values of each tile by their nodes, to which the outputs are
        added; contexts: one for each tile.
        """
        totals: list[Array] = []
        with Arithmetic(over="ignore", invalid="ignore"):
            for step in self.steps[first:]:

                def join(partials: Sequence[Array], step: Step = step) -> Array:
                    totals.append(step.operation.join([part.astype(np.float64, copy=False) for part in partials]))
                    return totals[-1]

                for ctx in contexts:
                    ctx.enter(step.node.index)
                with Naming(step.node, FORWARD):
                    ways = [
                        forward(step.operation, [values[source] for source in step.node.inputs], ctx)
                        for values, ctx in zip(tiles, contexts, strict=True)
                    ]
                    for values, ctx, (y, _) in zip(tiles, contexts, together(ways, join), strict=True):
                        step.check_output(y, len(values[INPUT]))
                        values[step.output] = samples_fastest(y, ctx)
        return totals

    def join(self, number: int, partials: Sequence[Array]) -> Array:
        """The forward total of a batch for a coupled layer, the first being 0, which has then absorbed it.

        partials: of the batch's tiles, in their order.
        """
        with Naming(self.coupled[number].node, FORWARD):
            total = self.coupled[number].operation.join(partials)
        self.absorb(number, total)
        return total

    def absorb(self, number: int, total: Array) -> None:
        """Let a coupled layer take in the forward total of a batch."""
        with Naming(self.coupled[number].node, FORWARD):
            self.coupled[number].operation.absorb(total)

    def _prediction_steps(self) -> list[Step]:
        """The steps of a prediction, with the present parameters."""
        prediction = self._compiled_prediction if self._predicts_compiled else self._prediction
        if prediction.folds:
            with Arithmetic():
                for fold in prediction.folds:
                    fold.refresh()
        return prediction.steps

    @functools.cached_property
    def cost(self) -> Cost:
        """What a prediction costs."""
        return self._cost(self._prediction.steps)

    @functools.cached_property
    def plain_cost(self) -> Cost:
        """What a prediction costs with the plain layers, keeping all outputs."""
        return self._cost(plain_steps(self.nodes))

    def _cost(self, steps: Sequence[Step]) -> Cost:
        return cost_of(self.nodes, steps, self.parameters.vector.nbytes, self.dtype.itemsize)

    @functools.cached_property
    def _prediction(self) -> Plan:
        return plan(self.nodes, prediction=True)

    @functools.cached_property
    def _compiled_prediction(self) -> Plan:
        return plan(self.nodes, prediction=True, compiled=True)

    @functools.cached_property
    def _machine_code(self) -> CompiledPrediction | None:
        if not self._predicts_compiled:
            return None
        from cnnkit.network.execution.compiled_prediction import compiled_prediction  # few need what it imports

        return compiled_prediction(self._prediction, self.parameters, self.preprocessing, KEPT_BYTES)

    def _predict(self, steps: Sequence[Step], x: Array, workspace: Workspace) -> Array:
        ctx = TileContext(workspace, False, (), len(x))
        with Arithmetic():
            values: dict[int, Array] = {INPUT: self.prepare(x, ctx)}
            self._forward(steps, values, ctx)
        return values[steps[-1].output]

    def _forward(self, steps: Sequence[Step], values: dict[int, Array], ctx: TileContext) -> None:
        """Take one tile through these steps in prediction, and add the outputs to the values."""
        with Naming(steps[0].node, FORWARD) as naming:
            for step in steps:
                naming.what = node = step.node
                ctx.enter(node.index)
                xs = step.taken_from(values)
                y = step.operation.forward(xs, ctx)[0]
                step.check_output(y, len(xs[0]))
                values[step.output] = samples_fastest(y, ctx)
                del xs, y  # what nobody refers to any more is memory for the next step

    def prepare(self, x: Array, ctx: TileContext) -> Array:
        """Raw values to network input; images and signals get the memory order of the kernels, pixels first."""
        y = empty_pixels(x.shape, ctx) if x.ndim > 2 else ctx.empty(x.shape)
        np.multiply(x, self._factor, out=y, dtype=self.dtype, casting="unsafe")
        return np.add(y, self._offset, out=y)

    def _is_long(self, samples: int) -> bool:
        """Whether predicting so many samples, or one tile of them, takes so long that somebody may interrupt it."""
        return samples * self.cost.products > LONG

    def _tiles(self, count: int) -> list[slice]:
        """Of a prediction."""
        size = self.largest_prediction_tile
        return [slice(start, min(start + size, count)) for start in range(0, count, size)]

    def _take_workspace(self) -> Workspace:
        try:
            return self.workspaces.pop()
        except IndexError:
            return Workspace(self.dtype)


def _wanted_tile(batch_size: int) -> int:
    wanted = max(min(MIDDLE_TILE, batch_size // 2), batch_size // 4)
    return min(MAX_TILE, max(MIN_TILE, _power_of_two(wanted)))


def _power_of_two(n: int) -> int:
    return 1 << max(0, n.bit_length() - 1)
