"""Classes: which targets are class indices, and whether the data and a model mean the same class by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnkit.errors import ShapeError
from cnnkit.types import Array, blocks

NAMED = 10
"""Names that a message lists."""
LETTERS = 100
"""Of each."""


def listed(names: Sequence[str]) -> str:
    """The first of these names, for a message."""
    return ", ".join(f"{name:.{LETTERS}}" for name in names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def check_labels(
    known: Sequence[str],
    given: Sequence[str],
    knows: str = "the model",
    gives: str = "the data",
    advice: str = "reorder the data's targets and labels to match",
) -> None:
    """Raises ShapeError unless an index of a given label means the same among the known ones.

    The given labels must be the known ones, or the first of them; where one side has none, nothing can be compared.
    knows, gives: who has them; advice: what to do.
    """
    if not known or tuple(given) == tuple(known[: len(given)]):
        return
    at = next((at for at, (one, other) in enumerate(zip(known, given, strict=False)) if one != other), len(known))
    there = f"{known[at]!r:.{LETTERS}} in {knows}" if at < len(known) else f"{knows} has no such class"
    raise ShapeError(
        f"class {at} is {given[at]!r:.{LETTERS}} in {gives}, and {there}; {gives} has the labels {listed(given)}, "
        f"{knows} has {listed(known)}: expected the same labels in the same order, or the first of them; {advice}"
    )


def is_background(label: str) -> bool:
    """Whether it is what pixels are called that show nothing."""
    return label.lower() == "background"


def are_indices(y: Array) -> bool:
    """Whether targets are class indices: integers (N,), or (N, H, W), one for each pixel."""
    return y.ndim in (1, 3) and y.dtype.kind in "iu"


def first_outside(targets: Array, classes: int) -> tuple[int, ...] | None:
    """The place of the first class index that is not from 0 to classes - 1; None if there is none."""
    if not targets.size or 0 <= targets.min() <= targets.max() < classes:
        return None
    return tuple(np.argwhere((targets < 0) | (targets >= classes))[0].tolist())


def indices_of(y: Array) -> Array:
    """Class indices for one-hot targets, (N, K) or (N, K, H, W) with one 1 in each row and else 0; others as they are.

    Whether one-hot rows are classes, only the loss knows: those of several labels may have one 1 each by chance.
    """
    if y.ndim not in (2, 4) or y.shape[1] < 2 or y.dtype.kind not in "iufb":
        return y
    return y.argmax(axis=1) if all(_is_one_hot(y[block]) for block in blocks(y)) else y


def _is_one_hot(y: Array) -> bool:
    return bool(((y == 0) | (y == 1)).all() and (np.count_nonzero(y, axis=1) == 1).all())
