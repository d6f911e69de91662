"""The conformance suite for schedules: everything that training assumes about one."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from cnnkit.components import Schedule, installed_catalog
from cnnkit.components.checks import whole
from cnnkit.errors import CheckError, CnnkitError
from cnnkit.testing.callback import QUANTITIES, histories
from cnnkit.testing.comparing import Suite, check_expression, check_unchanged_by, equal, named, run_all

PARTS = 7
"""Points of an epoch that are looked at; a fraction that no float holds exactly."""
LENGTHS = (1, 2, 3, 100)
"""Of trainings, in epochs, that are tried beside the one that is asked for."""


@dataclass(frozen=True)
class Course:
    """What a training is that a schedule is made for."""

    epochs: int
    quantities: Mapping[str, bool]


def check_schedule(schedule: Schedule | str, epochs: int = 10, quantities: Mapping[str, bool] = QUANTITIES) -> None:
    """Check that a schedule keeps its contract; `CHECKS` lists what that is.

    schedule: a component or its expression; epochs: of a training that it is made for. Others may be refused, by a
    CnnkitError at their first step; quantities: what the history has, and whether greater is better of it, with those
    that the schedule looks at.
    Raises CheckError that names the check and says what was expected and what was received; ExpressionError,
    ComponentError or ConfigError for an expression that does not describe a schedule, or for epochs below 1.
    """
    component = cast("Schedule", installed_catalog().build("schedule", schedule))
    whole("epochs", epochs)
    run_all([suite(component, epochs, quantities)])


def suite(schedule: Schedule, epochs: int, quantities: Mapping[str, bool] = QUANTITIES) -> Suite:
    """All of its checks, for a training of so many epochs. Raises what it raises where it needs other quantities."""
    begun = copy.deepcopy(schedule)
    begun.begin(dict(quantities))
    return Suite(named(begun), begun, CHECKS, (begun, Course(epochs, quantities)))


def points(epochs: int) -> list[float]:
    """Where a training asks, up to its last moment."""
    return [step / PARTS for step in range(epochs * PARTS)] + [math.nextafter(epochs, 0)]


def check_factors(schedule: Schedule, course: Course) -> None:
    """Factors are finite numbers, 0 or above, and some are above; for short and long trainings, too."""
    for length in dict.fromkeys((course.epochs, *LENGTHS)):
        factors = []
        for epoch in points(length):
            at = f"factor({epoch:.6g}, {length})"
            try:
                factor = schedule.factor(epoch, length)
            except CnnkitError as error:
                if epoch == 0 and length != course.epochs:
                    break  # it is not made for this one, and says so before any work
                if epoch == 0:
                    raise CheckError(f"{at} is refused: {error}; give the epochs of a training for it") from error
                raise CheckError(f"{at} is refused in the middle of a training: {error}; refuse at epoch 0") from error
            except Exception as error:
                raise CheckError(f"{at} raises {type(error).__name__}: {error}") from error
            if isinstance(factor, bool) or not isinstance(factor, int | float):
                raise CheckError(f"{at} must be a number, got {type(factor).__name__} {factor!r}")
            if not 0 <= factor < math.inf:
                raise CheckError(f"{at} must be a finite number, 0 or above, got {factor!r}: it multiplies the rate")
            factors.append(factor)
        if factors and not any(factors):
            raise CheckError(f"all factors of a training of {length} epochs are 0: nothing would be learned")


def check_pure(schedule: Schedule, course: Course) -> None:
    """A factor depends on its two arguments alone: a training that is resumed asks in the middle."""
    epochs = course.epochs
    forward = {epoch: schedule.factor(epoch, epochs) for epoch in points(epochs)}
    check_unchanged_by(schedule, lambda: [schedule.factor(epoch, epochs) for epoch in points(epochs)])
    for epoch in reversed(points(epochs)):
        equal(
            f"factor({epoch:.6g}, {epochs}), asked for after later ones; it must depend on its arguments alone",
            schedule.factor(epoch, epochs),
            forward[epoch],
        )


def check_feedback(schedule: Schedule, course: Course) -> None:
    """The answer to a history is a finite number, 0 or above, and depends on it alone: a training may be resumed."""
    for history in histories(course.quantities):
        answers = _answers(schedule, history)
        for answer in answers:
            if isinstance(answer, bool) or not isinstance(answer, int | float) or not 0 <= answer < math.inf:
                raise CheckError(
                    f"feedback must be a finite number, 0 or above, got {answer!r}: it multiplies the rate"
                )
        check_unchanged_by(schedule, lambda history=history: _answers(schedule, history))  # type: ignore[misc]  # mypy gives no type to a lambda with a default
        equal("feedback, asked for again; it must depend on the history alone", _answers(schedule, history), answers)
        last = schedule.feedback({name: list(values) for name, values in history.items()})
        equal("feedback to a whole history, after shorter ones", last, answers[-1])


def _answers(schedule: Schedule, history: Mapping[str, list[float]]) -> list[float]:
    """What it says before the first epoch and after each."""
    lengths = range(1 + max(map(len, history.values()), default=0))
    found = []
    for length in lengths:
        given = {name: values[:length] for name, values in history.items()}
        kept = copy.deepcopy(given)
        found.append(schedule.feedback(given))
        equal("the history after feedback, which must only read it", given, kept)
    return found


def check_repr(schedule: Schedule, course: Course) -> None:
    """`repr` is the expression that recreates the schedule."""
    again, epochs = check_expression("schedule", schedule), course.epochs
    if again is not None:
        for epoch in points(epochs):
            made = cast("Schedule", again).factor(epoch, epochs)
            equal(f"factor({epoch:.6g}, {epochs}) of what repr makes", made, schedule.factor(epoch, epochs))


CHECKS: Mapping[str, Callable[[Schedule, Course], None]] = {
    "factors": check_factors,
    "pure": check_pure,
    "feedback": check_feedback,
    "repr": check_repr,
}
"""By name, in the order in which they run."""
