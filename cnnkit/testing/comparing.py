"""What the checks of all kinds of components share: running them, and comparing values."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnnkit.components import Component, installed_catalog
from cnnkit.components.expressions import parse
from cnnkit.errors import CheckError, CnnkitError, ComponentError
from cnnkit.network.execution.threads import one_blas_thread
from cnnkit.testing.state import changes, global_generators, snapshot
from cnnkit.types import Array

RELATIVE, ABSOLUTE = 1e-4, 1e-5
"""Tolerances between results that may differ by the order of float32 sums; ABSOLUTE of the largest number."""


@dataclass(frozen=True)
class Suite:
    """The checks of a component in one configuration, with what they are given."""

    subject: str
    """The component and what it is tried on, in words."""
    component: Component
    checks: Mapping[str, Callable[..., None]]
    arguments: tuple[object, ...]
    copied: bool = True
    """Whether each check has copies of the arguments, so that none sees what another one has left behind."""

    def check(self, name: str) -> None:
        """Run one check. Raises CheckError with the subject, the name of the check and what is wrong."""
        try:
            with checking():
                self.checks[name](*(copy.deepcopy(self.arguments) if self.copied else self.arguments))
        except Exception as error:  # whatever a foreign component raises, it is reported under the name of the check
            reason = str(error) if isinstance(error, CheckError) else f"{type(error).__name__}: {error}"
            if place := _place(error.__cause__ if isinstance(error, CheckError) else error, self.component):
                reason += f" (at {place})"
            raise CheckError(f"{self.subject} fails the check {name!r}: {reason}") from error


def _place(error: BaseException | None, component: Component) -> str:
    """The innermost line of the component's own package that an error came from, "" for none: `package/file.py:7`."""
    found, own = "", type(component).__module__.partition(".")[0]
    for frame, line in traceback.walk_tb(error.__traceback__ if error else None):
        name, file = str(frame.f_globals.get("__name__", "")), Path(frame.f_code.co_filename)
        if name.partition(".")[0] == own != "cnnkit":
            depth = name.count(".") + 1 + (file.name == "__init__.py")
            found = f"{'/'.join(file.parts[-depth:])}:{line}"
    return found


def run_all(suites: Iterable[Suite]) -> None:
    """Run all checks, in order; those that the component expects to fail may. Raises CheckError for the first other."""
    for suite in suites:
        for name in suite.checks:
            with suppress(CheckError) if name in suite.component.expected_failures else nullcontext():
                suite.check(name)


@contextmanager
def checking() -> Iterator[None]:
    """How checks compute: as the engine does, with one thread, and what is not finite is found by its value."""
    with np.errstate(all="ignore"), one_blas_thread():
        yield


def named(component: Component) -> str:
    """The component's expression, or its class where it has none, which is for the check of repr to tell."""
    try:
        return repr(component)
    except CnnkitError:
        return type(component).__name__


def equal(what: str, given: object, expected: object) -> None:
    """Raises CheckError unless the two are equal."""
    if given != expected:
        raise CheckError(f"{what}: expected {expected}, got {given}")


def close(what: str, given: Array, expected: Array) -> None:
    """Raises CheckError unless the values are equal up to the order of float32 sums."""
    size = max(1.0, float(np.abs(expected).max(initial=0.0)))
    if given.shape != expected.shape or not np.allclose(given, expected, RELATIVE, ABSOLUTE * size):
        raise CheckError(f"{what}: expected the same values, {_difference(given, expected)}")


def same_bits(what: str, given: Array, expected: Array) -> None:
    """Raises CheckError unless the two arrays are equal bit for bit."""
    if not np.array_equal(given, expected, equal_nan=given.dtype.kind == "f"):
        raise CheckError(f"{what}: expected the same values bit for bit, {_difference(given, expected)}")


def _difference(given: Array, expected: Array) -> str:
    if given.shape != expected.shape:
        return f"their shapes are {given.shape} and {expected.shape}"
    return f"they differ by up to {np.abs(given - expected).max():.1e}"


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


def check_unchanged_by(component: Component, call: Callable[[], object]) -> None:
    """Raises CheckError if a call changes what is reachable from a component, or draws global random numbers.

    What the first call makes and later ones keep is harmless.
    """
    generators = global_generators()
    text = repr(component)
    call()
    if global_generators() != generators:
        raise CheckError("global random numbers were drawn, from random or np.random: every result must be repeatable")
    before = snapshot(component)
    call()
    if changed := changes(before, snapshot(component)):
        raise CheckError(f"a call changed {', '.join(changed)}; keep nothing between calls")
    if repr(component) != text:
        raise CheckError(f"a call changed the configuration: expected repr to stay {text}, got {component!r}")
