"""Recipes: everything that one training needs, as TOML that is checked when it is read."""

from __future__ import annotations

import difflib
import functools
import importlib.resources
import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model
from pydantic_core import PydanticCustomError

from cnnkit import components
from cnnkit.components.contracts import Component
from cnnkit.components.expressions import parse
from cnnkit.errors import ConfigError, ExpressionError, RecipeError
from cnnkit.home import expanded
from cnnkit.option import Option
from cnnkit.reading import read_plain
from cnnkit.training.toml import read_toml
from cnnkit.training_options import OPTIONS, TrainingOptions

Overrides = Mapping[str, Any] | Sequence[str]
"""Values by dotted key, `{"train.epochs": 3}`, or as text, `["train.epochs=3"]`; a key without a dot is of [train]."""

SUFFIX = ".toml"
MAX_BYTES = 2**20
"""Of a recipe."""
MAX_LAYERS = 10_000
"""As many as a model file may have."""
MANY = 20
"""Problems of a recipe that are told."""


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


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class ModelSection(_Section):
    """[model]: the network, without what the data decide (input shape and labels)."""

    name: str = Field(
        max_length=64,
        pattern=r"^[a-z0-9](\.?[a-z0-9_-])*\.?$",
        description="1 to 64 lower-case letters, digits, '.', '_' and '-', beginning with a letter or digit and "
        "without '..'",
    )
    layers: Expressions = Field(
        min_length=1,
        max_length=MAX_LAYERS,
        description=f'a list of 1 to {MAX_LAYERS:,} layers, such as ["Flatten()", "Dense(10)"]',
    )


class DataSection(_Section):
    """[data]: what to train on."""

    dataset: Expression = Field(description='a dataset, such as "MNIST()"')
    fraction: float = Field(
        1.0, gt=0.0, le=1.0, description="the share of the training samples to use, above 0.0 and up to 1.0"
    )
    validation: float = Field(
        0.0, ge=0.0, le=0.5, description="the share of the training samples to validate on, from 0.0 to 0.5"
    )


def _section_of_options() -> type[_Section]:
    """The table [train], whose keys are the training options."""
    types = get_type_hints(TrainingOptions, localns=vars(components))
    return create_model(
        "TrainSection",
        __base__=_Section,
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
        kept = Annotated[tuple[str, ...], Field(strict=False)] if get_origin(given) is Sequence else given
        kept = Annotated[kept, AfterValidator(functools.partial(_fitting, option))]
    return kept, Field(... if option.required else option.default, description=option.expected)


def _fitting(option: Option[Any, Any], value: Any) -> Any:
    try:
        option.check(option.name, value)
    except ConfigError:
        raise PydanticCustomError("unfit", "what was expected is in the field's description") from None
    return value


if TYPE_CHECKING:

    class TrainSection(_Section):
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
        f"expected how many seeds, 1 to {MAX_SEEDS:,}, or a list of different whole numbers from 0 to 2^63 - 1, "
        f"found {_shorten(given)}"
    )


class CompareSection(_Section):
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


class Recipe(_Section):
    """Everything that one training needs; run-time settings, such as the number of workers, are no part of it."""

    model: ModelSection
    data: DataSection
    train: TrainSection
    compare: CompareSection | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], origin: str) -> Recipe:
        """Check the sections of a recipe. Raises RecipeError, naming `origin`, with everything that is wrong."""
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            problems = [_problem(one["type"], one["loc"], one["input"], one["msg"]) for one in error.errors()[:MANY]]
            if (more := error.error_count() - MANY) > 0:
                problems.append(f"and {more:,} more")
            raise RecipeError("\n  ".join([f"the recipe in {origin} cannot be used:", *problems])) from None

    @classmethod
    def from_toml(cls, text: str, origin: str) -> Recipe:
        """Read a recipe from TOML. Raises RecipeError, naming `origin`, with line and column of a syntax error."""
        try:
            data = read_toml(text)
        except ValueError as error:
            raise RecipeError(f"the recipe in {origin} is not valid TOML: {error}") from None
        return cls.from_dict(data, origin)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """What a training needs, as plain values: defaults are written out, options that are None are left out."""
        return {title: values for title, values in self._sections().items() if title in TRAINED}

    def to_toml(self) -> str:
        """The recipe as TOML, which `from_toml` reads back to an equal recipe."""
        sections = []
        for title, values in self._sections().items():
            lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
            sections.append("\n".join([f"[{title}]", *lines, ""]))
        return "\n".join(sections)

    def override(self, overrides: Overrides) -> Recipe:
        """This recipe with some of its values replaced.

        A value of an override given as text is read as TOML, or kept as it is if it is none: `train.epochs=3` is a
        number, `train.optimizer=Adam(0.01)` a string. Raises RecipeError for unknown keys and wrong values.
        """
        if not isinstance(overrides, Mapping):
            overrides = dict(map(read_override, overrides))
        sections = self._sections()
        for key, value in overrides.items():
            section, dot, name = key.partition(".")
            sections.setdefault(section if dot else "train", {})[name if dot else key] = value
        return self.from_dict(sections, f"{self.model.name!r} with the overrides {', '.join(overrides)}")

    def with_learning_rate(self, lr: float) -> Recipe:
        """This recipe with another learning rate of its optimizer.

        Raises ConfigError if the optimizer takes none; a wrong one is refused where the optimizer is built.
        """
        optimizer = self.train.optimizer
        component: Any = components.installed_catalog().build("optimizer", optimizer)
        if "lr" not in inspect.signature(type(component)).parameters:
            raise ConfigError(f"{optimizer} takes no argument lr that could be changed: give another train.optimizer")
        component.lr = lr  # wrong values are found when it is built again
        distribution = parse(optimizer).distribution
        return self.override({"train.optimizer": f"{distribution}:{component!r}" if distribution else repr(component)})

    def _sections(self) -> dict[str, dict[str, Any]]:
        sections: dict[str, dict[str, Any]] = self.model_dump(mode="json", exclude_none=True)
        return sections


TRAINED: dict[str, type[BaseModel]] = {"model": ModelSection, "data": DataSection, "train": TrainSection}
"""What every recipe has."""
SECTIONS = TRAINED | {"compare": CompareSection}


def load_recipe(recipe: str | Path, overrides: Overrides = ()) -> Recipe:
    """The recipe in a .toml file, or the one of that name that ships with cnnkit, with some values overridden.

    Raises RecipeError for a file or name that does not exist, and for wrong keys and values in recipe or overrides.
    """
    if isinstance(recipe, str) and not recipe.endswith(SUFFIX):
        text, origin = _shipped(recipe), f"the shipped {recipe}{SUFFIX}"
    else:
        text, origin = _file(expanded(recipe)), str(recipe)
    return Recipe.from_toml(text, origin).override(overrides)


def recipe_names() -> list[str]:
    """Names of the recipes that ship with cnnkit."""
    files = _shipped_folder().iterdir()
    return sorted(file.name.removesuffix(SUFFIX) for file in files if file.name.endswith(SUFFIX))


def _shipped_folder() -> Traversable:
    return importlib.resources.files("cnnkit") / "recipes"


def _shipped(name: str) -> str:
    names = recipe_names()
    if name in names:
        return (_shipped_folder() / f"{name}{SUFFIX}").read_text("utf-8")
    close = difflib.get_close_matches(name, names)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    raise RecipeError(
        f"no recipe named {name!r} ships with cnnkit, only {', '.join(names)} do{hint} "
        f"(a recipe of your own is given by the path of its file, which ends in {SUFFIX})"
    )


def _file(path: Path) -> str:
    try:
        return read_plain(path, MAX_BYTES).decode()
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not a recipe: expected UTF-8 text, byte {error.start} is not") from None
    except OSError as error:
        hint = f"; {path.stem!r}, without {SUFFIX}, ships with cnnkit" if path.stem in recipe_names() else ""
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}{hint}") from None


def read_override(text: str) -> tuple[str, Any]:
    """Key and value of `key=value`; the value is read as TOML, or kept as text if it is none. Raises RecipeError."""
    key, equals, value = text.partition("=")
    if not equals:
        raise RecipeError(f'an override has the form key=value, such as "train.epochs=3", got {text!r}')
    try:
        read = read_toml(f"value = {value}")
    except ValueError:
        read = {}
    return key.strip(), read["value"] if len(read) == 1 else value.strip()


def _problem(kind: str, location: tuple[str | int, ...], value: Any, message: str) -> str:
    """One line for one of pydantic's errors: the key, what was expected, what was found."""
    title, *rest = map(str, location)
    section = SECTIONS.get(title)
    if section is None:
        return f"there is no table [{title}]{_nearest(title, SECTIONS)}"
    if not rest:
        found = "found none" if kind == "missing" else f"found {_shorten(value)}"
        return f"{title}: expected the table [{title}] with the keys {', '.join(section.model_fields)}, {found}"
    name, *index = rest
    key = f"{title}.{name}" + "".join(f"[{i}]" for i in index)
    if kind == "extra_forbidden":
        elsewhere = [other for other, fields in SECTIONS.items() if name in fields.model_fields]
        hint = f"; did you mean {elsewhere[0]}.{name}?" if elsewhere else _nearest(name, section.model_fields)
        return f"[{title}] has no key {name!r}{hint}"
    if kind == "value_error":
        return f"{key}: {message.removeprefix('Value error, ')}"
    expected = section.model_fields[name].description
    if index:
        expected = "text" if title == "compare" else "an expression as text"
    return f"{key}: expected {expected}, found {'none' if kind == 'missing' else _shorten(value)}"


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known := list(known), n=1)
    return f"; did you mean {close[0]}?" if close else f"; expected one of {', '.join(known)}"


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _toml(value: Any) -> str:
    """A string, number, bool or list of strings; JSON's notation is TOML's, but for the character DEL."""
    if isinstance(value, list) and value:
        return "[\n" + "".join(f"    {_toml(item)},\n" for item in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
