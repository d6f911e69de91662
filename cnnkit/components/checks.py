"""Checks of configuration arguments: each returns the value, or raises ConfigError, naming what it expected and got."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from typing import Any, TypeGuard

import numpy as np

from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError
from cnnkit.printable_text import MAX_LINE
from cnnkit.types import Array
from cnnkit.wording import did_you_mean

LARGEST = 2**63 - 1
"""Of whole numbers: no array has more numbers."""
SHARES_ADD_UP = 1e-3
"""How far from 1 the sum of a sample's shares may be: float32 adds up a thousand of them no better."""

MAX_FLOAT32 = float(np.finfo(np.float32).max)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a number, and no truth value; NaN is one, and within no bounds."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def in_range(name: str, value: Any, low: float, high: float) -> float:
    """Return the argument `name` if it is a number with low <= value < high."""
    if not is_number(value) or not low <= value < high:
        raise ConfigError(f"{name} must be a number with {low:g} <= {name} < {high:g}, got {shown(value)}")
    return value


def finite(name: str, value: Any) -> float:
    """Return the argument `name` if it is a number that is finite, in float32, too."""
    if not is_number(value) or not abs(value) <= MAX_FLOAT32:
        raise ConfigError(f"{name} must be a finite number, got {shown(value)}")
    return value


def positive(name: str, value: Any) -> float:
    """Return the argument `name` if it is a finite number above 0."""
    if not is_number(value) or not 0 < value <= sys.float_info.max:
        raise ConfigError(f"{name} must be a number above 0, got {shown(value)}")
    return value


def positive_float32(name: str, value: Any) -> float:
    """Return the argument `name` if it is a number above 0 that is finite in float32, too."""
    if (number := positive(name, value)) > MAX_FLOAT32:
        raise ConfigError(f"{name} must be a number above 0 and of at most {MAX_FLOAT32:.4g}, got {shown(value)}")
    return number


def probability(name: str, value: Any) -> float:
    """Return the argument `name` if it is a number from 0 to 1."""
    return from_to(name, value, 0, 1)


def from_to(name: str, value: Any, low: float, high: float) -> float:
    """Return the argument `name` if it is a number with low <= value <= high."""
    if not is_number(value) or not low <= value <= high:
        raise ConfigError(f"{name} must be a number from {low:g} to {high:g}, got {shown(value)}")
    return value


def not_negative(name: str, value: Any) -> float:
    """Return the argument `name` if it is a finite number, 0 or above."""
    if not is_number(value) or not 0 <= value <= sys.float_info.max:
        raise ConfigError(f"{name} must be a number, 0 or above, got {shown(value)}")
    return value


def whole(name: str, value: Any, at_least: int = 1) -> int:
    """Return the argument `name` if it is a whole number, not below `at_least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ConfigError(f"{name} must be a whole number, {at_least} or above, got {shown(value)}")
    return _not_too_large(name, value)


def _not_too_large(name: str, value: int) -> int:
    if abs(value) > LARGEST:
        raise ConfigError(f"{name} must be a whole number of at most {LARGEST:,}, got {shown(value)}")
    return value


def index_or_none(name: str, value: Any) -> int | None:
    """Return the argument `name` if it is a whole number of any sign, or None."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise ConfigError(f"{name} must be a whole number, or None for none, got {shown(value)}")
    return value if value is None else _not_too_large(name, value)


def true_or_false(name: str, value: Any) -> bool:
    """Return the argument `name` if it is True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be True or False, got {shown(value)}")
    return value


def text(name: str, value: Any, what: str) -> str:
    """Return the argument `name` if it is text, not empty and no longer than a path may be; what: it must be."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_LINE:
        raise ConfigError(f"{name} must be {what}, got {shown(value)}")
    return value


def path(name: str, value: Any, what: str) -> str:
    """Return the argument `name` as text if it can be the name of a file or folder; what: it must be."""
    return text(name, os.fspath(value) if isinstance(value, os.PathLike) else value, what)


def one_of(name: str, value: Any, allowed: Collection[str]) -> str:
    """Return the argument `name` if it is one of the allowed words."""
    if not isinstance(value, str) or value not in allowed:
        hint = did_you_mean(value[:MAX_LINE], allowed, 1) if isinstance(value, str) else ""
        raise ConfigError(
            f"{name} must be one of {', '.join(map(repr, allowed))}, got {shown(value)}{hint and f'; {hint}'}"
        )
    return str(value)


def pair(name: str, value: Any, at_least: int = 1) -> tuple[int, int]:
    """Return the argument `name` as (height, width) if it is a whole number for both axes, or one for each."""
    if isinstance(value, list | tuple) and len(value) == 2:
        return whole(name, value[0], at_least), whole(name, value[1], at_least)
    if isinstance(value, list | tuple):
        raise ConfigError(f"{name} must be a whole number or a pair of them (height, width), got {shown(value)}")
    return (whole(name, value, at_least),) * 2


def fits_into(x: Array, pixels: int, component: object) -> None:
    """Raise ConfigError unless the images, (N, C, H, W), are larger than so many pixels along both axes."""
    height, width = x.shape[2:]
    if pixels >= min(height, width):
        raise ConfigError(
            f"{component!r} needs images that are higher and wider than {pixels} pixels, these have {height} x {width}"
            ": use a smaller number"
        )


def interval(name: str, value: Any) -> tuple[float, float]:
    """Return the argument `name` if it is a pair of finite numbers, 0 or above, the smaller one first."""
    if isinstance(value, list | tuple) and len(value) == 2:
        low, high = (not_negative(f"{name}[{i}]", one) for i, one in enumerate(value))
        if low <= high:
            return low, high
    raise ConfigError(
        f"{name} must be a pair of numbers, such as (0.5, 1.5), the smaller one first, got {shown(value)}"
    )


def are_shares(targets: Array) -> Array:
    """Whether they can be shares of classes, numbers from 0 on that add up to 1: (N, K, ...) -> (N, ...) bool."""
    return np.asarray((targets >= 0).all(axis=1) & (np.abs(targets.sum(axis=1, dtype=np.float64) - 1) < SHARES_ADD_UP))
