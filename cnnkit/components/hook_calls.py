"""The hooks of one plugin: its module is imported, and its hooks are asked for their classes, in this process."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pluggy

from cnnkit.components import hookspecs
from cnnkit.components.contracts import Component
from cnnkit.components.plugin_metadata import BUILT_IN, KINDS, Plugin, a, told
from cnnkit.components.process_state import undisturbed
from cnnkit.printable_text import cut

MOST = 10_000
"""Classes that a hook may return: one that yields forever takes all memory."""
NAMED = 200
"""Characters of what is shown of something that is no class."""
LONGEST = 100
"""Characters of the name of a component, as of the name of an array that it provides."""


@dataclass
class Loaded:
    """An imported plugin: its hooks, the classes of those that were asked, and what is wrong, each by kind."""

    plugin: Plugin
    hooks: dict[str, list[Callable[..., Any]]] = field(default_factory=dict)
    classes: dict[str, dict[str, type[Component]]] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)
    """Those of the module itself under ""."""
    imported: bool = True

    def ask(self, kind: str) -> dict[str, type[Component]]:
        """The classes of one kind by name; asks the hook once."""
        if kind not in self.classes:
            self.classes[kind], self.problems[kind] = {}, []
            for hook in self.hooks.get(kind, []):
                self._ask(kind, hook)
        return self.classes[kind]

    def faults(self, kind: str) -> list[str]:
        """What is wrong with the module, and with its hook for this kind."""
        self.ask(kind)
        return [*self.problems.get("", []), *self.problems[kind]]

    def _ask(self, kind: str, hook: Callable[..., Any]) -> None:
        name, found, problems = f"{KINDS[kind][0]}()", self.classes[kind], self.problems[kind]
        try:
            with undisturbed() as replaced:
                returned = hook()
                if isinstance(returned, type) or not isinstance(returned, Iterable):
                    problems.append(f"{name} must return a list of classes, and returned {_named(returned)}")
                    return
                classes = list(itertools.islice(returned, MOST + 1))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may fail in any way, even by SystemExit; it is reported, not obeyed
            problems.append(f"{name} failed: {told(error)}")
            return
        problems.extend(_replacing(name, replaced))
        if len(classes) > MOST:
            problems.append(f"{name} returned more than {MOST:,} classes")
            return
        for cls in classes:
            if not (inspect.isclass(cls) and issubclass(cls, KINDS[kind][1])):
                problems.append(f"{name} returned {_named(cls)}, which is not {a(kind)} class")
            elif not cls.__name__.isidentifier():
                problems.append(f"{name} returned a class named {cls.__name__!r}, which an expression cannot name")
            elif len(cls.__name__) > LONGEST:
                problems.append(f"{name} returned a class whose name has more than {LONGEST} characters")
            elif cls.__name__ in found:
                problems.append(f"{name} returned two classes named {cls.__name__}")
            else:
                found[cls.__name__] = cls


def load(plugin: Plugin) -> Loaded:
    """Import a plugin; whatever goes wrong becomes one of its problems, unless it is cnnkit itself."""
    loaded = Loaded(plugin)
    manager = pluggy.PluginManager(hookspecs.NAMESPACE)
    manager.add_hookspecs(hookspecs)
    try:
        with undisturbed() as replaced:
            module = plugin.load()
            manager.register(module, name=f"{plugin.distribution} {plugin.value}")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # as above
        if plugin.distribution == BUILT_IN and not isinstance(error, SystemExit):
            raise
        loaded.imported = False
        loaded.problems[""] = [f"importing {plugin.value} failed: {told(error)}"]
        return loaded
    kinds = {hook: kind for kind, (hook, _) in KINDS.items()}
    callers = {caller.name: caller for caller in manager.get_hookcallers(module) or []}
    for name in sorted(callers.keys() & kinds.keys(), key=list(kinds).index):
        loaded.hooks[kinds[name]] = [each.function for each in callers[name].get_hookimpls()]
    loaded.problems[""] = _replacing(f"importing {plugin.value}", replaced)
    loaded.problems[""] += _misnamed(plugin, module, callers.keys(), kinds.keys())
    return loaded


def _replacing(what: str, replaced: list[str]) -> list[str]:
    return [f"{what} replaced {', '.join(replaced)}; that was put back, as all others use it"] if replaced else []


def _misnamed(plugin: Plugin, module: Any, hooks: Any, known: Any) -> Iterator[str]:
    """What a module has in place of hooks."""
    for name in sorted(hooks - known):
        yield f"{name} is not a hook of cnnkit; the hooks are {', '.join(known)}"
    bare = [name for name in known if name not in hooks and callable(inspect.getattr_static(module, name, None))]
    for name in bare:
        yield f"{name} is never called: mark it with @cnnkit.hookimpl"
    if not hooks and not bare:
        yield f"{plugin.value} implements no hook of cnnkit; the hooks are {', '.join(known)}"


def _named(value: object) -> str:
    try:
        return cut(repr(value), NAMED)
    except Exception:
        return f"something of type {type(value).__name__}"
