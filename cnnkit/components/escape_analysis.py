"""Whether a method hands its object to code elsewhere, which may keep and read any attribute of it."""

from __future__ import annotations

import ast
import builtins
import inspect
from collections.abc import Iterator
from types import FunctionType
from typing import Any

PACKAGE = __name__.partition(".")[0]
ASKING = {"getattr", "hasattr", "hash", "id", "isinstance", "len", "repr", "str", "super", "type"}
"""Built-in functions that ask an object and keep nothing."""


def is_ours(module: str) -> bool:
    """Whether it is one of this package, whose functions keep nothing on components."""
    return module.partition(".")[0] == PACKAGE


def hands_over(method: FunctionType) -> bool:
    """Whether the first parameter may reach a function that is neither of the method's module nor of this package.

    True where that cannot be told, because the source is not at hand or the method is wrapped in another function.
    """
    return _hands_over(method, method.__code__.co_varnames[:1], ())


def _hands_over(function: FunctionType, parameters: tuple[str, ...], callers: tuple[object, ...]) -> bool:
    if hasattr(function, "__wrapped__") or not function.__code__.co_argcount:
        return True
    try:
        source = inspect.getsource(function.__code__)
        tree = ast.parse(f"if True:\n{source}" if source[0].isspace() else source)
    except (OSError, SyntaxError):
        return True
    kept = {id(value) for value in _kept(tree, function, callers)}
    return any(
        isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in parameters and id(node) not in kept
        for node in ast.walk(tree)
    )


def _kept(tree: ast.AST, function: FunctionType, callers: tuple[object, ...]) -> Iterator[ast.expr]:
    """The expressions that stand where nothing is handed to code elsewhere, such as `self` in `self.units`."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute() | ast.FormattedValue():
                yield node.value
            case ast.Return(value=ast.expr() as value):
                yield value
            case ast.Call(func=ast.Name(id=name)) if _is_near(name, function, callers):
                yield from node.args
                yield from (keyword.value for keyword in node.keywords)


def _is_near(name: str, caller: FunctionType, callers: tuple[object, ...]) -> bool:
    """Whether a name is that of a function which keeps nothing, or can be looked into and hands nothing on."""
    called: Any = caller.__globals__.get(name, getattr(builtins, name, None))
    module = getattr(called, "__module__", None) or ""
    if is_ours(module) or (name in ASKING and module == builtins.__name__) or called in (caller, *callers):
        return True
    if not inspect.isfunction(called) or module != caller.__module__:
        return False
    code = called.__code__
    handed = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return not _hands_over(called, handed, (caller, *callers))
