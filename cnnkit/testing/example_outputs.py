"""The outputs that losses and metrics are tried with: whichever kind they take, and the targets beside them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.components import Loss
from cnnkit.errors import CheckError
from cnnkit.testing.comparing import checking
from cnnkit.testing.example_inputs import LARGE, REACH, apart
from cnnkit.testing.example_targets import taken
from cnnkit.types import Array, Shape

ANY, FRACTIONS, PROBABILITIES = "any numbers", "numbers from 0 to 1", "probabilities that add up to 1"
NEAR = 0.01
"""More than a gradient check moves outputs."""


@dataclass(frozen=True)
class Tried:
    """Outputs that a component takes, and what targets it takes beside them."""

    kind: str
    """Of the outputs: one of the above, or "given"."""
    outputs: Array
    """float64."""
    targets: dict[str, Array]
    """By their kind."""


def outputs_of_all_kinds(shape: Shape, rng: np.random.Generator) -> dict[str, Array]:
    """Outputs by their kind; shape: (N, K, ...), with the classes second."""
    values = apart(rng, shape)
    fractions = 0.5 + values / 4
    return {ANY: 3 * values, FRACTIONS: fractions, PROBABILITIES: fractions / fractions.sum(axis=1, keepdims=True)}


def kinds_for(loss: Loss) -> tuple[str, ...]:
    """The kinds of outputs that a loss may have to be given: probabilities unless it is from logits."""
    return (ANY,) if loss.from_logits else (FRACTIONS, PROBABILITIES)


def tried(
    call: Callable[[Array, Array], Any],
    kinds: tuple[str, ...],
    out_shape: Shape,
    count: int,
    rng: np.random.Generator,
    outputs: Array | None = None,
    targets: Array | None = None,
    target_shape: Shape | None = None,
) -> Tried:
    """The first kind of outputs for which a call refuses not all targets and gives finite numbers; else the first.

    call: of outputs and targets; what it gives, or the first of it, is to be finite; kinds: of outputs; out_shape:
    without the batch axis; count: samples, unless outputs or targets are given, which are taken then; target_shape: as
    of `taken`.
    Raises CheckError for outputs and targets that do not fit, and what the call raises if it refuses all.
    """
    given = [array for array in (outputs, targets) if array is not None]
    count = len(given[0]) if given else count
    if outputs is not None and outputs.shape[1:] != out_shape:
        raise CheckError(f"expected outputs of shape (N, *out_shape), {(count, *out_shape)}, got {outputs.shape}")
    if len({len(array) for array in given}) > 1:
        raise CheckError(f"expected as many targets as outputs, {count}, got {len(given[1])}")
    made = outputs_of_all_kinds((count, *out_shape), rng)
    candidates = {kind: made[kind] for kind in kinds} if outputs is None else {"given": outputs.astype(np.float64)}
    found: list[Tried] = []
    refusals: list[Exception] = []
    with checking():
        for kind, one in candidates.items():
            try:
                fitting = taken(functools.partial(_called, call, one), out_shape, count, rng, targets, target_shape)
            except Exception as refusal:  # in its own way, as of targets
                refusals.append(refusal)
                continue
            found.append(Tried(kind, one, fitting))
            if all(_is_finite(call, one, target) for target in fitting.values()):
                return found[-1]
    if not found:
        raise refusals[0]
    return found[0]


def _called(call: Callable[[Array, Array], Any], outputs: Array, targets: Array) -> Any:
    return call(outputs.copy(), targets)


def _is_finite(call: Callable[[Array, Array], Any], outputs: Array, targets: Array) -> bool:
    try:
        given = call(outputs.copy(), targets)
        return bool(np.isfinite(given[0] if isinstance(given, tuple) else given).all())
    except Exception:  # targets that were given, and are refused
        return False


def _apart_from(targets: Array, outputs: Array) -> Array:
    """Outputs that are moved away from those targets that are close to them."""
    if targets.shape != outputs.shape:
        return outputs
    return np.where(np.abs(outputs - targets) < NEAR, targets + 2 * NEAR, outputs)


def told(found: Tried, out_shape: Shape) -> str:
    """The outputs as text."""
    return f"outputs of shape {out_shape} ({found.kind})"


def outputs_for(loss: Loss, found: Tried, targets: Array, rng: np.random.Generator) -> Mapping[str, Array]:
    """Outputs by what is said of them: those that were found, and large ones, which every loss from logits takes.

    They are apart from targets of their shape, where a loss may have a kink, unless they must be as they are. Others
    take large ones where they are finite for them and take account of how far they are from 0 to 1; not where outputs
    were given.
    """
    large = apart(rng, found.outputs.shape) * (LARGE / REACH)
    outputs = {"": found.outputs if found.kind in ("given", PROBABILITIES) else _apart_from(targets, found.outputs)}
    large = _apart_from(targets, large)
    if not loss.from_logits:
        if found.kind == "given":
            return outputs
        try:
            losses, cut = (loss.forward(one, targets)[0] for one in (large, np.clip(large, 0.0, 1.0)))
        except Exception:  # outputs that it refuses
            return outputs
        if not np.isfinite(losses).all() or np.allclose(losses, cut, 1e-3):
            return outputs
    return outputs | {" with large values": large}
