"""The manifest: everything about a version but its arrays, as one JSON object with exactly these keys."""

from __future__ import annotations

import dataclasses
import datetime
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from cnnkit.components.checks import MAX_FLOAT32
from cnnkit.errors import RegistryError
from cnnkit.input_units import Range
from cnnkit.network.graph.building import outline
from cnnkit.registry.format import text
from cnnkit.registry.references import is_name
from cnnkit.types import FITTED, Framing, Gives, Preprocessing, Resize, Shape, Task

FORMAT = "cnnkit model"
VERSION, GRAPH_VERSION = 1, 2
"""Of the format: the second one has what only a graph needs, its nodes; everything else is written as the first."""


@dataclass(frozen=True)
class Origin:
    """The distribution that provides a component, and its version; both "" if it came from no plugin."""

    distribution: str = ""
    version: str = ""


@dataclass(frozen=True)
class NodeEntry:
    """What the node of a graph has beside its layer."""

    name: str
    inputs: tuple[str, ...]
    """Names of the nodes whose outputs it takes; "input" is the network's input."""
    shares: str = ""
    """The node before it whose layer, with its parameters, it has; "" if the layer is its own."""


@dataclass(frozen=True)
class Manifest:
    """What a version says about itself."""

    name: str
    created: str
    """UTC, ISO 8601, such as 2026-03-01T12:00:00+00:00."""
    layers: tuple[str, ...]
    """Expressions, in order."""
    components: dict[str, Origin]
    """Where each name in the layers comes from, and, as far as it is known, each `KIND NAME` of the recipe."""
    input_shape: Shape
    input_dtype: str
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    seed: int
    dtype: str
    state: tuple[str, ...]
    """Names of the arrays in their canonical order."""
    versions: dict[str, str]
    """Of Python and of every distribution that took part."""
    environment: dict[str, str]
    """Where the training took place, such as the processor, and the `revision` of the git checkout."""
    recipe: dict[str, Any] | None = None
    history: dict[str, Any] = dataclasses.field(default_factory=dict)
    metrics: dict[str, Any] = dataclasses.field(default_factory=dict)
    dataset: dict[str, str] | None = None
    """`name`: the expression that loads it; `digest`: the sha256 of its content."""
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What the training ran with, such as workers and tile."""
    task: Task | None = None
    """What the model is for; None if that is not known."""
    input_range: Range | None = None
    """The lowest and the highest value of the training inputs."""
    framing: Framing = FITTED
    """How images were brought to their size."""
    nodes: tuple[NodeEntry, ...] = ()
    """Of a graph, for each of the layers; none if they come one after another."""

    @property
    def format_version(self) -> int:
        """The first format that can hold it."""
        return GRAPH_VERSION if self.nodes else VERSION

    @property
    def outline(self) -> list[str]:
        """A line for each layer: its expression, of a graph with its name and what it takes."""
        if not self.nodes:
            return list(self.layers)
        return [
            outline(node.name, layer, node.inputs, node.shares)
            for layer, node in zip(self.layers, self.nodes, strict=True)
        ]

    def encode(self) -> bytes:
        """The JSON text of the manifest. Raises RegistryError for values that the format cannot hold."""
        content = {"format": FORMAT, "format_version": self.format_version} | dataclasses.asdict(self)
        default = {"framing": dataclasses.asdict(FITTED)}
        content = {
            key: value
            for key, value in content.items()
            if key not in _OPTIONAL or value not in (None, (), default.get(key))
        }
        data = text.encode(content, "manifest")
        decode(data)
        return data


def decode(data: bytes) -> Manifest:
    """Read a manifest. Raises RegistryError for keys that are missing or unknown, and for values of another kind."""
    content = text.decode(data)
    if not isinstance(content, dict):
        raise RegistryError(f"its manifest must be a JSON object, got {type(content).__name__}")
    if wrong := sorted((content.keys() ^ _KEYS.keys()) - _OPTIONAL.keys()):
        raise RegistryError(f"its manifest has missing or unexpected keys: {', '.join(map(repr, wrong))}")
    for key, (holds, expected) in (_KEYS | _OPTIONAL).items():
        if key in content and not holds(content[key]):
            shown = repr(content[key])
            raise RegistryError(f"its manifest has {key} = {shown[:100]}; expected {expected}")
    nodes = tuple(NodeEntry(node["name"], tuple(node["inputs"]), node["shares"]) for node in content.get("nodes", ()))
    if bool(nodes) != (content["format_version"] == GRAPH_VERSION):
        raise RegistryError(f"its manifest must have nodes in format {GRAPH_VERSION}, and only there")
    if nodes and len(nodes) != len(content["layers"]):
        raise RegistryError(f"its manifest has {len(content['layers'])} layers and {len(nodes)} nodes, one for each")
    del content["format"], content["format_version"]
    preprocessing = content["preprocessing"]
    tuples = {key: tuple(content[key]) for key in ("layers", "input_shape", "labels", "state")}
    if "input_range" in content:
        tuples["input_range"] = tuple(map(float, content["input_range"]))
    return Manifest(
        **content
        | tuples
        | {
            "components": {name: Origin(**origin) for name, origin in content["components"].items()},
            "preprocessing": Preprocessing(
                preprocessing["scale"], tuple(preprocessing["mean"]), tuple(preprocessing["std"])
            ),
            "task": Task(**content["task"]) if "task" in content else None,
            "framing": Framing(**content.get("framing", {})),
            "nodes": nodes,
        }
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53


def _is_value(value: object) -> bool:
    """What a history or a metric may hold: any number that a float holds, also NaN."""
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53)


def _is_environment(value: object) -> bool:
    return isinstance(value, dict) and all(
        re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) and _is_text(text) and len(text) <= 1000
        for name, text in value.items()
    )


def _list_of(holds: Callable[[Any], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(holds, value))


def _object_of(holds: Callable[[Any], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(map(holds, value.values()))


def _fields(**kinds: Callable[[Any], bool]) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, Mapping)
        and value.keys() == kinds.keys()
        and all(holds(value[key]) for key, holds in kinds.items())
    )


def _or_null(holds: Callable[[Any], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or holds(value)


def _is_preprocessing(value: Any) -> bool:
    return (
        _fields(scale=_is_number, mean=_list_of(_is_number), std=_list_of(_is_number))(value)
        and 0 < len(value["mean"]) == len(value["std"])
        and min(value["std"]) > 0
    )


def is_distribution(value: object) -> bool:
    """Whether a message may tell the user to install this: a plain name, or "" for none."""
    return isinstance(value, str) and re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]{0,99})?", value) is not None


def _is_range(value: Any) -> bool:
    return _list_of(_is_number)(value) and len(value) == 2 and -MAX_FLOAT32 <= value[0] <= value[1] <= MAX_FLOAT32


def is_time(value: object) -> bool:
    """Whether it is a time as a manifest has them: UTC, ISO 8601 to the second."""
    if not (isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", value, re.ASCII)):
        return False
    try:
        datetime.datetime.fromisoformat(value)
    except ValueError:  # such as a month 13
        return False
    return True


_KEYS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "format": (lambda value: value == FORMAT, repr(FORMAT)),
    "format_version": (
        lambda value: _is_count(value) and value in (VERSION, GRAPH_VERSION),
        f"{VERSION} or {GRAPH_VERSION}",
    ),
    "name": (lambda value: _is_text(value) and is_name(value), "the name of a model"),
    "created": (is_time, "a time in UTC such as '2026-03-01T12:00:00+00:00'"),
    "layers": (lambda value: _list_of(_is_text)(value) and bool(value), "a list of expressions"),
    "components": (
        _object_of(_fields(distribution=is_distribution, version=_is_text)),
        "distribution and version of each",
    ),
    "input_shape": (lambda value: _list_of(_is_count)(value) and 0 < len(value) <= 4, "1 to 4 whole numbers"),
    "input_dtype": (lambda value: value in ("uint8", "float32"), "'uint8' or 'float32'"),
    "labels": (_list_of(_is_text), "a list of texts"),
    "preprocessing": (_is_preprocessing, "scale, and as many std above 0 as mean values"),
    "seed": (_is_count, "a whole number, 0 or above"),
    "dtype": (lambda value: value in ("float32", "float64"), "'float32' or 'float64'"),
    "state": (lambda value: _list_of(_is_text)(value) and len(set(value)) == len(value), "a list of different names"),
    "versions": (_object_of(_is_text), "versions as texts by name"),
    "environment": (_is_environment, "texts of at most 1,000 characters by plain names"),
    "recipe": (_or_null(_object_of(_is_object)), "sections as objects by name, or null"),
    "history": (_object_of(_list_of(_is_value)), "lists of numbers by name"),
    "metrics": (_object_of(_is_value), "numbers by name"),
    "dataset": (_or_null(_fields(name=_is_text, digest=_is_text)), "name and digest as texts, or null"),
    "settings": (_is_object, "an object"),
}

_OPTIONAL: dict[str, tuple[Callable[[Any], bool], str]] = {
    "task": (
        _fields(gives=lambda value: value in get_args(Gives), from_logits=lambda value: isinstance(value, bool)),
        f"gives, one of {', '.join(get_args(Gives))}, and from_logits",
    ),
    "input_range": (_is_range, "the lowest and the highest value of the training inputs"),
    "framing": (
        _fields(
            resize=lambda value: value in get_args(Resize),
            content=_is_count,
            centre=lambda value: value in ("box", "mass"),
        ),
        f"resize, one of {', '.join(get_args(Resize))}, content, 0 or above, and centre, box or mass",
    ),
    "nodes": (
        _list_of(_fields(name=_is_text, inputs=_list_of(_is_text), shares=_is_text)),
        "name, inputs and shares of the node of each layer",
    ),
}
"""Keys that are absent where nothing is known."""
