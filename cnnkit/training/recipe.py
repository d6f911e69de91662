"""Recipes: everything that one training needs, as TOML that is checked when it is read."""

from __future__ import annotations

import importlib.resources
import inspect
import itertools
from collections.abc import Collection, Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ValidationError,
)

from cnnkit import components
from cnnkit.arguments import ELSEWHERE
from cnnkit.components.expressions import parse
from cnnkit.errors import ConfigError, RecipeError
from cnnkit.file_kinds import EMPTY, TABLE, TEXT, foreign
from cnnkit.file_reading import read_plain
from cnnkit.training.recipe_tables import (
    MAX_SHOWN,
    CompareSection,
    DataSection,
    ModelSection,
    NodeTable,
    Section,
    TrainSection,
)
from cnnkit.training.toml import WIDTH, read_toml, written
from cnnkit.user_folders import expanded
from cnnkit.wording import did_you_mean, shorten

Overrides = Mapping[str, Any] | Sequence[str]
"""Values by dotted key, `{"train.epochs": 3}`, or as text, `["train.epochs=3"]`; a key without a dot is of [train]."""

SUFFIX = ".toml"
WRITTEN = (TABLE, TEXT, EMPTY)
"""What text in TOML may look like."""
MAX_RECIPE_BYTES = 2**20
"""Most bytes of a recipe; one with 10,000 layers has less."""
MANY = 20
"""Problems of a recipe that are reported."""


class Recipe(Section):
    """Everything that one training needs; run-time settings, such as the number of workers, are not part of it."""

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
            errors = error.errors()[:MANY]
            inner = {one["loc"][:cut] for one in errors for cut in range(2, len(one["loc"]))}
            told = (one for one in errors if one["loc"] not in inner)  # what is wrong inside of a value says it all
            problems = [_problem(one["type"], one["loc"], one["input"], one["msg"]) for one in told]
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
        return cls.from_dict(_with_layers(data), origin)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """What a training needs, as plain values: defaults are written out, options that are None are omitted."""
        return {title: values for title, values in self._sections().items() if title in TRAINED}

    def to_toml(self, width: int = WIDTH) -> str:
        """The recipe as TOML, which `from_toml` reads back to an equal recipe; width: of its lines, where they can."""
        sections = []
        for title, values in self._sections().items():
            tables = values.pop("node", ())
            lines = [f"{key} = {written(value, width, len(key) + 3)}" for key, value in values.items()]
            sections.append("\n".join([f"[{title}]", *lines, ""]))
            for table in tables:
                lines = [f"{key} = {written(value, width, len(key) + 3)}" for key, value in table.items()]
                sections.append("\n".join([f"[[{title}.node]]", *lines, ""]))
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
            if key == "model.architecture":
                sections["model"] |= dict.fromkeys(["layers", "node"])
        return self.from_dict(_with_layers(sections), f"{self.model.name!r} with the overrides {', '.join(overrides)}")

    def with_learning_rate(self, lr: float) -> Recipe:
        """This recipe with another learning rate of its optimizer.

        Raises ConfigError if the optimizer takes none; a wrong one is refused where the optimizer is built.
        """
        optimizer = self.train.optimizer
        component: Any = components.installed_catalog().build("optimizer", optimizer)
        if "lr" not in inspect.signature(type(component)).parameters:
            raise ConfigError(f"{optimizer} has no argument lr to change: choose another train.optimizer")
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


def recipe_descriptions() -> dict[str, str]:
    """What each recipe that ships trains, by its name: the comment at the beginning of its file."""
    return {name: _first_comment(_shipped_text(name)) for name in recipe_names()}


def _first_comment(text: str) -> str:
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    return " ".join(line.removeprefix("#").strip() for line in lines)


def _shipped_folder() -> Traversable:
    return importlib.resources.files("cnnkit") / "recipes"


def _shipped_text(name: str) -> str:
    return (_shipped_folder() / f"{name}{SUFFIX}").read_text("utf-8")


def _shipped(name: str) -> str:
    names = recipe_names()
    if name in names:
        return _shipped_text(name)
    from cnnkit.data.named import looks_like_path, why_no_data

    if looks_like_path(name):
        raise RecipeError(why_no_data(name))
    if "@" in name:
        raise RecipeError(
            f"{name} is a reference, not a recipe: `cnnkit reproduce {name}` trains this model again, and "
            f"`cnnkit models show {name} --recipe` prints its recipe"
        )
    hint = did_you_mean(name, names)
    raise RecipeError(
        f"no recipe named {name!r} ships with cnnkit, only {', '.join(names)} do{hint and f'; {hint}'} "
        f"(give a recipe of yours by the path of its file, which ends in {SUFFIX})"
    )


def _file(path: Path) -> str:
    try:
        content = read_plain(path, MAX_RECIPE_BYTES)
        if what := foreign(content, *WRITTEN):
            raise RecipeError(f"{path} is not a recipe: expected a text in TOML, {what}")
        return content.decode()
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


def _with_layers(sections: Mapping[str, Any]) -> Mapping[str, Any]:
    """A recipe's sections with the layers of its architecture in the place of that.

    What is kept of a training has the layers, whatever later versions make of the architecture. So this is done with
    recipes that somebody gives, and not with those in model files.
    """
    model = sections.get("model")
    if not isinstance(model, Mapping) or any(model.get(key) for key in ("layers", "node")):
        return sections
    if not isinstance(chosen := model.get("architecture"), str | components.Architecture):
        return sections
    architecture: Any = components.installed_catalog().build("architecture", chosen)
    layers = [repr(layer) for layer in architecture.layers()]
    return {**sections, "model": {**model, "layers": layers, "architecture": None}}


def _problem(kind: str, location: tuple[str | int, ...], value: Any, message: str) -> str:
    """One line for one of pydantic's errors: the key, what was expected, what was found."""
    title, *rest = map(str, location)
    section = SECTIONS.get(title)
    if section is None:
        return f"there is no table [{title}]{_nearest(title, SECTIONS)}"
    if kind == "value_error" and len(rest) != 1 and rest[:1] != ["node"] and not rest[1:]:
        return f"{title}.{message.removeprefix('Value error, ')}"
    if not rest:
        found = "found none" if kind == "missing" else f"found {shorten(repr(value), MAX_SHOWN)}"
        return f"{title}: expected the table [{title}] with the keys {', '.join(section.model_fields)}, {found}"
    name, *index = rest
    key = f"{title}.{name}" + "".join(f"[{i}]" if i.isdecimal() else f".{i}" for i in index)
    if kind == "extra_forbidden" and index:
        return f"[[{title}.{name}]] has no key {index[-1]!r}{_nearest(index[-1], NodeTable.model_fields)}"
    if kind == "extra_forbidden":
        elsewhere = [other for other, fields in SECTIONS.items() if name in fields.model_fields]
        hint = f"; did you mean {elsewhere[0]}.{name}?" if elsewhere else _nearest(name, section.model_fields)
        if title == "train" and (meant := ELSEWHERE.get(("Trainer", name))):
            hint = f": {meant}"
        return f"[{title}] has no key {name!r}{hint}"
    if kind == "value_error":
        return f"{key}: {message.removeprefix('Value error, ')}"
    expected = section.model_fields[name].description
    if index and name == "node":
        field = NodeTable.model_fields.get(index[1]) if len(index) == 2 else None
        expected = field.description if field else "a table" if len(index) == 1 else "text"
    elif index:
        expected = "text" if title == "compare" else "an expression as text"
    return f"{key}: expected {expected}, found {'none' if kind == 'missing' else shorten(repr(value), MAX_SHOWN)}"


def _nearest(name: str, known: Collection[str]) -> str:
    others = ", ".join(known)
    return f"; {did_you_mean(name, known, 1) or f'expected one of {others}'}"
