"""What an object holds, wherever it is reachable from it: attributes, helpers, classes, and names of modules."""

from __future__ import annotations

import array
import functools
import hashlib
import random
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np

OPAQUE = sys.stdlib_module_names | {
    "cnnkit",
    "h5py",
    "numpy",
    "onnx",
    "onnxruntime",
    "PIL",
    "pluggy",
    "_pytest",
    "pytest",
    "scipy",
    "sklearn",
    "torch",
}
"""Packages whose classes, functions and modules are not looked into; objects of cnnkit's classes are."""
MAX_VALUES = 20_000
"""How many values are looked at: a bound for objects that hold large graphs of others."""
NOT_STATE = {"__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__annotations__", "_abc_impl"}
NOT_STATE |= {"__annotate__", "__annotate_func__", "__annotations_cache__", "__static_attributes__"}

Snapshot = dict[str, object]
"""What is held, by where it is: "self.helper.calls", "Helper.calls"."""


def snapshot(root: object, name: str = "self") -> Snapshot:
    """What is reachable from an object: its attributes, their classes, what its methods use of closures and modules."""
    walk = _Walk()
    walk.visit(root, name)
    return walk.found


def reached(root: object, kinds: tuple[type, ...]) -> dict[str, object]:
    """The objects of some classes that are reachable from an object, by where they are; without itself."""
    walk = _Walk(kinds)
    walk.visit(root, "self")
    return {path: value for path, value in walk.reached.items() if value is not root}


def changes(before: Snapshot, after: Snapshot) -> list[str]:
    """Where two snapshots differ, without what lies inside of something that differs itself."""
    missing = object()
    different = sorted(
        {path for path in {**before, **after} if before.get(path, missing) != after.get(path, missing)},
        key=lambda path: (len(path), path),
    )
    outer: list[str] = []
    for path in different:
        if not any(path.startswith((f"{one}.", f"{one}[")) for one in outer):
            outer.append(path)
    return outer


def global_generators() -> object:
    """Where the random number generators stand that a process has only one of."""
    state = np.random.get_state(legacy=False)["state"]
    return random.getstate(), state["pos"], state["key"].tolist()


class _Walk:
    def __init__(self, kinds: tuple[type, ...] = ()) -> None:
        self.found: Snapshot = {}
        self.reached: dict[str, object] = {}
        self._kinds = kinds
        self._seen: dict[int, object] = {}
        """By id; the objects themselves are kept, so that no id is used again."""

    def visit(self, value: Any, path: str) -> None:
        if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
            self.found[path] = (type(value).__name__, repr(value))
            return
        if id(value) in self._seen or len(self._seen) > MAX_VALUES:
            return
        self._seen[id(value)] = value
        if isinstance(value, self._kinds):
            self.reached[path] = value
        match value:
            case np.ndarray():
                self._array(value, path)
            case bytearray() | memoryview() | array.array():
                self.found[path] = bytes(value)
            case np.random.Generator():
                self.found[path] = repr(value.bit_generator.state)
            case np.random.RandomState():
                self.found[path] = repr(value.get_state(legacy=False))
            case random.Random():
                self.found[path] = repr(value.getstate())
            case Mapping():
                self._mapping(value, path)
            case list() | tuple() | deque():
                self.found[path] = (type(value).__name__, len(value))
                for number, item in enumerate(value):
                    self.visit(item, f"{path}[{number}]")
            case set() | frozenset():
                self.found[path] = sorted(map(_told, value))
            case type():
                self._class(value)
            case FunctionType():
                self._function(value)
            case ModuleType():
                pass  # `_function` looks at what it uses of one
            case _:
                self._object(value, path)

    def _array(self, value: Any, path: str) -> None:
        if value.dtype.hasobject:
            for number, item in enumerate(value.flat):
                self.visit(item, f"{path}.flat[{number}]")
            return
        content = hashlib.blake2b(np.ascontiguousarray(value).tobytes()).digest()
        self.found[path] = ("ndarray", value.shape, str(value.dtype), content)

    def _mapping(self, value: Mapping[Any, Any], path: str) -> None:
        self.found[path] = (type(value).__name__, [_told(key) for key in value])
        for key, item in value.items():
            self.visit(item, f"{path}[{_told(key)}]")
        self._attributes(value, path)

    def _object(self, value: Any, path: str) -> None:
        for inner in _wrapped(value):
            self.visit(inner, path)
        cls = type(value)
        if cls.__module__ == "itertools":
            self.found[path] = repr(value)  # a count shows where it stands
        elif _root(cls) == "cnnkit" or not _is_opaque(cls) or isinstance(value, SimpleNamespace | threading.local):
            self.visit(cls, path)
            self._attributes(value, path)

    def _attributes(self, value: Any, path: str) -> None:
        held = dict(getattr(value, "__dict__", {}))
        for cls in type(value).__mro__:
            slots = vars(cls).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if name not in NOT_STATE and hasattr(value, name):
                    held[name] = getattr(value, name)
        for name, item in held.items():
            self.visit(item, f"{path}.{name}")

    def _class(self, value: type) -> None:
        for cls in value.__mro__:
            if _is_opaque(cls):
                continue
            for name, item in vars(cls).items():
                if name not in NOT_STATE:
                    self.visit(item, f"{cls.__name__}.{name}")

    def _function(self, value: FunctionType) -> None:
        if _is_opaque(value):
            return
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            try:
                self.visit(cell.cell_contents, name)
            except ValueError:  # not filled yet
                continue
        for number, default in enumerate(value.__defaults__ or ()):
            self.visit(default, f"{value.__qualname__}.__defaults__[{number}]")
        for name, default in (value.__kwdefaults__ or {}).items():
            self.visit(default, f"{value.__qualname__}.__kwdefaults__[{name!r}]")
        for name, item in vars(value).items():
            self.visit(item, f"{value.__qualname__}.{name}")
        names = set(_names(value.__code__))
        for name in sorted(names & value.__globals__.keys()):
            used = value.__globals__[name]
            if isinstance(used, ModuleType):
                self._module(used, names)
            else:
                self.visit(used, name)

    def _module(self, module: ModuleType, names: set[str]) -> None:
        """What a function that uses these names can use of a module."""
        if module.__name__.partition(".")[0] in OPAQUE:
            return
        for name in sorted(names & vars(module).keys()):
            if not isinstance(vars(module)[name], ModuleType):
                self.visit(vars(module)[name], f"{module.__name__}.{name}")


def _told(key: Any) -> str:
    """A key or a member of a set, without an address in memory, which differs between copies."""
    plain = key is None or isinstance(key, bool | int | float | complex | str | bytes | tuple | np.generic | np.dtype)
    return repr(key) if plain else type(key).__name__


def _wrapped(value: Any) -> list[Any]:
    """What methods, properties and the like are made of."""
    match value:
        case MethodType():
            return [value.__func__, value.__self__]
        case staticmethod() | classmethod():
            return [value.__func__]
        case property():
            return [one for one in (value.fget, value.fset) if one]
        case functools.cached_property():
            return [value.func]
        case functools.partial():
            return [value.func, value.args, value.keywords]
    return [value.__wrapped__] if hasattr(type(value), "cache_info") else []


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _root(value: Any) -> str:
    return str(getattr(value, "__module__", None) or "").partition(".")[0]


def _is_opaque(value: Any) -> bool:
    return _root(value) in OPAQUE or not _root(value)
