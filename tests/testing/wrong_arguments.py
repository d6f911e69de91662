"""Every argument of every component is given values that it cannot mean: they are refused in words, or hold good."""

from __future__ import annotations

import copy
import inspect
import math
import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cnnkit.arguments import signature
from cnnkit.components import Component, Layer, Merge, installed_catalog
from cnnkit.components.expressions import Call, parse
from cnnkit.components.plugin_metadata import BUILT_IN, KINDS
from cnnkit.errors import CheckError, CnnkitError
from cnnkit.testing.comparing import check_expression
from cnnkit.testing.random_configurations import made
from cnnkit.testing.single_layer import alone
from cnnkit.types import Example

LONGEST = 600
"""Characters of a message."""
SHOWN = 20
"""Characters of what came that a message shows at least."""
ALLOWED = re.compile(r"\b(must|expects?)\b")
"""A word by which a message says what is allowed."""


NEEDED = {
    "Arrays": 'Arrays("data.npz")',
    "CSVLog": 'CSVLog("log.csv")',
    "ImageFolder": 'ImageFolder("photos")',
    "JSONLog": 'JSONLog("log.jsonl")',
    "StopAt": "StopAt(0.5)",
    "Table": 'Table("table.csv", "y")',
    "TimeLimit": "TimeLimit(60)",
}
"""Expressions of those that give no examples, and need arguments."""


class Thing:
    """An object that no component knows."""

    def __repr__(self) -> str:
        return "<a thing>"


class Silent:
    """An object that cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


VALUES: Mapping[str, Any] = {
    "None": None,
    "a word": "x",
    "no word": "",
    "a long word": "x" * 20_000,
    "-1": -1,
    "0": 0,
    "-0.5": -0.5,
    "1.5": 1.5,
    "nan": math.nan,
    "inf": math.inf,
    "-1e400": -1e400,
    "the largest number": 2**63 - 1,
    "a huge number": 10**30,
    "a number that Python does not print": 10**5000,
    "a complex number": 1j,
    "NumPy's 3": np.int64(3),
    "NumPy's nan": np.float64("nan"),
    "an array": np.arange(3.0),
    "bytes": b"x",
    "[]": [],
    "{}": {},
    "a set": {1},
    "True": True,
    "(1, 2, 3)": (1, 2, 3),
    "nested": [[1, [2]], [[]]],
    "(nan, nan)": (math.nan, math.nan),
    "('x', 1)": ("x", 1),
    "many": list(range(5_000)),
    "a thing": Thing(),
    "a class": Thing,
    "silent": Silent(),
}
"""What each argument is given in turn."""


def faults(cls: type[Component], example: Example | None = None) -> Iterator[str]:
    """What is wrong with the answers of a class, to each value for each argument of one of its configurations."""
    examples = getattr(cls, "examples", ())
    example = example or (examples[0] if examples else None)
    published = getattr(cls, "published", ())
    text = example.expression if example else published[0].expression if published else NEEDED.get(cls.__name__)
    given = _arguments(cls, text or cls.__name__)
    for name in given:
        for what, value in VALUES.items():
            for fault in _answer_faults(cls, given | {name: value}, name, value, example):
                yield f"{cls.__name__}, {name} is {what}: {fault}"


def answers(cls: type[Component]) -> int:
    """How many are looked at."""
    return len(signature(cls).parameters) * len(VALUES)


def _arguments(cls: type[Component], text: str) -> dict[str, Any]:
    """All arguments of an expression, with the defaults."""
    parameters = signature(cls).parameters
    call = parse(text)
    bound = signature(cls).bind_partial(*call.args, **call.kwargs)
    bound.apply_defaults()
    for name, hint in typing.get_type_hints(cls.__init__).items():
        if name not in bound.arguments and name in parameters and issubclass(hint, Component):
            bound.arguments[name] = Call(_simple(hint))
    kinds = cls.argument_kinds
    return {name: made(kinds.get(name, cls.kind), bound.arguments[name]) for name in parameters}


def _simple(kind: type[Component]) -> str:
    """The name of a built-in class of a kind that needs no arguments."""
    for cls in built_in():
        needed = [one for one in signature(cls).parameters.values() if one.default is one.empty]
        if issubclass(cls, kind) and not needed:
            return cls.__name__
    raise CheckError(f"no {kind.__name__} can be made without arguments")


def _answer_faults(
    cls: type[Component], arguments: dict[str, Any], name: str, value: Any, example: Example | None
) -> Iterator[str]:
    args: list[Any] = []
    kwargs = dict(arguments)
    parameters = signature(cls).parameters
    if any(one.kind is one.VAR_POSITIONAL for one in parameters.values()):
        for key, one in parameters.items():
            if one.kind is one.VAR_POSITIONAL:
                rest = kwargs.pop(key)
                args += [rest] if key == name else rest
            elif one.kind is one.POSITIONAL_OR_KEYWORD:
                args.append(kwargs.pop(key))
    try:
        component = cls(*args, **kwargs)
    except CnnkitError as error:
        yield from _message_faults(cls, str(error), name, value)
        return
    except Exception as error:
        yield f"{type(error).__name__}: {str(error)[:200]}"
        return
    yield from _inconsistencies(component, name, value, example)


def _message_faults(cls: type[Component], text: str, name: str, value: Any) -> Iterator[str]:
    if len(text) > LONGEST:
        yield f"a message of {len(text):,} characters: {text[:100]}"
    has_no_name = signature(cls).parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
    names = [name, cls.__name__] if has_no_name else [name]
    if not any(re.search(rf"\b{re.escape(one)}\b", text) for one in names):
        yield f"does not name the argument: {text[:200]}"
    if not ALLOWED.search(text):
        yield f"does not say what is allowed: {text[:200]}"
    if not any(one in text for one in [*_shown(value), *["got one", "got none"] * has_no_name]):
        yield f"does not say what came: {text[:200]}"


def _shown(value: Any) -> list[str]:
    """How a message may show it, or the first of its parts that does not fit."""
    parts = list(value) if isinstance(value, list | tuple | set) else []
    found = []
    for one in [value, *parts[:4]]:
        try:
            found.append(repr(one)[:SHOWN])
        except Exception:  # it has none, or one too long
            found += [type(one).__name__, "whole number of"]
    return found


def _inconsistencies(component: Component, name: str, value: Any, example: Example | None) -> Iterator[str]:
    """Accepted: then `repr` makes an equal one, a number stays the same, and a network takes it or says why not."""
    try:
        again = check_expression(component.kind, component)
        if again is None:  # it is not installed
            parse(repr(component))
        elif again != component:
            yield f"accepted, and {component!r:.100} makes another one, {again!r:.100}"
    except Exception as error:
        yield f"accepted, and then {type(error).__name__}: {str(error)[:200]}"
        return
    yield from _other_number(component, name, value)
    if isinstance(component, Layer | Merge) and example:
        try:
            alone(copy.deepcopy(component), example.in_shape)
        except CnnkitError as error:
            if len(str(error)) > LONGEST:
                yield f"accepted, and then a message of {len(str(error)):,} characters: {str(error)[:100]}"
        except Exception as error:
            yield f"accepted, and in a network {type(error).__name__}: {str(error)[:200]}"


def _other_number(component: Component, name: str, value: Any) -> Iterator[str]:
    """A number that is accepted is not another one afterwards."""
    call = parse(repr(component))
    try:
        kept = signature(type(component)).bind_partial(*call.args, **call.kwargs).arguments.get(name, value)
    except TypeError:  # it is written in another way
        return
    if _is_number(value) and _is_number(kept) and kept != value:
        yield f"accepted, and becomes {kept!r}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def built_in() -> list[type[Component]]:
    """All classes of all kinds that come with cnnkit."""
    catalog = installed_catalog()
    (own,) = (plugin for plugin in catalog.plugins if plugin.distribution == BUILT_IN)
    return [cls for kind in KINDS for cls in catalog.classes(own, kind).values()]
