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


def targets_of_shape(target_shape: Shape, out_shape: Shape, count: int, rng: np.random.Generator) -> dict[str, Array]:
    """Targets of this shape, without the batch axis, by their kind; whole numbers are below the number of classes."""
    shape = (count, *target_shape)
    return {
        f"whole numbers of shape {target_shape}": rng.integers(out_shape[0], size=shape),
        f"values of shape {target_shape}": rng.uniform(0.05, 0.95, shape),
        f"labels of shape {target_shape}": rng.integers(2, size=shape).astype(np.float64),
    }


def taken(
    call: Callable[[Array], object],
    out_shape: Shape,
    count: int,
    rng: np.random.Generator,
    given: Array | None = None,
    target_shape: Shape | None = None,
) -> dict[str, Array]:
    """The targets that a call does not refuse, by their kind; those that are given, if there are some.

    target_shape: of one target; None for those that targets of the usual kinds have for outputs of this shape.
    Raises what the call raises, if it refuses all.
    """
    if given is not None:
        return {"given": given}
    found: dict[str, Array] = {}
    refusals: list[Exception] = []
    if target_shape is None:
        candidates = targets_of_all_kinds(out_shape, count, rng)
    else:
        candidates = targets_of_shape(target_shape, out_shape, count, rng)
    for kind, targets in candidates.items():
        if kind.startswith("labels") and any(one.startswith("values") for one in found):
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
