"""Checks of layers that draw random numbers in training: from the right generator, for each sample, at their rate."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.errors import CheckError
from cnnkit.testing.inputs import domain_of, moved_into
from cnnkit.testing.trial import Trial, params_of
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
    if params_of(trial.built.layer) or not trial.is_random():
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
    """A layer with a `rate` (or `p`) that sets numbers to zero does so at that rate, and keeps their mean."""
    rate = next((r for r in (getattr(layer, name, None) for name in ("rate", "p")) if isinstance(r, float)), None)
    trial = Trial.make(layer, in_shape)
    if rate is None or not 0 < rate < 1 or len(trial.xs) > 1 or params_of(trial.built.layer):
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
    fixed = not trial.is_random()
    for what, found, wanted in (("share of the numbers set to zero", zeros, rate), ("mean", means, 1.0)):
        error = float(np.std(found)) / np.sqrt(len(found)) + 1 / 65536
        mean = float(np.mean(found))
        if fixed or abs(mean - wanted) > SIGMAS * error:
            told = "the rate" if what.startswith("share") else "that of prediction: divide what is kept by 1 - rate"
            reason = "the same numbers are drawn in each step: take them from ctx.rng" if fixed else ""
            raise CheckError(reason or f"the {what} in training is {mean:.4f}, expected {wanted:g}, {told}")


def _constant(layer: Layer | Merge, shape: Shape) -> Array:
    """Equal samples without a zero."""
    return moved_into(np.ones(shape), 2.0, domain_of(layer)).astype(np.float32)
