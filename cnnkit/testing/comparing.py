"""What the checks of all kinds of components share: running them, and comparing values."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from cnnkit.components import Component, installed_catalog
from cnnkit.components.expressions import parse
from cnnkit.errors import CheckError, ComponentError
from cnnkit.types import Array


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


def same_bits(what: str, given: Array, expected: Array) -> None:
    """Raises CheckError unless the two arrays are equal bit for bit."""
    if not np.array_equal(given, expected, equal_nan=given.dtype.kind == "f"):
        size = (
            f"they differ by up to {np.abs(given - expected).max():.1e}"
            if given.shape == expected.shape
            else (f"their shapes are {given.shape} and {expected.shape}")
        )
        raise CheckError(f"{what}: expected the same values bit for bit, {size}")


def check_expression(kind: str, component: Component) -> Component | None:
    """What `repr` makes again; None if the component is not installed, so that nothing can make it yet.

    Raises CheckError if it makes something with another `repr`.
    """
    text = repr(component)
    try:
        found = installed_catalog().find(kind, parse(text).name)
    except ComponentError:
        return None
    if found is not type(component):
        return None
    again = installed_catalog().build(kind, text)
    equal("repr of what repr makes", repr(again), text)
    return again
