"""Training without backpropagation: the gradient is found from values of the loss alone, in float64."""

from __future__ import annotations

import bisect
import copy
import functools
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from cnnkit.components import GradientMethod, Optimizer
from cnnkit.components.error_naming import Naming
from cnnkit.errors import ShapeError
from cnnkit.network.execution.augmented import Augmented
from cnnkit.network.execution.engine import Engine
from cnnkit.network.execution.objective import Objective, Sums
from cnnkit.network.execution.parameter_groups import Groups
from cnnkit.network.execution.session import NO_GROUPS, Session
from cnnkit.network.execution.tile_context import TileContext, Workspace
from cnnkit.network.graph.keyed_random import keyed_rng
from cnnkit.network.graph.node import INPUT
from cnnkit.network.graph.parameters import Parameters
from cnnkit.types import Array, Batch, Samples

Workspaces = defaultdict[tuple[int, bool], Workspace]
"""By the tile, and by whether it is for the evaluation whose values are kept for the others."""


class BatchLoss:
    """The mean loss of one batch as a function of the parameters, with the same random numbers in each evaluation.

    What comes before the first parameter that has changed is not computed again: a network whose last layer has most
    of the parameters costs little more than that layer.
    """

    def __init__(
        self, engine: Engine, objective: Objective, tiles: Sequence[Batch], key: tuple[int, ...], places: Workspaces
    ) -> None:
        self._engine, self._objective, self._tiles = engine, objective, tiles
        self._key, self._places = key, places
        self._parameters = engine.parameters.vector.copy()
        entries = [(at, engine.parameters.of_node(step.node.index)) for at, step in enumerate(engine.steps)]
        firsts = {own[0].start: at for at, own in reversed(entries) if own}
        self._starts = sorted(firsts.items())
        """Where in the vector the parameters of each step begin, for those with parameters."""
        contexts = self._contexts(0, kept=True)
        self._values = [{INPUT: engine.prepare(tile.x, ctx)} for tile, ctx in zip(tiles, contexts, strict=True)]
        self.totals = engine.forward(0, self._values, contexts)
        """Of the coupled layers, for the parameters that the engine had at the beginning."""
        self.sums = self._sums(self._values)
        """Loss and metrics for those parameters."""

    def __call__(self, params: Array) -> float:
        """The loss for these parameters, (P,). Raises ShapeError for another shape."""
        if np.shape(params) != self._parameters.shape:
            raise ShapeError(f"the loss expects parameters of shape {self._parameters.shape}, got {np.shape(params)}")
        changed = np.asarray(params) != self._parameters
        if not changed.any():
            return self.sums.loss / self.sums.count
        _, first = self._starts[bisect.bisect_right(self._starts, (int(changed.argmax()), len(self._engine.steps))) - 1]
        self._engine.parameters.vector[...] = params
        values = [dict(kept) for kept in self._values]
        self._engine.forward(first, values, self._contexts(first))
        losses = [one.sum(dtype=np.float64) for one in self._losses(values)]
        return float(functools.reduce(np.add, losses)) / self.sums.count

    def _sums(self, values: Sequence[dict[int, Array]]) -> Sums:
        found = zip(self._outputs(values), self._tiles, self._losses(values), strict=True)
        return self._objective.total([self._objective.sums(outputs, tile.y, losses) for outputs, tile, losses in found])

    def _losses(self, values: Sequence[dict[int, Array]]) -> list[Array]:
        return self._objective.losses_of_tiles(self._outputs(values), [tile.y for tile in self._tiles])

    def _outputs(self, values: Sequence[dict[int, Array]]) -> list[Array]:
        return [tile[self._engine.steps[-1].output] for tile in values]

    def _contexts(self, first: int, kept: bool = False) -> list[TileContext]:
        return [
            TileContext(self._places[number, kept], True, (*self._key, number), (first, len(tile)))
            for number, tile in enumerate(self._tiles)
        ]


class NumericSession(Session):
    """A session whose steps ask a gradient method; in this process alone.

    The loss is evaluated by a copy of the network in float64, on the tiles and with the random numbers that
    backpropagation would have.
    """

    def __init__(
        self,
        engine: Engine,
        samples: Samples,
        objective: Objective,
        optimizer: Optimizer,
        batch_size: int,
        method: GradientMethod,
        groups: Groups = NO_GROUPS,
    ) -> None:
        super().__init__(engine, samples, objective, optimizer, batch_size, groups)
        self.method = method
        self._exact = in_float64(engine)
        self._places: Workspaces = defaultdict(functools.partial(Workspace, self._exact.dtype))

    def step(self, batch: Array, key: tuple[int, ...]) -> Sums:
        """As `Session.step`. Raises ShapeError if the method does not give a number for each parameter."""
        exact = self._exact
        _follow(exact, self.engine)
        parameters = exact.parameters.vector.copy()
        loss = BatchLoss(exact, self.objective, self._cut(batch, key), key, self._places)
        with Naming(self.method):
            gradient = np.asarray(self.method.gradient(loss, parameters, keyed_rng("gradient", *key)))
        if gradient.shape != self.gradient.shape or gradient.dtype.kind not in "fiu":
            raise ShapeError(
                f"{self.method!r} must return a gradient of shape {self.gradient.shape}, real numbers; it returned "
                f"{gradient.shape} of {gradient.dtype}"
            )
        for number, total in enumerate(loss.totals):
            self.engine.absorb(number, total)
        self.gradient[...] = gradient
        self.end_gradient(0)
        return loss.sums

    def _cut(self, batch: Array, key: tuple[int, ...]) -> list[Batch]:
        seed, epoch, *_ = key
        whole = self.samples
        tiles = [batch[start : start + self.tile] for start in range(0, len(batch), self.tile)]
        if isinstance(whole, Augmented):
            return [whole.at(tile, seed, epoch) for tile in tiles]
        return [Batch(whole.x[tile], whole.y[tile]) for tile in tiles]


def in_float64(engine: Engine) -> Engine:
    """An engine over a copy of the network that computes in float64."""
    nodes = copy.deepcopy(engine.nodes)
    return Engine(nodes, Parameters(nodes, np.dtype(np.float64)), engine.preprocessing, engine.input_axes)


def _follow(copied: Engine, engine: Engine) -> None:
    """Give a copy the present parameters and buffers."""
    copied.parameters.vector[...] = engine.parameters.vector
    for node, original in zip(copied.nodes, engine.nodes, strict=True):
        for name, buffer in original.layer.buffers.items():
            node.layer.buffers[name][...] = buffer
