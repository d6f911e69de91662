"""The loss around a trained model: along two random directions, filter by filter as long as its weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np

from cnnkit.components import Loss
from cnnkit.network import Network, Objective, available_cores
from cnnkit.types import Array, Samples

SIDE = 21
"""Points along each direction."""
MOST_SAMPLES = 256
REACH = 1.0
"""How far it goes to each side, in lengths of the weights."""


@dataclass(frozen=True)
class Landscape:
    """The mean loss at the points of a grid, the model in its middle."""

    steps: Array
    """(SIDE,) along each direction."""
    losses: Array
    """(SIDE, SIDE), the second direction first; NaN and infinite where the network's numbers are."""
    samples: int


def landscape(model: Network, samples: Samples, loss: Loss, *, seed: int = 0) -> Landscape:
    """The loss of the first 256 samples around a model's parameters t: f(a, b) = L(t + a d + b e).

    d, e: random normal directions, of which each filter has the length of the model's; 0 for biases and normalisations,
    as their scale says nothing of what the network computes. Batch normalisation keeps its running statistics. The
    model itself is not changed.
    Source: Li, Xu, Taylor, Studer, Goldstein (2018), Visualizing the Loss Landscape of Neural Nets, section 4.
    """
    moved = copy.deepcopy(model)
    samples = Samples(samples.x[:MOST_SAMPLES], samples.y[:MOST_SAMPLES])
    engine, objective = moved.engine_for(loss), Objective(loss, ())
    start = moved.parameters.vector.copy()
    rng = np.random.default_rng(seed)
    across, up = _direction(moved, rng), _direction(moved, rng)
    steps = np.linspace(-REACH, REACH, SIDE)
    losses = np.empty((SIDE, SIDE))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for row, b in enumerate(steps):
            for column, a in enumerate(steps):
                moved.parameters.vector[:] = start + a * across + b * up
                sums = engine.evaluate(samples, objective, available_cores())
                losses[row, column] = sums.loss / len(samples)
    return Landscape(steps, losses, len(samples))


def _direction(model: Network, rng: np.random.Generator) -> Array:
    """A random direction in the order of the parameters, normalised filter by filter."""
    parameters = model.parameters
    direction = np.zeros_like(parameters.vector)
    for entry in parameters:
        weight = parameters.view(parameters.vector, entry)
        drawn = rng.standard_normal(weight.shape)
        if weight.ndim < 2:
            continue
        axes = tuple(range(1, weight.ndim))
        own, length = (np.sqrt(np.square(one, dtype=np.float64).sum(axes, keepdims=True)) for one in (weight, drawn))
        parameters.view(direction, entry)[...] = drawn * (own / length)
    return direction
