"""What schedules share: checks of their arguments, and the schedules inside of others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from cnnkit.components.checks import from_to, positive
from cnnkit.components.training_contracts import Schedule
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError


def of_schedule(name: str, given: Any) -> Schedule:
    """Return the argument `name` if it is a schedule."""
    if not isinstance(given, Schedule):
        raise ConfigError(f"{name} must be a schedule, such as Step(30), got {shown(given)}")
    return given


def share(name: str, value: Any) -> float:
    """Return the argument `name` if it is a number above 0, and 1 at most."""
    return from_to(name, positive(name, value), 0.0, 1.0)


def growing(name: str, value: Any) -> tuple[float, ...]:
    """Return the argument `name` if it is a list of epochs above 0, each above the one before it."""
    if not isinstance(value, list | tuple) or not value:
        raise ConfigError(f"{name} must be a list of epochs, such as [80, 120], got {shown(value)}")
    found = tuple(positive(f"{name}[{number}]", one) for number, one in enumerate(value))
    if any(later <= earlier for earlier, later in pairwise(found)):
        raise ConfigError(f"{name} must be epochs that grow, such as [80, 120], got {shown(value)}")
    return found


def since(history: Mapping[str, Sequence[float]], epoch: float) -> dict[str, list[float]]:
    """What a history has of the epochs that began there, or later."""
    return {name: list(values[math.ceil(epoch) :]) for name, values in history.items()}
