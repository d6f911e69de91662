"""From a model to its manifest and back, with the provenance of every component."""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from cnnkit import caller_warnings
from cnnkit.components import (
    Catalog,
    Component,
    Initializer,
    Layer,
    Merge,
    Plugin,
    hookimpl,
    installed_catalog,
    installed_plugins,
)
from cnnkit.components.distribution_names import normalized
from cnnkit.components.expressions import Call, parse
from cnnkit.components.plugin_metadata import BUILT_IN, of_distribution
from cnnkit.errors import CnnkitError, PluginVersionWarning, RegistryError
from cnnkit.network import CLASSES, Graph, Network, Sequential
from cnnkit.network.graph.node import owners
from cnnkit.registry.environment import environment, versions
from cnnkit.registry.format.manifest import Manifest, NodeEntry, Origin
from cnnkit.training_options import OPTIONS
from cnnkit.types import Array, Task

GIVEN = "(given)"
"""Stands for a distribution in `rebuild`: the classes that the caller provides."""

RECIPE_KINDS = {
    "data": {"dataset": "dataset"},
    "train": {name: option.kind for name, option in OPTIONS.items() if option.kind},
}
"""The keys of a recipe that hold expressions, beside the layers, with the kind of component."""

MAX_COMPONENTS = 10_000
"""Layers, merges and empty branches of a model together; a few bytes of a file ask for each of them."""


def describe(model: Network, name: str, state: tuple[str, ...], **training: Any) -> Manifest:
    """The manifest of a model that is being registered.

    Raises RegistryError if two of its classes share a name, and what `repr` or `parse` raise for a layer that cannot
    be written as an expression.
    """
    layers = tuple(repr(layer) for layer in model.layers)
    named = {call.name for call in calls(_parsed(layers))}
    components = _origins(model.layers, named) | recipe_origins(training["recipe"], training["dataset"])
    plugins = {origin.distribution: origin.version for origin in components.values() if origin.distribution}
    return Manifest(
        name=name,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        layers=layers,
        nodes=_entries(model),
        components=components,
        input_shape=model.input_shape,
        input_dtype=model.input_dtype,
        labels=model.labels,
        preprocessing=model.preprocessing,
        seed=model.seed,
        dtype=model.dtype,
        task=model.task,
        state=state,
        input_range=model.input_range,
        framing=model.framing,
        versions=versions() | plugins,
        environment=environment(),
        **training,
    )


def rebuild(
    manifest: Manifest, state: Mapping[str, Array], ref: str, components: Sequence[type[Component]] = ()
) -> Network:
    """Make the model again that a manifest describes, with the parameters and buffers of `state`.

    components: classes to use instead of plugins. Warns with PluginVersionWarning of plugins in another version
    than the manifest's. Raises RegistryError naming what to install, or what does not fit.
    """
    for cls in components:
        if not (isinstance(cls, type) and issubclass(cls, Layer | Merge | Initializer)):
            raise RegistryError(f"components must be classes of layers, merges or initializers, got {cls!r}")
    given = {cls.__name__ for cls in components}
    catalog = _catalog(components) if given else installed_catalog()
    try:
        asked = layer_calls(manifest.layers, manifest, given)
        layers = [cast(Layer | Merge, catalog.build("layer", call)) for call in asked]
        options: dict[str, Any] = {
            "labels": manifest.labels,
            "preprocessing": manifest.preprocessing,
            "input_dtype": manifest.input_dtype,
            "input_range": manifest.input_range,
            "framing": manifest.framing,
            "task": manifest.task or _recorded_task(manifest),
            "seed": manifest.seed,
            "dtype": manifest.dtype,
            "limit": sum(array.size for array in state.values()),
        }
        model: Network = (
            Graph(_graph(manifest, layers), manifest.input_shape, **options)
            if manifest.nodes
            else Sequential(layers, manifest.input_shape, **options)
        )
        model.load_state(state)
        _check_parameters(model, state)
    except (CnnkitError, ArithmeticError, MemoryError, TypeError, ValueError) as error:  # a file may ask for anything
        raise RegistryError(f"{ref} cannot be loaded: {error}") from error
    for text in other_versions("layer", calls(asked), manifest):
        caller_warnings.warn(f"{ref} {text}", PluginVersionWarning)
    return model


def _entries(model: Network) -> tuple[NodeEntry, ...]:
    if not isinstance(model, Graph):
        return ()
    return tuple(NodeEntry(node.name, node.inputs, node.shares) for node in model.graph)


def _graph(manifest: Manifest, layers: Sequence[Layer | Merge]) -> dict[str, Any]:
    """The nodes of a graph. Raises RegistryError for a name that two have, and for a layer that cannot be shared."""
    nodes: dict[str, Any] = {}
    texts: dict[str, str] = {}
    for entry, layer, text in zip(manifest.nodes, layers, manifest.layers, strict=True):
        if entry.name in nodes:
            raise RegistryError(f"its graph has two nodes called {entry.name!r:.100}")
        if entry.shares and texts.get(entry.shares) != text:
            raise RegistryError(
                f"the node {entry.name!r:.100} of its graph shares the layer of {entry.shares!r:.100}: expected a node "
                "before it with the same layer"
            )
        nodes[entry.name] = (nodes[entry.shares][0] if entry.shares else layer, list(entry.inputs))
        texts[entry.name] = text
    return nodes


def _check_parameters(model: Network, state: Mapping[str, Array]) -> None:
    """Refuse parameters of another type than the model computes in: whole numbers, say, that fit into its place."""
    for node in owners(model.nodes):
        for name in node.layer.params:
            if (found := state[f"{node.name}.{name}"].dtype.name) != model.parameters.vector.dtype.name:
                raise RegistryError(
                    f"its parameter {node.name}.{name} must be of {model.parameters.vector.dtype}, it is of {found}"
                )


def plugin_versions() -> dict[str, str]:
    """The versions of the distributions whose plugins are installed, by all names that they have or had, normalized."""
    plugins = installed_catalog().plugins  # which imports nothing
    formerly = {name: plugin.version for plugin in plugins for name in plugin.former}
    return formerly | {normalized(plugin.distribution): plugin.version for plugin in plugins}


def present_name(distribution: str) -> str:
    """What a distribution is called here that may have been renamed since a model was saved, normalized."""
    here = of_distribution(installed_catalog().plugins, distribution)
    return normalized(here[0].distribution if here else distribution)


def shown_version(version: str) -> str:
    """A version in a message; what a file says of it may be any text."""
    if not version:
        return "an unknown version"
    return version if re.fullmatch(r"[A-Za-z0-9.+!_-]{1,50}", version) else repr(version[:50])


def other_versions(kind: str, asked: Iterable[Call], manifest: Manifest) -> Iterator[str]:
    """A sentence for each plugin of these components whose installed version is not that of when the model was saved.

    asked: calls of a kind, each with all that are among its arguments; those of layers are tied to their distributions.
    """
    here = plugin_versions()
    here.pop(BUILT_IN, None)
    differing: dict[tuple[str, str], dict[str, None]] = {}
    for call in asked:
        origin = manifest.components.get(call.name if kind == "layer" else recipe_key(kind, call.name), Origin())
        name = normalized(call.distribution or origin.distribution)
        if name in here and origin.distribution and origin.version != here[name]:
            differing.setdefault((name, origin.version), {})[call.name] = None
    changed = "its answers differ" if kind == "layer" else "what is measured differs"
    for (name, version), names in differing.items():
        yield (
            f"was saved with {name} {shown_version(version)}, and {name} {here[name]} is installed: {changed} "
            f"if {' or '.join(names)} has changed"
        )


def _recorded_task(manifest: Manifest) -> Task:
    """What a version is for that does not say so: classes, unless it was trained towards values.

    Of the loss MSE, labels, an accuracy or a Softmax at the end speak for classes.
    """
    with contextlib.suppress(CnnkitError):
        if parse((manifest.recipe or {}).get("train", {}).get("loss", "")).name == "MSE":
            last = parse(manifest.layers[-1]).name
            classes = manifest.labels or last == "Softmax" or "accuracy" in manifest.metrics | manifest.history
            return Task("classes" if classes else "values")
    return CLASSES


def _parsed(layers: Sequence[str]) -> list[Call]:
    """The layers as calls. Raises RegistryError for more components than a model may have."""
    parsed: list[Call] = []
    count = 0
    for expression in layers:
        parsed.append(parse(expression))
        count += _component_count(parsed[-1])
        if count > MAX_COMPONENTS:
            raise RegistryError(
                f"a model may have at most {MAX_COMPONENTS:,} layers, merges and empty branches, this one has more"
            )
    return parsed


def _component_count(value: Any) -> int:
    """How many layers and merges a value has, and branches without any: a merge takes each of them once more."""
    match value:
        case Call():
            return 1 + sum(map(_component_count, (*value.args, *value.kwargs.values())))
        case list() | tuple():
            return sum(map(_component_count, value)) if value else 1
        case dict():
            return sum(map(_component_count, value.values()))
    return 0


def _origins(layers: Sequence[Layer | Merge], named: Container[str]) -> dict[str, Origin]:
    """Where each class in a model comes from, by its name; named: those in expressions, which leave out defaults."""
    classes: dict[str, type[Component]] = {}
    for cls in _classes(layers):
        if cls.__name__ in named and classes.setdefault(cls.__name__, cls) is not cls:
            raise RegistryError(
                f"two classes of this model are named {cls.__name__}, from {cls.__module__} and "
                f"{classes[cls.__name__].__module__}; rename one of them"
            )
    return {name: _origin(cls) for name, cls in sorted(classes.items())}


def _classes(value: Any) -> Iterator[type[Component]]:
    """The classes of all components in a value: layers, those in their branches, those among their arguments."""
    waiting, seen = [value], set[int]()  # a merge has each layer twice, as an argument and in a branch
    while waiting:
        match waiting.pop():
            case Component() as component if id(component) not in seen:
                seen.add(id(component))
                yield type(component)
                waiting += vars(component).values()
            case list() | tuple() as items:
                waiting += items
            case dict() as table:
                waiting += table.values()


def _origin(cls: type[Component]) -> Origin:
    """The plugin that provides a class; only plugins from the same package are imported for the answer."""
    catalog = installed_catalog()
    package = cls.__module__.partition(".")[0]
    for plugin in catalog.plugins:
        if plugin.value.partition(":")[0].partition(".")[0] == package:
            catalog.load(plugin)
    found = catalog.origin(cls)
    return Origin(found.distribution, found.version) if found else Origin()


def recipe_key(kind: str, name: str) -> str:
    """Under which key of `components` a manifest has what is not a layer; each kind has its own names."""
    return f"{kind} {name}"


def recipe_origins(recipe: Mapping[str, Any] | None, dataset: Mapping[str, str] | None) -> dict[str, Origin]:
    """The plugins that provide the dataset and the components of a recipe beside layers, as far as they are known.

    Only plugins that are loaded are asked: the training has loaded those that it needed.
    """
    found = {}
    for kind, expression in _named(recipe, dataset):
        with contextlib.suppress(CnnkitError):  # the text of a component of the user's own may be anything
            for call in calls(parse(expression)):
                if plugin := installed_catalog().bringing(kind, call.name, call.distribution):
                    found[recipe_key(kind, call.name)] = Origin(plugin.distribution, plugin.version)
    return dict(sorted(found.items()))


def _named(recipe: Mapping[str, Any] | None, dataset: Mapping[str, str] | None) -> Iterator[tuple[str, Any]]:
    """Kind and expression of the dataset, and of each component in the recipe."""
    if dataset:
        yield "dataset", dataset.get("name")
    for section, kinds in RECIPE_KINDS.items():
        table = (recipe or {}).get(section)
        for key, value in table.items() if isinstance(table, Mapping) else ():
            if key in kinds:
                yield from ((kinds[key], one) for one in (value if isinstance(value, list | tuple) else [value]))


def layer_calls(layers: Sequence[str], manifest: Manifest, given: Container[str] = ()) -> list[Call]:
    """Expressions of layers as calls, each name tied to the distribution that provided it when the model was saved.

    given: names of classes that the caller provides. Raises RegistryError for a name whose distribution is not
    installed, saying what to install, and for one that came from no plugin.
    """

    def distribution(call: Call) -> str:
        # Never "", which would search, and so import, all that is installed.
        return GIVEN if call.name in given else manifest.components.get(call.name, Origin()).distribution or BUILT_IN

    parsed = _parsed(layers)
    _check_installed(parsed, manifest, given)
    return [tied(call, distribution) for call in parsed]


def tied(call: Call, distribution: Callable[[Call], str]) -> Call:
    """The call with itself and each call among its arguments tied to its distribution."""

    def of(value: Any) -> Any:
        match value:
            case Call():
                return tied(value, distribution)
            case list() | tuple():
                return type(value)(map(of, value))
            case dict():
                return {key: of(item) for key, item in value.items()}
        return value

    arguments = {key: of(value) for key, value in call.kwargs.items()}
    return Call(call.name, tuple(map(of, call.args)), arguments, distribution(call))


def is_installed(distribution: str) -> bool:
    """Whether a plugin of this distribution is installed; imports nothing."""
    return normalized(distribution) in plugin_versions()


def _check_installed(parsed: list[Call], manifest: Manifest, given: Container[str]) -> None:
    here = plugin_versions()
    for call in calls(parsed):
        origin = manifest.components.get(call.name, Origin())
        if call.name in given or (origin.distribution and normalized(origin.distribution) in here):
            continue
        if origin.distribution:
            raise RegistryError(
                f"the file says that {call.name} comes from {origin.distribution} {shown_version(origin.version)}, "
                f"which is not installed: if you trust that distribution, run pip install {origin.distribution}"
            )
        raise RegistryError(
            f"it needs {call.name}, which did not come from a plugin; give its class: load(ref, "
            f"components=[{call.name}])"
        )


def calls(value: Any) -> Iterator[Call]:
    """All calls in a value: itself, and those among its arguments."""
    match value:
        case Call():
            yield value
            yield from calls([*value.args, *value.kwargs.values()])
        case list() | tuple():
            for item in value:
                yield from calls(item)
        case dict():
            yield from calls(list(value.values()))


def _catalog(components: Sequence[type[Component]]) -> Catalog:
    """The installed plugins, and one more that provides the given classes."""

    class Given:
        @hookimpl
        def cnnkit_layers(self) -> list[type[Component]]:
            return [cls for cls in components if issubclass(cls, Layer | Merge)]

        @hookimpl
        def cnnkit_initializers(self) -> list[type[Component]]:
            return [cls for cls in components if issubclass(cls, Initializer)]

    return Catalog([*installed_plugins(), Plugin(GIVEN, "", GIVEN, Given)])
