"""The conformance suite for initializers: everything that layers assume about one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import cast

import numpy as np

from cnnkit.components import Initializer, Weights, installed_catalog
from cnnkit.errors import CheckError, ShapeError
from cnnkit.testing.comparing import Suite, check_expression, check_unchanged_by, named, run_all, same_bits
from cnnkit.testing.state import global_generators
from cnnkit.types import Array, Shape

SHAPES: tuple[Shape, ...] = ((7, 5), (6, 4, 3, 3), (8, 2, 5), (5,))
"""Of a dense layer, of convolutions, and of what scales channels; tried beside the one that is asked for."""


def check_initializer(initializer: Initializer | str, shape: Shape = (6, 4, 3, 3)) -> None:
    """Check that an initializer keeps its contract; `CHECKS` lists what that is.

    initializer: a component or its expression; shape: of weights that it is for, (out, in, ...). Others may be refused,
    by a ShapeError.
    Raises CheckError that names the check and says what was expected and what was received; ExpressionError,
    ComponentError or ConfigError for an expression that does not describe an initializer; what it raises, if it refuses
    this shape.
    """
    run_all(suites(cast("Initializer", installed_catalog().build("initializer", initializer)), shape))


def suites(initializer: Initializer, shape: Shape) -> Iterator[Suite]:
    """For weights of this shape, and of others that it takes."""
    for one in dict.fromkeys((shape, *SHAPES)):
        weights = weights_of(one)
        try:
            initializer.values(weights, np.random.default_rng(0))
        except ShapeError:
            if one == shape:
                raise
            continue
        yield Suite(f"{named(initializer)} on weights of shape {one}", initializer, CHECKS, (initializer, weights))


def weights_of(shape: Shape) -> Weights:
    """Those of a layer whose weights have this shape; what has one axis scales channels."""
    size = math.prod(shape[2:])
    return Weights(shape, shape[1] * size if shape[1:] else 1, shape[0] * size)


def _made(initializer: Initializer, weights: Weights, seed: int = 0) -> Array:
    return initializer.make(weights, np.random.default_rng(seed))


def check_values(initializer: Initializer, weights: Weights) -> None:
    """Numbers of the weights' shape, finite in float32, too."""
    for seed in range(3):
        _made(initializer, weights, seed)


def check_generator(initializer: Initializer, weights: Weights) -> None:
    """Random numbers come from `rng` alone: equal generators give equal weights, and nobody else's is moved."""
    before = global_generators()
    first = _made(initializer, weights)
    if global_generators() != before:
        raise CheckError("global random numbers were drawn, from random or np.random: take them from `rng`")
    _made(initializer, weights, seed=1)
    same_bits("weights that are made again with an equal generator", _made(initializer, weights), first)


def check_own_memory(initializer: Initializer, weights: Weights) -> None:
    """What was given belongs to the layer: written into, it does not change what is given next."""
    first = _made(initializer, weights)
    kept = first.copy()
    if not first.flags.writeable:
        raise CheckError("weights must be an array that can be written into: training changes it")
    first[...] = 0
    same_bits(
        "weights after earlier ones were written into; give a copy of what is kept", _made(initializer, weights), kept
    )


def check_no_call_state(initializer: Initializer, weights: Weights) -> None:
    """A call leaves no trace: one initializer may be that of several layers."""
    check_unchanged_by(initializer, lambda: _made(initializer, weights))


def check_repr(initializer: Initializer, weights: Weights) -> None:
    """`repr` is the expression that recreates the initializer."""
    again = check_expression("initializer", initializer)
    if again is not None:
        found = _made(cast("Initializer", again), weights)
        same_bits(f"weights of the initializer made from repr, {initializer!r},", found, _made(initializer, weights))


CHECKS: Mapping[str, Callable[[Initializer, Weights], None]] = {
    "values": check_values,
    "generator": check_generator,
    "own memory": check_own_memory,
    "no call state": check_no_call_state,
    "repr": check_repr,
}
"""By name, in the order in which they run."""
