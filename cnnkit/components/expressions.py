"""The call notation of components, `Conv2D(8, 3, padding="same")`: read with `ast`, written by `format_call`.

Only literals and calls of names are allowed, so reading an expression runs no code.
"""

from __future__ import annotations

import ast
import copy
import functools
import json
import math
from dataclasses import dataclass, field
from typing import Any

from cnnkit.errors import ExpressionError
from cnnkit.wording import shorten

MAX_LENGTH = 10_000
MAX_DEPTH = 50
MAX_SHOWN = 120
"""Characters of an expression that a message shows."""


CACHED, CACHED_LENGTH = 1024, 200
"""Short expressions that are read once, however often a network has them."""


@dataclass(frozen=True)
class Call:
    """A parsed expression: a component's name, the distribution it must come from ("" for any), and its arguments."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    distribution: str = ""


def parse(text: str, example: str = "Conv2D(8, 3)") -> Call:
    """Read `Name(...)` or `distribution:Name(...)`; arguments are literals, calls, or lists and tuples of them.

    A bare `Name` means `Name()`. example: an expression that messages show. Raises ExpressionError with the position of
    what is not allowed.
    """
    if not isinstance(text, str):
        raise ExpressionError(f'expected an expression as text, such as "{example}", got {text!r}')
    if len(text) > CACHED_LENGTH:
        return _parsed.__wrapped__(text, example)
    call = _parsed(text, example)
    return Call(call.name, copy.deepcopy(call.args), copy.deepcopy(call.kwargs), call.distribution)


@functools.lru_cache(CACHED)
def _parsed(text: str, example: str) -> Call:
    if len(text) > MAX_LENGTH:
        raise ExpressionError(
            f"an expression may have at most {MAX_LENGTH:,} characters, this one has {len(text):,}: "
            f"{shorten(text, MAX_SHOWN)!r}; use fewer branches, or shorter arguments"
        )
    distribution, source = _split_distribution(text.strip())
    try:
        tree = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "it cannot be read"
        skipped = len(text.rstrip()) - len(source)
        where = f" at column {skipped + error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
        raise ExpressionError(
            f'cannot read {shorten(text, MAX_SHOWN)!r}{where}: {reason}; expected the form "{example}"'
        ) from None
    if not isinstance(tree, ast.Call | ast.Name):
        raise ExpressionError(f'expected a component such as "{example}", got {shorten(text, MAX_SHOWN)!r}')
    call = _call(tree, source, 0)
    return Call(call.name, call.args, call.kwargs, distribution)


def format_call(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Write an expression that `parse` reads back to the same value."""
    parts = [format_value(value) for value in args]
    parts += [f"{key}={format_value(value)}" for key, value in kwargs.items()]
    return f"{name}({', '.join(parts)})"


def format_value(value: Any) -> str:
    """Write one argument: a literal, a component (by its `repr`), or a list, tuple or dict of them."""
    match value:
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list():
            return f"[{', '.join(map(format_value, value))}]"
        case tuple():
            return f"({', '.join(map(format_value, value))}{',' if len(value) == 1 else ''})"
        case dict():
            return f"{{{', '.join(f'{format_value(k)}: {format_value(v)}' for k, v in value.items())}}}"
        case float() if not math.isfinite(value):
            raise ExpressionError(f"{value} cannot be written in an expression: use a finite number")
        case float():
            return repr(float(value))  # NumPy's float64 is a float, and its own repr is np.float64(...)
    return repr(value)


def _split_distribution(text: str) -> tuple[str, str]:
    head, colon, tail = text.partition(":")
    if colon and head and all(c.isalnum() or c in "-_." for c in head):
        return head, tail
    return "", text


def _call(node: ast.Call | ast.Name, text: str, depth: int) -> Call:
    if depth > MAX_DEPTH:
        raise ExpressionError(f"{shorten(text, MAX_SHOWN)!r} nests deeper than {MAX_DEPTH} levels")
    if isinstance(node, ast.Name):
        return Call(node.id)
    if not isinstance(node.func, ast.Name):
        raise _refused(node.func, text)
    args = tuple(_value(argument, text, depth + 1) for argument in node.args)
    kwargs: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise _refused(keyword, text)
        if keyword.arg in kwargs:
            raise ExpressionError(f"{shorten(text, MAX_SHOWN)!r} gives {keyword.arg} twice: remove one of them")
        kwargs[keyword.arg] = _value(keyword.value, text, depth + 1)
    return Call(node.func.id, args, kwargs)


def _value(node: ast.expr, text: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ExpressionError(f"{shorten(text, MAX_SHOWN)!r} nests deeper than {MAX_DEPTH} levels")
    match node:
        case ast.Call() | ast.Name():
            return _call(node, text, depth)
        case ast.List(elts=elements):
            return [_value(element, text, depth + 1) for element in elements]
        case ast.Tuple(elts=elements):
            return tuple(_value(element, text, depth + 1) for element in elements)
        case ast.Dict(keys=keys, values=values) if all(isinstance(key, ast.Constant | ast.UnaryOp) for key in keys):
            pairs = [
                (_value(key, text, depth + 1), _value(value, text, depth + 1))
                for key, value in zip(keys, values, strict=True)
                if key is not None
            ]
            if len(dict(pairs)) < len(pairs):
                raise ExpressionError(f"{shorten(text, MAX_SHOWN)!r} has a key twice in a dict: remove one of them")
            return dict(pairs)
        case ast.Constant(value=bool() | None):
            return node.value
        case ast.Constant(value=int() | float() | str() as value) if _can_be_written(value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)) if not isinstance(
            number, bool
        ) and _can_be_written(number):
            return -number
    raise _refused(node, text)


def _can_be_written(value: float | str) -> bool:
    """Whether `format_value` gives the value back: no endless digits, and no half of a character pair.

    Raises ExpressionError for an infinity.
    """
    match value:
        case float():
            format_value(value)
        case int():
            return value.bit_length() <= 1024
        case str():
            return not any("\ud800" <= character <= "\udfff" for character in value)
    return True


def _refused(node: ast.expr | ast.keyword, text: str) -> ExpressionError:
    written = ast.get_source_segment(text, node) or ""  # ast.unparse would recurse as deep as the text nests
    return ExpressionError(
        f"{shorten(written, MAX_SHOWN)!r} is not allowed in {shorten(text, MAX_SHOWN)!r}: "
        "arguments are numbers, strings, True, False, None, lists, tuples, dicts, or other components"
    )
