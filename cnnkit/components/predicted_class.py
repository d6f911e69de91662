"""The class that scores speak for, if they speak for one."""

from __future__ import annotations

import numpy as np

from cnnkit.errors import DataError
from cnnkit.types import Array

NO_CLASS = -1
"""Stands for a missing predicted class."""


def predicted_classes(scores: Array) -> Array:
    """The class with the largest score, the lowest of equals; NO_CLASS where the largest is not finite.

    y = argmax_k scores_k; the argmax of numbers with NaN among them would be the place of the NaN.

    scores: (N, K, ...), logits or probabilities; y: (N, ...), int64.
    """
    classes, told = _largest(scores)
    if not told.all():
        classes[~told] = NO_CLASS
    return classes


def told_classes(scores: Array) -> Array:
    """As `predicted_classes`. Raises DataError for the first sample that has none."""
    classes, told = _largest(scores)
    require_told(told, "class")
    return classes


def _largest(scores: Array) -> tuple[Array, Array]:
    """Where the largest score is, and whether it is finite."""
    classes: Array = scores.argmax(axis=1)
    # Of few numbers, to gather the largest takes half the time of a second reduction; of pixels, it takes longer.
    largest = scores[np.arange(len(scores)), classes] if scores.ndim == 2 else scores.max(axis=1)
    return classes, np.isfinite(largest)


def not_finite(who: str, what: str) -> str:
    """What to say of a model whose probabilities are NaN: no class is the most probable one then."""
    return f"{who} gives NaN for {what}: its weights are not finite, or an input is not"


def require_told(told: Array, what: str) -> None:
    """Raise DataError for the first sample of which nothing is told; told: (N, ...) bool."""
    if not told.all():
        first = int(np.argwhere(~told)[0, 0])
        raise DataError(
            f"{not_finite('the network', f'sample {first}')}. So it predicts no {what}: fix or remove the sample; "
            f"logits(x) and predict_proba(x) keep NaN"
        )
