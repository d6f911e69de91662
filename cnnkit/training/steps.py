"""What every kind of training does in its steps: which batches there are, at which rate, how gradients are clipped."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from numbers import Real
from typing import Any, cast

from cnnkit.components import Optimizer, Schedule
from cnnkit.components.naming import Naming
from cnnkit.errors import ComponentError
from cnnkit.network import keyed_rng
from cnnkit.training.class_balance import balanced_order
from cnnkit.training.run import History
from cnnkit.training_options import TrainingOptions
from cnnkit.types import Array


def batches(options: TrainingOptions, epoch: int, y: Array) -> list[Array]:
    """The positions of the samples in each batch of an epoch, in an order that depends on seed and epoch alone.

    y: the training targets, of which a balanced order takes all classes equally often.
    """
    if options.sampling == "balanced":
        order = balanced_order(options.seed, epoch, y)
    else:
        order = keyed_rng("order", options.seed, epoch).permutation(len(y))
    return [order[start : start + options.batch_size] for start in range(0, len(y), options.batch_size)]


def endless_batches(options: TrainingOptions, y: Array) -> Iterator[tuple[tuple[int, int, int], Array]]:
    """The batches of one epoch after another, each with its key (seed, epoch, step)."""
    for epoch in itertools.count():
        for step, batch in enumerate(batches(options, epoch, y)):
            yield (options.seed, epoch, step), batch


def rate_of(optimizer: Optimizer) -> float:
    """Its learning rate, before the schedule's factor. Raises ComponentError unless it is finite, 0 or above."""
    rate: Any = getattr(optimizer, "lr", None)
    if not _is_rate(rate):
        raise ComponentError(
            f"the optimizer {type(optimizer).__name__} must have a learning rate `lr`, a finite number, 0 or above; "
            f"it is {rate!r}"
        )
    return cast(float, rate)


def factor_at(schedule: Schedule, epoch: float, epochs: int) -> float:
    """The schedule's factor. Raises ComponentError unless it is a finite number, 0 or above."""
    with Naming(schedule):
        factor = schedule.factor(epoch, epochs)
    return _checked(schedule, factor, f"it returned {factor!r} after {epoch:g} of {epochs} epochs")


def feedback_of(schedule: Schedule, history: History) -> float:
    """The schedule's answer to a history. Raises ComponentError unless it is a finite number, 0 or above."""
    with Naming(schedule):
        factor = schedule.feedback({name: list(values) for name, values in history.items()})
    return _checked(schedule, factor, f"its feedback was {factor!r}")


def _checked(schedule: Schedule, factor: float, given: str) -> float:
    if not _is_rate(factor):
        raise ComponentError(f"the schedule {schedule!r} must give a finite factor, 0 or above; {given}")
    return factor


def _is_rate(value: object) -> bool:
    return isinstance(value, Real) and 0 <= float(value) < math.inf


def clipping(norm: float, limit: float | None) -> float:
    """What a gradient of this norm is multiplied with, so that its norm is not above the limit; None for no limit."""
    return limit / norm if limit is not None and norm > limit else 1.0
