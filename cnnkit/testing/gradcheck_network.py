"""The gradient check of a whole network: what a training step finds for each parameter, kernels and joins included."""

from __future__ import annotations

import functools
import math
from collections import defaultdict

import numpy as np

from cnnkit.components import Loss
from cnnkit.errors import ConfigError
from cnnkit.network import Network
from cnnkit.network.execution.numeric import BatchLoss, Workspaces
from cnnkit.network.execution.objective import Objective
from cnnkit.network.execution.session import Session
from cnnkit.network.execution.tile_context import Workspace
from cnnkit.optimizers import SGD
from cnnkit.testing.comparing import checking
from cnnkit.testing.example_targets import taken
from cnnkit.testing.finite_differences import Directions, Point, Value, beside_kinks, direction_errors
from cnnkit.testing.gradcheck import THRESHOLD, GradientReport
from cnnkit.types import Array, Batch, Samples, Shape

DIRECTIONS = 2
STEP = 1e-5
"""Weights move many numbers at once, of which some would pass a kink in a larger one."""
MOVED = 0.02
"""How far parameters are moved first: a bias of 0 on a background of 0 is a kink."""
SAMPLES = 4


def network_gradient_check(
    model: Network,
    loss: Loss,
    *,
    samples: Samples | None = None,
    target_shape: Shape | None = None,
    batch: int = SAMPLES,
    seed: int = 0,
    threshold: float = THRESHOLD,
) -> GradientReport:
    """Compare the gradients that a training step finds for a network's parameters with finite differences of the loss.

    In float64, with the random numbers of one step, as in training: for each parameter two random directions d,
        <gradient, d>  against  (8 (L(h) - L(-h)) - (L(2h) - L(-2h))) / (12 h),  where L(t) is the mean loss at t * d
    Parameters are moved a little first; where the slopes to both sides disagree, other samples and weights are drawn.

    model: it is left alone; samples: of which a few are drawn, None for random inputs and targets of the first kind
    that the loss takes; target_shape: of one random target, if it is another one than usual for the outputs. Parameters
    of layers with surrogate gradients, and of those before them, are not compared.
    Raises ConfigError for a model without parameters, ShapeError if the samples do not fit, and what the loss raises.
    """
    if not model.parameters.vector.size:
        raise ConfigError("expected a network with parameters: there is nothing to compare in one without")
    place = _Place(model, loss, samples, target_shape, batch, np.random.default_rng(seed), threshold)
    with checking():
        _, errors = beside_kinks(place.draw, place.errors_at)
    return GradientReport(f"the network with {loss!r}", errors, threshold, tuple(place.skipped))


class _Place:
    """A copy of a network in float64, near its weights, and a batch."""

    def __init__(
        self,
        model: Network,
        loss: Loss,
        samples: Samples | None,
        target_shape: Shape | None,
        batch: int,
        rng: np.random.Generator,
        threshold: float,
    ) -> None:
        self.model, self.loss, self.rng, self.threshold = model, loss, rng, threshold
        self.samples, self.target_shape, self.batch = samples, target_shape, batch
        names = {node.index: node.name for node in model.nodes}
        last = max((node.index for node in model.nodes if node.layer.surrogate_gradients), default=-1)
        self.names = [f"{names[entry.node]}.{entry.name}" for entry in model.parameters]
        self.skipped = [name for name, entry in zip(self.names, model.parameters, strict=True) if entry.node <= last]
        self.gradients: Point = {}
        self.value: Value = lambda _: math.nan

    def draw(self) -> tuple[Point, Directions]:
        """The parameters, each as a vector, and directions that move one of them at a time."""
        model = self.model.again(dtype="float64")
        vector = model.parameters.vector
        vector += self.rng.uniform(-MOVED, MOVED, vector.shape)
        point = self._parts(vector.copy())
        samples, key = self._few(), (int(self.rng.integers(2**31)), 0, 0)
        engine, objective = model.engine_for(self.loss), Objective(self.loss)
        session = Session(engine, samples, objective, SGD(), len(samples))
        session.step(np.arange(len(samples)), key)
        self.gradients = self._parts(session.gradient.copy())
        places: Workspaces = defaultdict(functools.partial(Workspace, engine.dtype))
        mean_loss = BatchLoss(engine, objective, [Batch(np.asarray(samples.x), samples.y)], key, places)
        self.value = lambda point: mean_loss(np.concatenate(list(point.values())))
        return point, self._directions()

    def errors_at(self, point: Point, directions: Directions, *, kinks_are_errors: bool) -> dict[str, float]:
        """By parameter."""
        scale = 1 + abs(self.value(point))
        return direction_errors(
            self.value, point, self.gradients, directions, scale, self.threshold, kinks_are_errors=kinks_are_errors
        )

    def _parts(self, vector: Array) -> Point:
        """What belongs to each parameter, in their order in the vector."""
        entries = zip(self.names, self.model.parameters, strict=True)
        return {name: vector[entry.start : entry.stop] for name, entry in entries}

    def _directions(self) -> Directions:
        """Random ones, uphill on the whole, so that the loss moves by more than its rounding error."""
        for name, gradient in self.gradients.items():
            for _ in range(DIRECTIONS if name not in self.skipped else 0):
                yield name, self.rng.uniform(-1, 1, gradient.shape) + np.sign(gradient), STEP

    def _few(self) -> Samples:
        """Some of the samples, or random inputs with targets that the loss takes."""
        if self.samples is not None:
            few = self.rng.permutation(len(self.samples))[: self.batch]
            return Samples(np.asarray(self.samples.x[few], np.float64), self.samples.y[few])
        low, high = self.model.input_range or (0.0, 1.0)
        x = self.rng.uniform(low, high, (self.batch, *self.model.input_shape))
        outputs = self.model.again(dtype="float64").logits(x) if self.loss.from_logits else self.model.outputs(x)

        def call(targets: Array) -> object:
            return self.loss.forward(np.asarray(outputs, np.float64), targets)

        kinds = taken(call, self.model.output_shape, self.batch, self.rng, None, self.target_shape)
        return Samples(x, next(iter(kinds.values())))
