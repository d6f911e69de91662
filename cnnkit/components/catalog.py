"""The catalog: from a component's name to its class, importing a plugin only when a name needs it."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from cnnkit.arguments import refuse_unknown, shown, signature
from cnnkit.components import hook_calls
from cnnkit.components.contracts import Component
from cnnkit.components.expressions import Call, format_call, parse
from cnnkit.components.hook_calls import Loaded
from cnnkit.components.known_plugins import known_distribution
from cnnkit.components.plugin_isolation import Found, can_probe, probe
from cnnkit.components.plugin_metadata import (
    BUILT_IN,
    EXAMPLES,
    KINDS,
    Plugin,
    a,
    installed_plugins,
    missing_requirements,
    of_distribution,
    told,
)
from cnnkit.errors import CnnkitError, ComponentError, ConfigError
from cnnkit.wording import did_you_mean

CALLED = {
    ("augmentation", "RandomHorizontalFlip"): "Flip",
    ("augmentation", "RandomRotation"): "Rotate",
    ("layer", "Linear"): "Dense",
    ("layer", "Swish"): "SiLU",
    ("layer", "ZeroPadding2D"): "Pad2D",
    ("loss", "BCELoss"): "BinaryCrossEntropy",
    ("loss", "BCEWithLogitsLoss"): "BinaryCrossEntropy",
    ("loss", "L1Loss"): "MAE",
    ("loss", "SmoothL1Loss"): "Huber",
    ("loss", "SparseCategoricalCrossentropy"): "CrossEntropy",
    ("optimizer", "Momentum"): "SGD",
    ("schedule", "CosineAnnealingLR"): "Cosine",
}
"""What other libraries call components, by kind and name, where the name that we use is not close to it."""

C = TypeVar("C", bound=Component)


@functools.cache
def installed_catalog() -> Catalog:
    """The catalog of everything that is installed; read once in a process."""
    return Catalog(installed_plugins())


class Catalog:
    """Finds components by name among plugins; built-in ones first, the others only if that fails.

    What another plugin provides is asked in a separate process before it is imported into this one: a plugin that
    crashes, exits or hangs is one with a problem, and takes nothing along.
    """

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self.plugins = list(plugins)
        self._loaded: dict[int, Loaded] = {}
        self._found: dict[int, Found] = {}

    def build(self, kind: str, expression: str | Component | Call) -> Component:
        """Make the component that an expression describes; a component passes unchanged.

        Raises ExpressionError, ComponentError (unknown name), or ConfigError (arguments that it does not take).
        """
        if isinstance(expression, Component):
            if not isinstance(expression, KINDS[kind][1]):
                raise ConfigError(f"expected {a(kind)}, got {expression!r}")
            return expression
        if isinstance(expression, type) and issubclass(expression, Component):
            raise ConfigError(
                f"expected {a(kind)}, got the class {expression.__name__}: write {expression.__name__}(...)"
            )
        if not isinstance(expression, str | Call):
            raise ConfigError(f"expected {a(kind)} or its expression, got {expression!r}")
        call = parse(expression, EXAMPLES.get(kind, "Name()")) if isinstance(expression, str) else expression
        cls = self.find(kind, call.name, call.distribution)
        args = [self._argument(cls, name, value) for name, value in zip(_places(cls), call.args, strict=False)]
        kwargs = {key: self._argument(cls, key, value) for key, value in call.kwargs.items()}
        return _construct(cls, args, kwargs)

    def find(self, kind: str, name: str, distribution: str = "") -> type[Component]:
        """The class behind a name; importing no plugin for a built-in name, and only the one named by `distribution`.

        Raises ComponentError for a name that nothing or more than one plugin provides.
        """
        wanted = of_distribution(self.plugins, distribution)
        if distribution and wanted and all(p.blocked for p in wanted):
            raise ComponentError(
                f"the expression {distribution}:{name} names a plugin that is blocked: {wanted[0].blocked}"
            )
        if distribution and not wanted:
            raise ComponentError(
                f"the expression {distribution}:{name} names the distribution {distribution}, which is not installed: "
                f"if you trust that distribution, run pip install {distribution}"
            )
        built_in = [p for p in wanted if p.distribution == BUILT_IN]
        others = [p for p in wanted if p.distribution != BUILT_IN]
        for group in (built_in, others):
            self._look_at(group)
            found = [p for p in group if name in self.names_of(p, kind)]
            if len(found) > 1:
                choices = " or ".join(f"{p.distribution}:{name}" for p in found)
                raise ComponentError(f"{name} is provided by several plugins: write {choices}")
            if found:
                return self._class(found[0], kind, name)
        raise self._unknown(kind, name, wanted)

    def names(self, kind: str) -> list[str]:
        """All names of a kind; asks every plugin."""
        self._look_at(self.plugins)
        return sorted({name for p in self.plugins for name in self.names_of(p, kind)})

    def names_of(self, plugin: Plugin, kind: str) -> list[str]:
        """The names of one kind that a plugin provides; asks it in a separate process, unless it is loaded."""
        self._look_at([plugin])
        found = self._found.get(self._key(plugin))
        return found.names.get(kind, []) if found else list(self.load(plugin).ask(kind))

    def origin(self, cls: type[Component]) -> Plugin | None:
        """The plugin among those loaded so far that provides this very class, or None."""
        for loaded in list(self._loaded.values()):
            if loaded.ask(cls.kind).get(cls.__name__) is cls:
                return loaded.plugin
        return None

    def bringing(self, kind: str, name: str, distribution: str = "") -> Plugin | None:
        """The plugin among those loaded so far that `find` would take the name from, or None; imports nothing."""
        loaded = list(self._loaded.values())
        wanted = of_distribution([one.plugin for one in loaded], distribution)
        found = [one.plugin for one in loaded if one.plugin in wanted and name in one.ask(kind)]
        own = [plugin for plugin in found if plugin.distribution == BUILT_IN]
        return (own or found)[0] if own or len(found) == 1 else None

    def classes(self, plugin: Plugin, kind: str) -> dict[str, type[Component]]:
        """The classes of one kind that a plugin provides, by name; imports it if there are some, calls this hook once.

        Raises ComponentError if it provides another name in a separate process than in this one.
        """
        return {name: self._class(plugin, kind, name) for name in self.names_of(plugin, kind)}

    def all_classes(self, kind: str) -> list[tuple[Plugin, dict[str, type[Component]]]]:
        """The `classes` of one kind of each plugin, built-in ones first; all plugins are asked at once."""
        self._look_at(self.plugins)
        return [(p, self.classes(p, kind)) for p in sorted(self.plugins, key=lambda p: p.distribution != BUILT_IN)]

    def faults(self, plugin: Plugin, kind: str) -> list[str]:
        """What is wrong with a plugin that may be why it does not provide a component of this kind."""
        self._look_at([plugin])
        found = self._found.get(self._key(plugin))
        return found.faults(kind) if found else self.load(plugin).faults(kind)

    def problems(self, plugin: Plugin) -> list[str]:
        """What is wrong with a plugin, and which of its names others have; asks all hooks of all plugins."""
        self._look_at(self.plugins)
        faults = dict.fromkeys(text for kind in KINDS for text in self.faults(plugin, kind))
        if faults and plugin.usable:
            faults |= dict.fromkeys(f"it needs {name}, which is not installed" for name in missing_requirements(plugin))
        return [*faults, *(text for kind in KINDS for text in self._shared(plugin, kind))]

    def broken(self) -> list[str]:
        """What is wrong with plugins that are broken, and with which of them; asks all hooks of all plugins."""
        self._look_at(self.plugins)
        faults = ((p, text) for p in self.plugins for kind in KINDS for text in self.faults(p, kind))
        return list(dict.fromkeys(f"{p.distribution} {p.version}: {text}" for p, text in faults))

    def load(self, plugin: Plugin) -> Loaded:
        """Import a plugin once, unless it may not be, or that fails in a separate process."""
        key = self._key(plugin)
        if not plugin.usable:
            return Loaded(plugin, problems={"": [plugin.mismatch] * bool(plugin.mismatch)}, imported=False)
        if key not in self._loaded:
            self._look_at([plugin])
            found = self._found.get(key)
            if found and not found.imported:
                return Loaded(plugin, problems=found.problems, imported=False)
            loaded = self._loaded[key] = hook_calls.load(plugin)
            if found:  # a hook that did not answer is not asked again
                loaded.hooks = {kind: asked for kind, asked in loaded.hooks.items() if kind in found.names}
        return self._loaded[key]

    def _key(self, plugin: Plugin) -> int:
        return self.plugins.index(plugin)

    def _look_at(self, plugins: Iterable[Plugin]) -> None:
        """Find out what plugins provide that are neither cnnkit itself nor in this process, all at once."""
        others = {self._key(p): p for p in plugins if p.distribution != BUILT_IN}
        known = self._found.keys() | self._loaded.keys()
        if unknown := {key: p for key, p in others.items() if key not in known and can_probe(p)}:
            self._found |= dict(zip(unknown, probe([*unknown.values()]), strict=True))

    def _class(self, plugin: Plugin, kind: str, name: str) -> type[Component]:
        loaded = self.load(plugin)
        if name not in loaded.ask(kind):
            problems = loaded.faults(kind) or ["its hook returns something else here"]
            raise ComponentError(
                f"{plugin.distribution} {plugin.version} provides the {kind} {name} in a separate process, but not in "
                f"this one: {'; '.join(problems)}"
            )
        return loaded.ask(kind)[name]

    def _shared(self, plugin: Plugin, kind: str) -> Iterator[str]:
        for name in self.names_of(plugin, kind):
            owners = [p.distribution for p in self.plugins if p is not plugin and name in self.names_of(p, kind)]
            if owners and plugin.distribution != BUILT_IN:
                owner = "cnnkit itself" if BUILT_IN in owners else " and ".join(owners)
                yield f"{owner} has {a(kind)} {name} too: write {plugin.distribution}:{name} for this one"

    def _argument(self, cls: type[Component], name: str, value: Any) -> Any:
        """What is given for an argument of a class: its components are of the class's own kind, or as it says."""
        match value:
            case Call():
                return self.build(cls.argument_kinds.get(name, cls.kind), value)
            case list():
                return [self._argument(cls, name, item) for item in value]
            case tuple():
                return tuple(self._argument(cls, name, item) for item in value)
            case dict():
                return {key: self._argument(cls, name, item) for key, item in value.items()}
        return value

    def _unknown(self, kind: str, name: str, searched: list[Plugin]) -> ComponentError:
        names = sorted({n for p in searched for n in self.names_of(p, kind)})
        hints = list(self._hints(kind, name, searched, names))
        lines = [
            f"there is no {kind} named {name!r}",
            *(hints or [f"the {kind} names are {', '.join(names) or 'none'}"]),
        ]
        return ComponentError("\n  ".join(lines))

    def hints(self, kind: str, name: str, distribution: str = "") -> list[str]:
        """What may be meant by a name of a kind that nothing provides, and which plugins may be why."""
        searched = of_distribution(self.plugins, distribution)
        names = sorted({n for p in searched for n in self.names_of(p, kind)})
        return list(self._hints(kind, name, searched, names))

    def _hints(self, kind: str, name: str, searched: list[Plugin], names: list[str]) -> Iterator[str]:
        called = CALLED.get((kind, name))
        if hint := f"did you mean {called}?" if called in names else did_you_mean(name, names):
            yield hint
        own = [plugin for plugin in self.plugins if plugin.distribution == BUILT_IN]
        if other := next((k for k in KINDS if k != kind and any(name in self.names_of(p, k) for p in own)), ""):
            yield f"{name} is {a(other)}" + (", for model.architecture" if other == "architecture" else "")
        if known := known_distribution(name):
            yield f"{name} comes with {known}; from cnnkit's source, run: pip install ./plugins/{known}"
        for p in searched:
            faults = self.faults(p, kind)
            for problem in faults:
                yield f"{p.distribution} {p.version} is broken and may provide it: {problem}"
            # Such as a class that stands in the hook of another kind.
            others = dict.fromkeys(text for k in KINDS if k != kind for text in self.faults(p, k))
            for problem in others:
                if problem not in faults and re.search(rf"\b{re.escape(name)}\b", problem):
                    yield f"{p.distribution} {p.version} is broken: {problem}"
        blocked: dict[str, list[Plugin]] = {}
        for p in searched:
            if p.blocked:
                blocked.setdefault(p.blocked, []).append(p)
        for why, plugins in blocked.items():
            if len(plugins) == 1:
                yield f"{plugins[0].distribution} {plugins[0].version} is blocked and may provide it: {why}"
            else:
                yield f"{', '.join(p.distribution for p in plugins)} are blocked and may provide it: {why}"


def _places(cls: type[Component]) -> Iterator[str]:
    """The names of the arguments that positions stand for, "" for any more of them."""
    for parameter in signature(cls).parameters.values():
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            break
        yield parameter.name
    yield from itertools.repeat("")


def _construct(cls: type[C], args: list[Any], kwargs: dict[str, Any]) -> C:
    written = functools.partial(format_call, cls.__name__, tuple(args), kwargs)
    try:
        refuse_unknown(cls, kwargs)
        signature(cls).bind(*args, **kwargs)
    except (TypeError, ConfigError) as error:
        raise ConfigError(f"{written()}: {error}; expected {shown(cls)}") from None
    try:
        return cls(*args, **kwargs)
    except CnnkitError as error:
        error.args = (f"{written()}: {error}",)
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{written()}: {error}; expected {shown(cls)}") from error
    except Exception as error:  # whatever a foreign __init__ raises, the arguments did not suit it
        raise ConfigError(f"{written()}: {told(error)}; expected {shown(cls)}") from error
