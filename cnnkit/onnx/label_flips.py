"""Where a file says another class or label than its model, ties aside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnkit.network import Network
from cnnkit.onnx.difference import distance
from cnnkit.onnx.outputs import PROBABILITIES, certainty, probabilities_of
from cnnkit.types import Array


def flipped(
    model: Network,
    names: Sequence[str],
    given: Sequence[Array],
    expected: Array,
    label: Array | None,
    error: Array,
    probability_error: float,
) -> Array:
    """Where another class or label is said, (N, ...) bool, unless ours is a tie: what is allowed could turn it.

    given: the outputs, and the probabilities if there are any; label: what the file says itself, if it does; error: of
    each output that is allowed, (N, ...); probability_error: that of probabilities, relative to their `certainty`.
    """
    if model.task.gives == "values":
        return np.zeros(len(expected), bool)
    own = [expected, *(probabilities_of(model, expected) for _ in given[1:])]
    at = 0.0 if model.task.from_logits and names[0] != PROBABILITIES else 0.5
    ours = _said(model, expected, at)
    clear = np.ones(ours.shape, bool)
    differs = np.zeros(ours.shape, bool) if label is None else label != ours
    errors = [error, *(probability_error * certainty(model, values) for values in own[1:])]
    for theirs, values, most, limit in zip(given, own, errors, (at, 0.5), strict=False):
        clear &= _is_clear(model, values, most, limit)
        differs |= _said(model, theirs, limit) != ours
    return np.asarray(clear & differs)


def _said(model: Network, values: Array, limit: float) -> Array:
    """The class of each sample or pixel, or which labels are there: those from a limit on."""
    return values.argmax(axis=1) if model.task.gives == "classes" else values >= limit


def _is_clear(model: Network, values: Array, error: Array, limit: float) -> Array:
    """Whether these errors leave the highest class (axis 1) as it is, or each label on its side of the limit."""
    if model.task.gives == "labels":
        return np.asarray(distance(values, np.full_like(values, limit)) > error)
    best = values.argmax(axis=1, keepdims=True)
    error = np.where(np.isfinite(values), error, 0)  # what is not a number is found by its distance
    others = values + error
    np.put_along_axis(others, best, -np.inf, axis=1)
    lowest = np.take_along_axis(values - error, best, axis=1)
    return np.asarray(lowest[:, 0] > others.max(axis=1))
