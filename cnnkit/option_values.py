"""Checks of the values of training options that are no components: each returns what is kept, or raises ConfigError.

NumPy is loaded only when a value is checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cnnkit.errors import ConfigError

MAY_BE_ZERO = ("layer_decays",)
"""Options by patterns whose numbers may be 0, which others' must not."""
LIMITS = ("max_norm",)
"""Those whose numbers are limits, and no factors."""


def listed(name: str, given: Any) -> Sequence[Any]:
    """A list or tuple."""
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ConfigError(f"{name} must be a list, such as [{given!r}], got {given!r}")
    return given


def texts(name: str, given: Any) -> tuple[str, ...]:
    """A list of texts, or of what has one."""
    return tuple(map(str, listed(name, given)))


def patterns(name: str, given: Any) -> tuple[str, ...] | None:
    """Patterns of names; one may stand alone."""
    if given is None:
        return None
    found = (given,) if isinstance(given, str) else tuple(listed(name, given))
    if not found or not all(isinstance(one, str) and one for one in found):
        raise ConfigError(f"{name} must be names of layers, or patterns such as 'conv*', got {given!r}")
    return found


def numbers_by_pattern(name: str, given: Any) -> tuple[str, ...] | None:
    """Patterns with a number each: "conv*=0.1", or as a mapping; one may stand alone."""
    if isinstance(given, Mapping):
        given = [f"{pattern}={number}" for pattern, number in given.items()]
    found = patterns(name, given)
    for one in found or ():
        pattern_number(name, one)
    return found


def pattern_number(name: str, text: str) -> tuple[str, float]:
    """Pattern and number of an entry of an option; only a decay may be 0.

    Raises ConfigError unless it is such as "conv*=0.1".
    """
    from cnnkit.components import checks

    pattern, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not pattern or not (value > 0 or (value == 0 and name in MAY_BE_ZERO)):
        what = "limits" if name in LIMITS else "factors"
        allowed = f"{what}, 0 or above" if name in MAY_BE_ZERO else f"{what} above 0"
        raise ConfigError(f"{name} must be {allowed}, such as {{'conv*': 0.1}} or 'conv*=0.1', got {text!r}")
    return pattern, checks.not_negative(name, value)


def decay(name: str, given: Any) -> Any:
    """Which weights are decayed, as a word."""
    from cnnkit.components import checks

    return None if given is None else checks.one_of(name, given, ("weights",))


def whole(name: str, given: Any) -> int:
    """A whole number, 1 or above."""
    from cnnkit.components import checks

    return checks.whole(name, given)


def whole_or_none(name: str, given: Any) -> int | None:
    """A whole number, 1 or above, or None."""
    return None if given is None else whole(name, given)


def seed(name: str, given: Any) -> int:
    """A whole number from 0 to 2^63 - 1."""
    from cnnkit.components import checks

    return int(checks.in_range(name, checks.whole(name, given, at_least=0), 0, 2**63))


def positive_or_none(name: str, given: Any) -> float | None:
    """A number above 0, or None."""
    from cnnkit.components import checks

    return None if given is None else checks.positive(name, given)


def share_or_none(name: str, given: Any) -> float | None:
    """A number above 0 and below 1, or None."""
    from cnnkit.components import checks

    return None if given is None else checks.in_range(name, checks.positive(name, given), 0.0, 1.0)


def kept_epoch(name: str, given: Any) -> Any:
    """Which epoch, as a word."""
    from cnnkit.components import checks

    return checks.one_of(name, given, ("last", "best"))


def class_weights(name: str, given: Any) -> str | list[float] | dict[str, float] | None:
    """As a recipe has them, with the names of classes as text."""
    from cnnkit.components import checks

    given = given.tolist() if hasattr(given, "tolist") else given  # of NumPy
    if given is None or isinstance(given, str):
        return None if given is None else checks.one_of(name, given, ("balanced",))
    values = list(given.values()) if isinstance(given, Mapping) else list(listed(name, given))
    weights = [float(checks.in_range(name, value, 0.0, float("inf"))) for value in values]
    if not any(weights):
        raise ConfigError(f"{name} must have a weight above 0, got {given!r}")
    return dict(zip(map(str, given), weights, strict=True)) if isinstance(given, Mapping) else weights


def kernels(name: str, given: Any) -> Any:
    """Which kernels, as a word."""
    from cnnkit.components import checks

    return None if given is None else checks.one_of(name, given, ("numpy", "compiled"))


def sampling(name: str, given: Any) -> Any:
    """How samples are drawn, as a word."""
    from cnnkit.components import checks

    return None if given is None else checks.one_of(name, given, ("balanced",))
