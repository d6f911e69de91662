"""The targets that losses and metrics are tried with: whichever kinds they take."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cnnkit.errors import CheckError
from cnnkit.types import Array, Shape


def targets_of_all_kinds(out_shape: Shape, count: int, rng: np.random.Generator) -> dict[str, Array]:
    """Targets by their kind; out_shape: of the outputs, (K, ...) with the classes first."""
    shape = (count, *out_shape)
    values = rng.uniform(0.05, 0.95, shape)
    return {
        "classes": rng.integers(out_shape[0], size=(count, *out_shape[1:])),
        "values": values,
        "shares": values / values.sum(axis=1, keepdims=True),
        "labels": rng.integers(2, size=shape).astype(np.float64),
    }


def taken(
    call: Callable[[Array], object], out_shape: Shape, count: int, rng: np.random.Generator, given: Array | None = None
) -> dict[str, Array]:
    """The targets that a call does not refuse, by their kind; those that are given, if there are some.

    Raises what the call raises, if it refuses all.
    """
    if given is not None:
        return {"given": given}
    found: dict[str, Array] = {}
    refusals: list[Exception] = []
    for kind, targets in targets_of_all_kinds(out_shape, count, rng).items():
        if kind == "labels" and "values" in found:
            continue  # the same to whoever takes any values
        try:
            call(targets)
        except CheckError:
            raise
        except Exception as refusal:  # a component may refuse in its own way what it does not take
            refusals.append(refusal)
        else:
            found[kind] = targets
    if not found:
        raise refusals[0]
    return found
