"""Checks of layers that draw random numbers in training: from the right generator, for each sample, at their rate."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.errors import CheckError
from cnnkit.testing.example_inputs import domain_of, moved_into
from cnnkit.testing.layer_trial import Trial
from cnnkit.types import Array, Shape

SAMPLES = 12
STEPS = 200
"""In how many steps samples are compared at most."""
ENOUGH = 8
"""How often a sample must have had other random numbers before it is judged."""
DRAWN = 40_000
"""How many numbers the rate is measured on."""
SIGMAS = 6.0
"""How many standard errors a measured rate may be from the one that is declared; by chance once in 10^9."""
ROUNDING = 1e-4
"""How far a rate in force may be from the one that is declared, of which it is a rounded form."""


def check_draws(layer: Layer | Merge, in_shape: Shape) -> None:
    """Nothing is drawn in prediction, and equal draws give equal results in training."""
    trial = Trial.make(layer, in_shape)
    one = trial.forward(training=False)
    trial.seed = 1000
    if not np.array_equal(one, trial.forward(training=False), equal_nan=True):
        raise CheckError("prediction depends on ctx.rng: draw in training only, where ctx.training is True")


def check_samples_independent(layer: Layer | Merge, in_shape: Shape) -> None:
    """Equal samples get different random numbers, in one step as in the next.

    A layer with parameters may draw for those, and so for all samples of a tile together.
    """
    trial = Trial.make(layer, in_shape)
    if trial.built.layer.params or not trial.is_random():
        return
    trial.xs = [_constant(layer, (SAMPLES, *shape)) for shape in trial.built.in_shapes]
    pairs = set(combinations(range(SAMPLES), 2))
    others = np.zeros(SAMPLES, int)
    first: Array | None = None
    for step in range(STEPS):
        trial.seed = 2000 + step
        y = trial.forward()
        first = y if first is None else first
        others += (y != first).reshape(SAMPLES, -1).any(axis=1)
        pairs = {(a, b) for a, b in pairs if np.array_equal(y[a], y[b])}
        if not pairs:
            return
    shared = [(a, b) for a, b in pairs if min(others[a], others[b]) >= ENOUGH]
    if shared:
        a, b = min(shared)
        raise CheckError(
            f"samples {a} and {b} of a tile get the same random numbers in each of {STEPS} steps: draw for every "
            "sample, such as ctx.rng.random(x.shape)"
        )


def check_random_rate(layer: Layer | Merge, in_shape: Shape) -> None:
    """A layer with a `rate` that sets numbers to zero does so at that rate, and keeps their mean."""
    rate = getattr(layer, "rate", None)
    trial = Trial.make(layer, in_shape)
    if not isinstance(rate, float) or not 0 < rate < 1 or len(trial.xs) > 1 or trial.built.layer.params:
        return
    trial.xs = [_constant(layer, (SAMPLES, *shape)) for shape in trial.built.in_shapes]
    expected = trial.forward(training=False)
    if not expected.all():
        return
    zeros, means = [], []
    for step in range(max(1, DRAWN // expected.size)):
        trial.seed = 5000 + step
        kept = trial.forward() / expected
        zeros += list((kept == 0).reshape(SAMPLES, -1).mean(axis=1, dtype=np.float64))
        means += list(kept.reshape(SAMPLES, -1).mean(axis=1, dtype=np.float64))
    if not any(zeros):
        return  # it does something else with the number
    if not trial.is_random():
        raise CheckError("the same numbers are drawn in each step: take them from ctx.rng")
    if _is_off(zeros, rate):
        raise CheckError(
            f"the share of the numbers set to zero in training is {np.mean(zeros):.4f}, expected {rate:g}, the rate"
        )
    if _is_off(means, 1.0):
        raise CheckError(
            f"the mean in training is {np.mean(means):.4f} times that of prediction, expected 1: divide what is kept "
            "by 1 - rate"
        )


def _is_off(found: list[float], expected: float) -> bool:
    """Whether the mean of what was found is further away than chance allows; equal ones are rounded to whole counts."""
    error = float(np.std(found)) / math.sqrt(len(found))
    return error > 0 and abs(float(np.mean(found)) - expected) > SIGMAS * error + ROUNDING


def _constant(layer: Layer | Merge, shape: Shape) -> Array:
    """Equal samples without a zero."""
    return moved_into(np.ones(shape), 2.0, domain_of(layer)).astype(np.float32)
