"""What the checks of all kinds of components share: running them, and comparing values."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cnnkit.errors import CheckError


def run_checks(subject: str, checks: Mapping[str, Callable[..., None]], *arguments: object) -> None:
    """Run all checks, in order. Raises CheckError with the subject, the name of the check and what is wrong."""
    for name, check in checks.items():
        try:
            check(*arguments)
        except Exception as error:  # whatever a foreign component raises, it is reported under the name of the check
            reason = str(error) if isinstance(error, CheckError) else f"{type(error).__name__}: {error}"
            raise CheckError(f"{subject} fails the check {name!r}: {reason}") from error


def equal(what: str, given: object, expected: object) -> None:
    """Raises CheckError unless the two are equal."""
    if given != expected:
        raise CheckError(f"{what}: expected {expected}, got {given}")


def frozen(value: Any) -> Any:
    """What `value` holds now: arrays are copied, containers taken apart, everything else is kept as it is."""
    match value:
        case np.ndarray():
            return value.copy()
        case dict():
            return {key: frozen(item) for key, item in value.items()}
        case list() | tuple() | set() | deque():
            return [frozen(item) for item in value]
    return value


def same(before: Any, now: Any) -> bool:
    """Whether `now` is what `frozen` gave before."""
    match now:
        case np.ndarray():
            return isinstance(before, np.ndarray) and np.array_equal(before, now)
        case dict():
            return (
                isinstance(before, dict)
                and before.keys() == now.keys()
                and all(same(before[key], item) for key, item in now.items())
            )
        case list() | tuple() | set() | deque():
            return (
                isinstance(before, list)
                and len(before) == len(now)
                and all(same(a, b) for a, b in zip(before, now, strict=True))
            )
    return before is now or bool(before == now)
