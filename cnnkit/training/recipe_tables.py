"""The tables of a recipe: what may stand in each, and what an error says was expected."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Self, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator
from pydantic_core import PydanticCustomError

from cnnkit import components
from cnnkit.components.contracts import Component
from cnnkit.components.expressions import parse
from cnnkit.errors import ConfigError, ExpressionError, RecipeError
from cnnkit.option_declaration import Option
from cnnkit.training_options import OPTIONS, TrainingOptions
from cnnkit.wording import shorten

MAX_SHOWN = 80
"""Characters of a value that a message shows."""
MAX_LAYERS = 10_000
"""As many as a model file may have."""


def _expression(value: Any) -> Any:
    return repr(value) if isinstance(value, Component) else value


def _readable(text: str) -> str:
    try:
        parse(text)
    except ExpressionError as error:
        raise ValueError(str(error)) from None
    return text


Expression = Annotated[str, BeforeValidator(_expression), AfterValidator(_readable)]
# A field's description is what an error says was expected. TOML has lists, a frozen section keeps tuples: not strict.
Expressions = Annotated[tuple[Expression, ...], Field(strict=False)]


class Section(BaseModel):
    """A table of a recipe: its keys are fixed, and so are its values."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class NodeTable(Section):
    """[[model.node]]: one node of a graph."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,63}$",
        description="a name such as \"stem\": a lower-case letter, then up to 63 more, digits or '_'",
    )
    layer: Expression | None = Field(None, description='a layer, such as "Conv2D(8, 3)"')
    inputs: tuple[str, ...] | None = Field(
        None,
        strict=False,
        min_length=1,
        description='a list of the nodes whose outputs it takes, such as ["stem"] or ["input"]; default: the node '
        "before it",
    )
    shares: str | None = Field(None, description="the name of an earlier node whose layer, with its weights, it shares")

    @model_validator(mode="after")
    def _one_layer(self) -> Self:
        if (self.layer is None) == (self.shares is None):
            raise ValueError(f"the node {self.name} needs either a layer or the node whose layer it shares")
        return self


class ModelSection(Section):
    """[model]: the network, without what the data decide (input shape and labels)."""

    name: str = Field(
        max_length=64,
        pattern=r"^[a-z0-9](\.?[a-z0-9_-])*\.?$",
        description="1 to 64 lower-case letters, digits, '.', '_' and '-', beginning with a letter or digit and "
        "without '..'",
    )
    layers: Expressions | None = Field(
        None,
        min_length=1,
        max_length=MAX_LAYERS,
        description=f'a list of 1 to {MAX_LAYERS:,} layers, such as ["Flatten()", "Dense(10)"]',
    )
    architecture: Expression | None = Field(
        None, description='a known network, such as "ResNet(20)"; reading a recipe puts its layers in its place'
    )
    node: tuple[NodeTable, ...] | None = Field(
        None, strict=False, min_length=1, max_length=MAX_LAYERS, description="tables [[model.node]], one for each node"
    )

    start: str | None = Field(
        None,
        pattern=r"^sha256:[0-9a-f]{64}$",
        description="the digest of the weights that the training starts from, as `cnnkit train --from` writes it",
    )

    @model_validator(mode="after")
    def _one_network(self) -> Self:
        if self.architecture is not None and (self.layers is not None or self.node is not None):
            raise ValueError("architecture and layers both define the network: remove one of them")
        if self.layers is None and self.node is None:
            raise ValueError(f"layers: expected {type(self).model_fields['layers'].description}, found none")
        if self.layers is not None and self.node is not None:
            raise ValueError("layers and tables [[model.node]] both define the network: remove one of them")
        return self

    @property
    def expressions(self) -> tuple[str, ...]:
        """Those of all layers, or of the nodes that have their own layer, in order."""
        return self.layers or tuple(node.layer for node in self.node or () if node.layer is not None)

    def graph(self, layers: Sequence[Any]) -> dict[str, Any] | None:
        """The nodes as `Graph` takes them, with what is given in the place of their expressions; None for a chain.

        Raises RecipeError for two nodes of a name, and for one that shares the layer of none before it.
        """
        if self.node is None:
            return None
        left, own, nodes = iter(layers), dict[str, Any](), dict[str, Any]()
        for node in self.node:
            if node.name in own or (node.shares is not None and node.shares not in own):
                wrong = "two nodes are named" if node.name in own else f"no node {node.shares!r} is before"
                raise RecipeError(f"the recipe {self.name!r} cannot be used: {wrong} {node.name!r}")
            own[node.name] = layer = next(left) if node.shares is None else own[node.shares]
            nodes[node.name] = layer if node.inputs is None else (layer, node.inputs)
        return nodes


class DataSection(Section):
    """[data]: what to train on."""

    dataset: Expression = Field(description='a dataset, such as "MNIST()"')
    fraction: float = Field(
        1.0, gt=0.0, le=1.0, description="the share of the training samples to use, above 0.0 and up to 1.0"
    )
    validation: float = Field(
        0.0, ge=0.0, le=0.5, description="the share of the training samples to validate on, from 0.0 to 0.5"
    )


def _section_of_options() -> type[Section]:
    """The table [train], whose keys are the training options."""
    types = get_type_hints(TrainingOptions, localns=vars(components))
    return create_model(
        "TrainSection",
        __base__=Section,
        __doc__="[train]: how to train.",
        **{name: _written(option, get_args(types[name])[0]) for name, option in OPTIONS.items()},
    )


def _written(option: Option[Any, Any], given: Any) -> Any:
    """The type that a recipe gives an option, and the rest that pydantic asks of a field.

    given: what Python may give for it.
    """
    if option.kind:  # what an expression stands for is built later
        kept: Any = Expressions if isinstance(option.default, tuple) else Expression
        kept = kept if option.default is not None else kept | None
    else:
        kept = given
        if Sequence in (get_origin(given), *map(get_origin, get_args(given))):  # TOML has lists of texts alone
            kept = Annotated[tuple[str, ...], Field(strict=False)]
            kept = kept if option.default is not None else kept | None
        kept = Annotated[kept, AfterValidator(functools.partial(_fitting, option))]
    return kept, Field(... if option.required else option.default, description=option.expected)


def _fitting(option: Option[Any, Any], value: Any) -> Any:
    try:
        option.check(option.name, value)
    except ConfigError:
        raise PydanticCustomError("unfit", "what was expected is in the field's description") from None
    return value


if TYPE_CHECKING:

    class TrainSection(Section):
        """[train]: how to train."""

        def __getattr__(self, name: str) -> Any: ...

else:
    TrainSection = _section_of_options()


MAX_SEEDS = 1000


def read_seeds(given: Any) -> tuple[int, ...]:
    """The seeds 0, 1, ... if their number is given, else those that are listed. Raises ValueError for anything else."""
    seeds = range(min(given, MAX_SEEDS + 1)) if type(given) is int else given
    if isinstance(seeds, range | list | tuple) and 0 < len(seeds) <= MAX_SEEDS:
        seeds = tuple(seeds)
        if all(type(seed) is int and 0 <= seed < 2**63 for seed in seeds) and len(set(seeds)) == len(seeds):
            return seeds
    raise ValueError(
        f"expected a number of seeds, 1 to {MAX_SEEDS:,}, or a list of different whole numbers from 0 to 2^63 - 1, "
        f"found {shorten(repr(given), MAX_SHOWN)}"
    )


class CompareSection(Section):
    """[compare]: what `cnnkit compare` makes of the recipe; a training does not look at it."""

    codes: tuple[str, ...] = Field(
        default=(), strict=False, description='a list of short codes of networks, such as ["c16pc16", "c8p"]'
    )
    grid: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description='a list of keys with their values, such as ["train.epochs=3,6"]',
    )
    seeds: Annotated[tuple[int, ...], BeforeValidator(read_seeds)] = (0, 1, 2)
