"""What every kind of training does in its steps: which batches there are, at which rate, how gradients are clipped."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from numbers import Real
from typing import Any, cast

import numpy as np

from cnnkit.components import Optimizer, Schedule
from cnnkit.components.error_naming import Naming
from cnnkit.errors import ComponentError, ConfigError
from cnnkit.network import Session, Sums, keyed_rng
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


def updates(options: TrainingOptions, epoch: int, y: Array) -> list[list[Array]]:
    """The batches of each update of an epoch: one, or several that are accumulated."""
    each, count = batches(options, epoch, y), options.accumulate or 1
    return [each[start : start + count] for start in range(0, len(each), count)]


def endless_updates(options: TrainingOptions, y: Array) -> Iterator[tuple[tuple[int, int, int], list[Array]]]:
    """The batches of each update of one epoch after another, with the key of the first (seed, epoch, batch)."""
    for epoch in itertools.count():
        for step, batches in enumerate(updates(options, epoch, y)):
            yield (options.seed, epoch, step * (options.accumulate or 1)), batches


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


Look = Callable[[Sums, float, Array, tuple[int, int, int]], None]
"""Is told the sums of a batch, the norm of its gradient, the batch and its key."""


def accumulated(
    session: Session, batches: Sequence[Array], key: tuple[int, int, int], look: Look = lambda *_: None
) -> tuple[Sums, float]:
    """A step over several batches: leaves the gradient of their mean loss in the session; its sums and norm.

    key: of the first of them, (seed, epoch, number of the batch); look: after each batch.
    """
    seed, epoch, first = key
    found: list[Sums] = []
    total, count = np.zeros_like(session.gradient) if len(batches) > 1 else None, sum(map(len, batches))
    for number, batch in enumerate(batches, start=first):
        sums = session.step(batch, (seed, epoch, number))
        norm = session.norm()
        look(sums, norm, batch, (seed, epoch, number))
        if total is None:
            return sums, norm
        found.append(sums)
        total += len(batch) / count * session.gradient
    session.gradient[...] = total
    session.measure()
    return session.objective.total(found), session.norm()


def check_clipping(options: TrainingOptions) -> None:
    """Raises ConfigError for more than one limit of the gradient."""
    limits = [name for name in ("clip_norm", "clip_value", "clip_layer_norm") if getattr(options, name) is not None]
    if len(limits) > 1:
        raise ConfigError(f"expected one limit of the gradient at most, got {' and '.join(limits)}: leave one of them")


def clipped(session: Session, norm: float, options: TrainingOptions) -> tuple[float, float]:
    """Clip the gradient of a session; what it is still to be multiplied with, and its norm after that.

    norm: of the whole gradient.
    """
    gradient = session.gradient
    if (limit := options.clip_norm) is not None and norm > limit:
        return limit / norm, limit
    if options.clip_value is not None:
        limit = min(options.clip_value, float(np.finfo(gradient.dtype).max))
        np.clip(gradient, -limit, limit, out=gradient)
    elif options.clip_layer_norm is not None:
        for _, entries in itertools.groupby(session.engine.parameters, key=lambda entry: entry.node):
            places = list(entries)
            layer = gradient[places[0].start : places[-1].stop]
            if (length := _norm(layer)) > options.clip_layer_norm:
                layer *= options.clip_layer_norm / length
    else:
        return 1.0, norm
    return 1.0, _norm(gradient)


def _norm(gradient: Array) -> float:
    return float(np.linalg.norm(gradient.astype(np.float64)))
