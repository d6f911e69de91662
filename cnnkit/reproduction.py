"""Training a registered model again from what is stored with it, and comparing bit by bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit.registry.environment import differences
from cnnkit.types import Array

if TYPE_CHECKING:
    from cnnkit.registry import Record
    from cnnkit.training import Run

UNTRACED = "seconds"
"""The one quantity of a history that no two trainings have in common."""


@dataclass(frozen=True)
class Reproduction:
    """How a model that was trained again compares with the registered one."""

    ref: str
    epoch: int | None
    """The first epoch, from 1, whose history differs; None if none does."""
    quantity: str
    """What differs there, "" if nothing does."""
    array: str
    """The first array, in the order of the layers, that differs in the end; "" if none does."""
    largest: float
    """The largest |a - b| / max|b| of all arrays."""
    environment: tuple[str, ...]
    """What is not as it was when the model was registered, in words."""

    @property
    def identical(self) -> bool:
        """Whether history and arrays are the same, bit for bit."""
        return not self.quantity and not self.array


def compared(record: Record, run: Run) -> Reproduction:
    """Compare a run with the version that it should repeat."""
    epoch, quantity = _first_difference(record.manifest.history, run.history)
    again = run.model.state()
    differing = [name for name, array in record.state.items() if not _same(array, again.get(name))]
    differing += [name for name in again if name not in record.state]
    distances = [
        _distance(again[name], record.state[name]) for name in differing if name in again and name in record.state
    ]
    return Reproduction(
        record.version.ref,
        epoch,
        quantity,
        differing[0] if differing else "",
        max(distances, default=0.0),
        tuple(differences(record.manifest.versions | record.manifest.environment)),
    )


def _first_difference(there: dict[str, Any], here: dict[str, list[float]]) -> tuple[int | None, str]:
    names = [name for name in {**there, **here} if name != UNTRACED]
    for epoch in range(max((len(values) for values in (*there.values(), *here.values())), default=0)):
        for name in names:
            values = [history.get(name, [])[epoch : epoch + 1] for history in (there, here)]
            if not _same(np.array(values[0], np.float64), np.array(values[1], np.float64)):
                return epoch + 1, name
    return None, ""


def _same(a: Array, b: Array | None) -> bool:
    return b is not None and (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def _distance(a: Array, b: Array) -> float:
    if a.shape != b.shape:
        return np.inf
    difference = np.abs(a.astype(np.float64) - b).max(initial=0.0)
    return float(difference / max(np.abs(b).max(initial=0.0), np.finfo(np.float64).tiny))
