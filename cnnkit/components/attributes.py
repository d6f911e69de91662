"""Attributes that nobody reads: set from outside, such as `layer.trainable = False`, they are ignored in silence."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterator
from types import CodeType
from typing import Any

from cnnkit.components.escape_analysis import hands_over, is_ours

DYNAMIC = {"__dict__", "__setattr__", "setattr", "vars"}
"""Code that names one of these may keep attributes under names that stand nowhere."""
CONTRACTS = {
    f"cnnkit.components.{module}" for module in ("contracts", "declared", "training_contracts", "weight_contracts")
}
CONTRACTS.add("cnnkit.arguments")


def unread(thing: object) -> list[str]:
    """The attributes of an object that no code of its class can know.

    An attribute is known if the class, or one that it inherits from, declares it, or if code of theirs or of their
    modules names it; so whatever a class keeps for itself is known. Where some of that code cannot be looked into, may
    keep attributes under computed names, or hands the object to code elsewhere, all are.
    """
    cls = type(thing)
    found = [name for name in getattr(thing, "__dict__", ()) if not _declares(cls, name)]
    if not found:
        return []
    known = _named_in(cls)
    return [] if known is None or known & DYNAMIC else [name for name in found if name not in known]


def _declares(cls: type, name: str) -> bool:
    return hasattr(cls, name) or any(name in inspect.get_annotations(base) for base in cls.__mro__)


def _named_in(cls: type) -> set[str] | None:
    """All names in the code of a class and of the modules that it comes from; None if other code may keep some."""
    names: set[str] = set()
    for base in cls.__mro__[:-1]:
        if base.__module__ in CONTRACTS:  # what these keep, they declare
            continue
        for function, is_method in _functions(base):
            if not inspect.isfunction(inspect.unwrap(function)):
                return None
            if is_method and not is_ours(base.__module__) and hands_over(function):
                return None
            names.update(_names_of(function))
        for value in list(vars(sys.modules[base.__module__]).values()) if base.__module__ in sys.modules else ():
            is_neighbour = inspect.isclass(value) and value.__module__ == base.__module__
            for function, _ in _functions(value) if is_neighbour else ((value, False),):
                if inspect.isfunction(function):
                    names.update(_names_of(function))
    return names


def _functions(cls: type) -> Iterator[tuple[Any, bool]]:
    """What a class can be asked to run, its methods and properties, each with whether it is given the object."""
    for value in vars(cls).values():
        match value:
            case property():
                yield from ((one, True) for one in (value.fget, value.fset, value.fdel) if one)
            case classmethod() | staticmethod():
                yield value.__func__, False
            case functools.cached_property():
                yield value.func, True
            case functools._lru_cache_wrapper():
                yield value.__wrapped__, True
            case _ if inspect.isroutine(value):
                yield value, True


def _names_of(function: Any) -> Iterator[str]:
    """The names in the code of a function and of those that it wraps."""
    while inspect.isfunction(function):
        yield from _names(function.__code__)
        function = getattr(function, "__wrapped__", None)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, CodeType):
            yield from _names(constant)
