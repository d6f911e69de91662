"""Attributes that nobody reads: set from outside, such as `layer.trainable = False`, they are ignored in silence."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterator
from types import CodeType
from typing import Any

DYNAMIC = {"__dict__", "__setattr__", "setattr", "vars"}
"""Code that names one of these may keep attributes under names that stand nowhere."""
CONTRACTS = "cnnkit.components.contracts"


def unread(thing: object) -> list[str]:
    """The attributes of an object that no code of its class can know.

    An attribute is known if the class, or one that it inherits from, declares it, or if code of theirs or of their
    modules names it; so whatever a class keeps for itself is known. Where some of that code cannot be looked into, or
    may keep attributes under computed names, all are.
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
    """All names in the code of a class and of the modules that it comes from; None if the class has other code."""
    names: set[str] = set()
    for base in cls.__mro__[:-1]:
        if base.__module__ == CONTRACTS:  # what these keep, they declare
            continue
        for function in _functions(base):
            if not hasattr(function, "__code__"):
                return None
            names.update(_names(function.__code__))
        for value in list(vars(sys.modules[base.__module__]).values()) if base.__module__ in sys.modules else ():
            is_neighbour = inspect.isclass(value) and value.__module__ == base.__module__
            for function in _functions(value) if is_neighbour else (value,):
                if inspect.isfunction(function):
                    names.update(_names(inspect.unwrap(function).__code__))
    return names


def _functions(cls: type) -> Iterator[Any]:
    """What a class can be asked to run: its methods and properties."""
    for value in vars(cls).values():
        match value:
            case property():
                yield from filter(None, (value.fget, value.fset, value.fdel))
            case classmethod() | staticmethod():
                yield inspect.unwrap(value.__func__)
            case functools.cached_property():
                yield inspect.unwrap(value.func)
            case _ if inspect.isroutine(value):
                yield inspect.unwrap(value)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, CodeType):
            yield from _names(constant)
