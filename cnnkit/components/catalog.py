"""The catalog: from a component's name to its class, importing a plugin only when a name needs it."""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import importlib.metadata
import inspect
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pluggy

from cnnkit.components import contracts, hookspecs
from cnnkit.components.contracts import Component
from cnnkit.components.expressions import Call, format_call, parse
from cnnkit.errors import CnnkitError, ComponentError, ConfigError

BUILT_IN = "cnnkit"
"""The distribution whose components keep their names whatever is installed."""

KINDS: dict[str, tuple[str, tuple[type[Component], ...]]] = {
    "layer": ("cnnkit_layers", (contracts.Layer, contracts.Merge)),
    "loss": ("cnnkit_losses", (contracts.Loss,)),
    "optimizer": ("cnnkit_optimizers", (contracts.Optimizer,)),
    "gradient method": ("cnnkit_gradients", (contracts.GradientMethod,)),
    "schedule": ("cnnkit_schedules", (contracts.Schedule,)),
    "metric": ("cnnkit_metrics", (contracts.Metric,)),
    "dataset": ("cnnkit_datasets", (contracts.Dataset,)),
    "augmentation": ("cnnkit_augmentations", (contracts.Augmentation, contracts.Mixing)),
    "callback": ("cnnkit_callbacks", (contracts.Callback,)),
    "runtime": ("cnnkit_runtimes", (contracts.Runtime,)),
}
"""Each kind's hook, and the classes that its components must inherit from."""

KNOWN_ELSEWHERE = {
    "Elastic": "cnnkit-elastic",
    "FiniteDifference": "cnnkit-finite-difference",
    "HadamardDense": "cnnkit-walsh",
    "LoopConv2D": "cnnkit-finite-difference",
    "SPSA": "cnnkit-finite-difference",
}
"""Names of components that a distribution of ours brings, for the hint what to install."""

PATIENCE = 30.0
"""Seconds in which a plugin must answer; a large import from a slow disk takes a few."""

C = TypeVar("C", bound=Component)
T = TypeVar("T")


@dataclass(frozen=True)
class Plugin:
    """One entry point of the group `cnnkit`, as its metadata tells; nothing is imported before `load`."""

    distribution: str
    version: str
    value: str
    """The module, as the entry point names it."""
    load: Callable[[], Any] = field(repr=False, compare=False)


@dataclass
class Loaded:
    """An imported plugin: its hooks by kind, the classes of those that were asked, and what is wrong with it."""

    plugin: Plugin
    hooks: dict[str, list[Callable[..., Any]]] = field(default_factory=dict)
    classes: dict[str, dict[str, type[Component]]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def normalized(distribution: str) -> str:
    """The name of a distribution as pip compares names: `My_Plugin` is `my-plugin`. Source: PEP 503."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def installed_plugins() -> list[Plugin]:
    """The plugins that are installed, by their metadata alone, in a fixed order."""
    plugins = {}
    for entry in importlib.metadata.entry_points(group=hookspecs.NAMESPACE):
        distribution = entry.dist.name if entry.dist else "unknown"
        version = entry.dist.version if entry.dist else "?"
        plugins[distribution, entry.value] = Plugin(distribution, version, entry.value, entry.load)
    return [plugins[key] for key in sorted(plugins)]


@functools.cache
def installed_catalog() -> Catalog:
    """The catalog of everything that is installed; read once in a process."""
    return Catalog(installed_plugins())


class Catalog:
    """Finds components by name among plugins; built-in ones first, the others imported only if that fails."""

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self.plugins = list(plugins)
        self._manager = pluggy.PluginManager(hookspecs.NAMESPACE)
        self._manager.add_hookspecs(hookspecs)
        self._loaded: dict[int, Loaded] = {}

    def build(self, kind: str, expression: str | Component | Call) -> Component:
        """Make the component that an expression describes; a component passes unchanged.

        Raises ExpressionError, ComponentError (unknown name), or ConfigError (arguments that it does not take).
        """
        if isinstance(expression, Component):
            if not isinstance(expression, KINDS[kind][1]):
                raise ConfigError(f"expected {_a(kind)}, got {expression!r}")
            return expression
        if isinstance(expression, type) and issubclass(expression, Component):
            raise ConfigError(
                f"expected {_a(kind)}, got the class {expression.__name__}: write {expression.__name__}(...)"
            )
        if not isinstance(expression, str | Call):
            raise ConfigError(f"expected {_a(kind)} or its expression, got {expression!r}")
        call = parse(expression) if isinstance(expression, str) else expression
        cls = self.find(kind, call.name, call.distribution)
        args = [self._argument(kind, value) for value in call.args]
        kwargs = {key: self._argument(kind, value) for key, value in call.kwargs.items()}
        return _construct(cls, args, kwargs)

    def find(self, kind: str, name: str, distribution: str = "") -> type[Component]:
        """The class behind a name; importing no plugin for a built-in name, and only the one named by `distribution`.

        Raises ComponentError for a name that nothing or more than one plugin brings.
        """
        wanted = [p for p in self.plugins if _is_from(p, distribution)]
        if distribution and not wanted:
            raise ComponentError(
                f"{distribution}:{name} needs the distribution {distribution}, which is not installed; "
                f"run: pip install {distribution}"
            )
        built_in = [p for p in wanted if p.distribution == BUILT_IN]
        others = [p for p in wanted if p.distribution != BUILT_IN]
        for group in (built_in, others):
            found = [(p, classes[name]) for p in group if name in (classes := self.classes(p, kind))]
            if len(found) > 1:
                choices = " or ".join(f"{p.distribution}:{name}" for p, _ in found)
                raise ComponentError(f"{name} is brought by more than one plugin: write {choices}")
            if found:
                return found[0][1]
        raise self._unknown(kind, name, wanted)

    def names(self, kind: str) -> list[str]:
        """All names of a kind; imports every plugin."""
        return sorted({name for p in self.plugins for name in self.classes(p, kind)})

    def origin(self, cls: type[Component]) -> Plugin | None:
        """The plugin among those loaded so far that brings this very class, or None."""
        for loaded in list(self._loaded.values()):
            if self.classes(loaded.plugin, cls.kind).get(cls.__name__) is cls:
                return loaded.plugin
        return None

    def bringing(self, kind: str, name: str, distribution: str = "") -> Plugin | None:
        """The plugin among those loaded so far that `find` would take the name from, or None; imports nothing."""
        loaded = [one.plugin for one in list(self._loaded.values()) if _is_from(one.plugin, distribution)]
        found = [plugin for plugin in loaded if name in self.classes(plugin, kind)]
        own = [plugin for plugin in found if plugin.distribution == BUILT_IN]
        return (own or found)[0] if own or len(found) == 1 else None

    def classes(self, plugin: Plugin, kind: str) -> dict[str, type[Component]]:
        """The classes of one kind that a plugin brings, by name; imports it, and asks this one hook once."""
        loaded = self.load(plugin)
        if kind not in loaded.classes:
            loaded.classes[kind] = {}
            for hook in loaded.hooks.get(kind, []):
                self._ask(loaded, kind, hook)
        return loaded.classes[kind]

    def problems(self, plugin: Plugin) -> list[str]:
        """What is wrong with a plugin, and which of its names others have; imports all, and asks all hooks."""
        shared = [text for kind in KINDS for text in self._shared(plugin, kind)]
        return [*self.load(plugin).problems, *shared]

    def load(self, plugin: Plugin) -> Loaded:
        """Import a plugin once; whatever goes wrong becomes one of its problems."""
        key = self.plugins.index(plugin)
        if key not in self._loaded:
            self._loaded[key] = self._import(plugin)
        return self._loaded[key]

    def _import(self, plugin: Plugin) -> Loaded:
        loaded = Loaded(plugin)
        try:
            module = _answer(plugin, plugin.load)
            self._manager.register(module, name=f"{plugin.distribution} {plugin.value}")
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may fail in any way, even by SystemExit; it is reported, not obeyed
            if plugin.distribution == BUILT_IN and not isinstance(error, SystemExit):
                raise
            loaded.problems.append(f"importing {plugin.value} failed: {_told(error)}")
            return loaded
        hooks = {hook: kind for kind, (hook, _) in KINDS.items()}
        for caller in self._manager.get_hookcallers(module) or []:
            if caller.name not in hooks:
                loaded.problems.append(f"{caller.name} is not a hook of cnnkit; the hooks are {', '.join(hooks)}")
                continue
            for implementation in caller.get_hookimpls():
                if implementation.plugin is module:
                    loaded.hooks.setdefault(hooks[caller.name], []).append(implementation.function)
        return loaded

    def _ask(self, loaded: Loaded, kind: str, hook: Callable[..., Any]) -> None:
        try:
            classes = _answer(loaded.plugin, lambda: list(hook()))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # as above
            loaded.problems.append(f"{KINDS[kind][0]}() failed: {_told(error)}")
            return
        for cls in classes:
            if not (inspect.isclass(cls) and issubclass(cls, KINDS[kind][1])):
                loaded.problems.append(f"{KINDS[kind][0]}() returned {_named(cls)}, which is not {_a(kind)} class")
            elif cls.__name__ in loaded.classes[kind]:
                loaded.problems.append(f"{KINDS[kind][0]}() returned two classes named {cls.__name__}")
            else:
                loaded.classes[kind][cls.__name__] = cls

    def _shared(self, plugin: Plugin, kind: str) -> Iterator[str]:
        for name in self.classes(plugin, kind):
            owners = [p.distribution for p in self.plugins if p is not plugin and name in self.classes(p, kind)]
            if owners and plugin.distribution != BUILT_IN:
                owner = "cnnkit itself" if BUILT_IN in owners else " and ".join(owners)
                yield f"{owner} has {_a(kind)} {name} too: write {plugin.distribution}:{name} for this one"

    def _argument(self, kind: str, value: Any) -> Any:
        match value:
            case Call():
                return self.build(kind, value)
            case list():
                return [self._argument(kind, item) for item in value]
            case tuple():
                return tuple(self._argument(kind, item) for item in value)
            case dict():
                return {key: self._argument(kind, item) for key, item in value.items()}
        return value

    def _unknown(self, kind: str, name: str, searched: list[Plugin]) -> ComponentError:
        names = sorted({n for p in searched for n in self.classes(p, kind)})
        lines = [f"there is no {kind} named {name!r}"]
        folded = {n.lower(): n for n in names}
        if close := difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.6):
            lines.append(f"did you mean {' or '.join(folded[n] for n in close)}?")
        if name in KNOWN_ELSEWHERE:
            plugin = KNOWN_ELSEWHERE[name]
            lines.append(f"{name} comes with {plugin}; from cnnkit's source, run: pip install ./plugins/{plugin}")
        lines += [
            f"{p.distribution} {p.version} is broken and may bring it: {problem}"
            for p in searched
            for problem in self.load(p).problems
        ]
        if len(lines) == 1:
            lines.append(f"the {kind} names are {', '.join(names) or 'none'}")
        return ComponentError("\n  ".join(lines))


def _is_from(plugin: Plugin, distribution: str) -> bool:
    return not distribution or normalized(plugin.distribution) == normalized(distribution)


def _construct(cls: type[C], args: list[Any], kwargs: dict[str, Any]) -> C:
    def written() -> str:
        return format_call(cls.__name__, tuple(args), kwargs)

    accepted = contracts.signature(cls)
    try:
        accepted.bind(*args, **kwargs)
    except TypeError as error:
        raise ConfigError(f"{written()}: {error}; expected {cls.__name__}{_shown(accepted)}") from None
    try:
        return cls(*args, **kwargs)
    except CnnkitError as error:
        error.args = (f"{written()}: {error}",)
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{written()}: {error}; expected {cls.__name__}{_shown(accepted)}") from error
    except Exception as error:  # whatever a foreign __init__ raises, the arguments did not suit it
        raise ConfigError(f"{written()}: {_told(error)}; expected {cls.__name__}{_shown(accepted)}") from error


def _answer(plugin: Plugin, call: Callable[[], T]) -> T:
    """What a plugin's own code returns or raises; TimeoutError if it does neither within PATIENCE.

    It runs in a thread, which is left behind if it waits for ever: nothing can end foreign code from outside.
    """
    returned: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            returned.append(call())
        except BaseException as error:  # also SystemExit, which a thread would keep to itself
            raised.append(error)

    with contextlib.redirect_stdout(sys.stderr):  # stdout is for answers
        if plugin.distribution == BUILT_IN or _is_being_imported(plugin):
            return call()
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(PATIENCE)
    if raised:
        raise raised[0]
    if not returned:
        raise TimeoutError(f"no answer within {PATIENCE:g} seconds")
    return returned[0]


def _is_being_imported(plugin: Plugin) -> bool:
    """Whether this thread may hold the import lock of a plugin's package, for which another would wait for ever."""
    package = sys.modules.get(plugin.value.partition(":")[0].partition(".")[0])
    return bool(getattr(getattr(package, "__spec__", None), "_initializing", False))


def _told(error: BaseException) -> str:
    """Type and text of an error, also of one that cannot say what it is."""
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be read)"
    return f"{type(error).__name__}: {text}"


def _named(value: object) -> str:
    try:
        return repr(value)
    except Exception:
        return f"something of type {type(value).__name__}"


def _shown(signature: inspect.Signature) -> str:
    plain = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=plain))


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
