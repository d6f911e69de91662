"""The conformance suite for gradient methods: everything that training assumes about one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import numpy as np

from cnnkit.components import GradientMethod, installed_catalog
from cnnkit.components.value_description import described
from cnnkit.errors import CheckError
from cnnkit.testing.comparing import Suite, check_expression, check_unchanged_by, equal, named, run_all, same_bits
from cnnkit.testing.state import global_generators
from cnnkit.types import Array

START = np.array([0.3, -1.2, 0.7, 0.1, 0.5])
CURVATURE = np.array([1.0, 0.5, 2.0, 1.5, 0.2])
DRAWS = 400
"""Estimates that are averaged: a method may draw, and each estimate may be far off."""
ALIKE = 0.7
"""The least cosine of the angle between the mean estimate and the gradient."""
STEPS, RATE = 300, 0.02
"""Of a descent that follows the estimates."""
FALLEN = 0.5
"""The share of the loss that may be left after it."""


def check_gradient_method(method: GradientMethod | str) -> None:
    """Check that a gradient method keeps its contract; `CHECKS` lists what that is.

    method: a component or its expression; it is tried on a smooth loss of a few parameters.
    Raises CheckError that names the check and says what was expected and what was received; ExpressionError,
    ComponentError or ConfigError for an expression that does not describe a gradient method.
    """
    run_all([suite(cast("GradientMethod", installed_catalog().build("gradient method", method)))])


def suite(method: GradientMethod) -> Suite:
    """All of its checks."""
    return Suite(named(method), method, CHECKS, (method,))


def bowl(params: Array) -> float:
    """L = sum of c p^2 / 2 + p^4 / 10. Raises CheckError for what is not a vector like the one that was given."""
    if not (isinstance(params, np.ndarray) and params.shape == START.shape and params.dtype == np.float64):
        raise CheckError(
            f"loss must be called with all parameters, {len(START)} numbers of float64, it got {described(params)}"
        )
    return float((CURVATURE * params**2 / 2 + params**4 / 10).sum())


def slope(params: Array) -> Array:
    """The gradient of `bowl`."""
    return np.asarray(CURVATURE * params + 0.4 * params**3)


def _estimate(method: GradientMethod, seed: int = 0, at: Array = START) -> Array:
    return method.gradient(bowl, at.copy(), np.random.default_rng(seed))


def check_shape(method: GradientMethod) -> None:
    """A finite number for each parameter."""
    given: object = _estimate(method)
    if not isinstance(given, np.ndarray) or given.dtype.kind != "f" or not np.isfinite(given).all():
        raise CheckError(f"gradient must be an array of finite floats, it is {described(given)}")
    equal("shape of the gradient", given.shape, START.shape)


def check_direction(method: GradientMethod) -> None:
    """The mean of many estimates points where the gradient does."""
    mean = np.mean([_estimate(method, seed) for seed in range(DRAWS)], axis=0)
    size = np.linalg.norm(mean) * np.linalg.norm(slope(START))
    alike = float(mean @ slope(START) / size) if size else 0.0
    if not alike >= ALIKE:
        raise CheckError(
            f"the cosine of the angle between the mean of {DRAWS} estimates and the gradient is {alike:.2f}, expected "
            f"{ALIKE} or more: the gradient points up the slope of the loss"
        )


def check_descent(method: GradientMethod) -> None:
    """Steps against the estimates make the loss smaller."""
    params = START.copy()
    for step in range(STEPS):
        params -= RATE * _estimate(method, step, params)
    if not bowl(params) <= FALLEN * bowl(START):
        raise CheckError(
            f"{STEPS} steps against the estimates took the loss from {bowl(START):.3g} to {bowl(params):.3g}, expected "
            f"{FALLEN * bowl(START):.3g} or less: the length of the gradient counts, too"
        )


def check_generator(method: GradientMethod) -> None:
    """Random numbers come from `rng` alone: equal generators give equal estimates, and nobody else's is moved."""
    before = global_generators()
    first = _estimate(method)
    if global_generators() != before:
        raise CheckError("global random numbers were drawn, from random or np.random: take them from `rng`")
    kept = first.copy()
    _estimate(method, seed=1)
    same_bits("an estimate after a later one; give memory that is not used again", first, kept)
    same_bits("an estimate that is made again with an equal generator", _estimate(method), kept)


def check_no_call_state(method: GradientMethod) -> None:
    """A call leaves no trace: what a training remembers is in its parameters and in the optimizer's state."""
    check_unchanged_by(method, lambda: _estimate(method))


def check_repr(method: GradientMethod) -> None:
    """`repr` is the expression that recreates the method."""
    again = check_expression("gradient method", method)
    if again is not None:
        found = _estimate(cast("GradientMethod", again))
        same_bits(f"the estimate of the method made from repr, {method!r},", found, _estimate(method))


CHECKS: Mapping[str, Callable[[GradientMethod], None]] = {
    "shape": check_shape,
    "generator": check_generator,
    "no call state": check_no_call_state,
    "direction": check_direction,
    "descent": check_descent,
    "repr": check_repr,
}
"""By name, in the order in which they run."""
