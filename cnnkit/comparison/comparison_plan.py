"""Plans: which configurations are compared, with which seeds, and what is registered in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from cnnkit.class_indices import are_indices, indices_of
from cnnkit.comparison.codes import layers_of
from cnnkit.comparison.grid import LEARNING_RATE, Grid, points, read_grid
from cnnkit.comparison.result import Samples
from cnnkit.components.checks import one_of
from cnnkit.data import load_dataset
from cnnkit.data.named import looks_like_path
from cnnkit.errors import ConfigError, DataError, RegistryError
from cnnkit.training.recipe import SUFFIX, Overrides, Recipe, recipe_names
from cnnkit.training.recipe_source import find_recipe, names_data
from cnnkit.training.recipe_tables import CompareSection, read_seeds
from cnnkit.types import Data
from cnnkit.wording import did_you_mean

Register = Literal["best", "all", "none"]
Source = str | Path | Recipe
"""A recipe, its name or file; data, of which the default recipe is meant; or a short code, such as `c16pc8p`."""

BASE = "mnist-configs"
SHARE = 0.1
"""Of the training samples: set aside to validate on where neither recipe nor dataset does, as the recipes that ship."""


@dataclass(frozen=True)
class Configuration:
    """One of those that are compared."""

    name: str
    recipe: Recipe


@dataclass(frozen=True)
class ComparisonPlan:
    """Everything that decides the result of a comparison."""

    name: str
    """The model's of its first recipe."""
    configurations: tuple[Configuration, ...]
    seeds: tuple[int, ...]
    data: Mapping[str, str]
    """The digest of each dataset, by its expression."""
    register: Register = "best"
    ranked_on: Samples = "validation"
    """The samples that rank the configurations."""
    validation: float = 0.0
    """The share of the training samples in all recipes that had set none aside to validate on; 0 if there was none."""

    def check_data(self, recipe: Recipe, digest: str) -> None:
        """Raises DataError for other data than the plan was made with: results of both could not be ranked."""
        expression = recipe.data.dataset
        if digest != self.data[expression]:
            raise DataError(
                f"{expression} has changed since the comparison began: expected data with the digest "
                f"{self.data[expression]}, got {digest}; restore the original files, or start a new comparison"
            )

    def to_record(self) -> dict[str, Any]:
        """The plan as plain values."""
        listed = [{"name": one.name, "recipe": one.recipe.to_dict()} for one in self.configurations]
        return {
            "name": self.name,
            "configurations": listed,
            "seeds": list(self.seeds),
            "data": dict(self.data),
            "register": self.register,
            "ranked_on": self.ranked_on,
            "validation": self.validation,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any], origin: str) -> ComparisonPlan:
        """What `to_record` has written. Raises RegistryError, naming `origin`, for anything else.

        A plan that does not say what ranks is one of an earlier cnnkit, which ranked on test samples.
        """
        try:
            listed = [
                Configuration(str(one["name"]), Recipe.from_dict(one["recipe"], f"{origin}, {one['name']}"))
                for one in record["configurations"]
            ]
            register = one_of("register", record["register"], get_args(Register))
            data = {one.recipe.data.dataset: str(record["data"][one.recipe.data.dataset]) for one in listed}
            seeds = read_seeds(record["seeds"])
            ranked_on = cast(Samples, one_of("ranked_on", record.get("ranked_on", "test"), get_args(Samples)))
            share = float(record.get("validation", 0.0))
            return cls(str(record["name"]), tuple(listed), seeds, data, cast(Register, register), ranked_on, share)
        except (LookupError, TypeError, ValueError, ConfigError) as error:
            raise RegistryError(f"the plan of {origin} cannot be used: {error!r}") from error


class Datasets:
    """Datasets by their expressions, each loaded once."""

    def __init__(self, data_dir: str | Path | None) -> None:
        self.folder = data_dir
        self._loaded: dict[str, Data] = {}

    def of(self, recipe: Recipe) -> Data:
        """The samples that a recipe names, before any of them are set aside to validate on."""
        expression = recipe.data.dataset
        if expression not in self._loaded:
            self._loaded[expression] = load_dataset(expression, self.folder)
        return self._loaded[expression]


def make_plan(
    sources: Sequence[Source],
    datasets: Datasets,
    *,
    base: Source | None = None,
    grid: Grid = (),
    overrides: Overrides = (),
    seeds: int | Sequence[int] | None = None,
    register: Register = "best",
) -> ComparisonPlan:
    """The plan of a comparison; the arguments are those of `compare`. Raises ConfigError or RecipeError.

    Where nothing is set aside to validate on, the plan's recipes set SHARE of the training samples aside.
    """
    one_of("register", register, get_args(Register))
    codes = [str(source) for source in sources if not _is_recipe(source)]
    recipes = [_load(source, overrides, datasets.folder) for source in sources if _is_recipe(source)]
    if base is not None and recipes:
        raise ConfigError("--base applies to codes, but recipes were given: remove --base, or the recipes")
    if not sources:
        recipes = [_load(BASE if base is None else base, overrides, datasets.folder)]
    wanted = [(recipe, recipe.compare or CompareSection()) for recipe in recipes]
    if codes:
        section = CompareSection(codes=tuple(codes))
        wanted.append((_load(BASE if base is None else base, overrides, datasets.folder), section))
    given = read_grid(grid)
    configurations = [
        configuration
        for recipe, section in wanted
        for configuration in _configurations(recipe, section.codes, read_grid(section.grid) | given, datasets)
    ]
    names = [configuration.name for configuration in configurations]
    if doubled := next((name for name in names if names.count(name) > 1), ""):
        raise ConfigError(f"two configurations are named {doubled}: remove one, or give it another model.name")
    chosen = _seeds(seeds, [section for _, section in wanted])
    data = {one.recipe.data.dataset: datasets.of(one.recipe).digest for one in configurations}
    validated = [_validated(one, datasets) for one in configurations]
    share = SHARE if validated != configurations else 0.0
    return ComparisonPlan(wanted[0][0].model.name, tuple(validated), chosen, data, register, validation=share)


def _validated(one: Configuration, datasets: Datasets) -> Configuration:
    """A configuration that has samples to validate on."""
    if one.recipe.data.validation or datasets.of(one.recipe).validation:
        return one
    return Configuration(one.name, one.recipe.override({"data.validation": SHARE}))


def _is_recipe(source: Source) -> bool:
    if not isinstance(source, str) or source.endswith(SUFFIX) or source in recipe_names():
        return True
    return names_data(source) or looks_like_path(source)


def _load(source: Source, overrides: Overrides, data_dir: str | Path | None) -> Recipe:
    return source.override(overrides) if isinstance(source, Recipe) else find_recipe(source, overrides, data_dir)


def _configurations(
    recipe: Recipe, codes: Sequence[str], grid: Mapping[str, Sequence[Any]], datasets: Datasets
) -> list[Configuration]:
    """Each code, or the recipe's own network, with each point of the grid."""
    if codes and "model.layers" in grid:
        raise ConfigError("codes and the grid both set model.layers: remove one of them")
    plain = recipe.model_copy(update={"compare": None})
    found = []
    for code in codes or ("",):
        for point in points(grid):
            one = _at(plain, point)
            if code:
                layers = _network(code, one, datasets)
                network = {"model.layers": layers, "model.node": None}
                one = one.override(network | {"model.name": f"{one.model.name}-{code}"})
            parts = [f"{key.partition('.')[2]}={value}" for key, value in point.items()]
            found.append(Configuration(" ".join([code or one.model.name, *parts]), one))
    return found


def _at(recipe: Recipe, point: Mapping[str, Any]) -> Recipe:
    """The recipe at a point of a grid."""
    overrides = {key: value for key, value in point.items() if key != LEARNING_RATE}
    recipe = recipe.override(overrides) if overrides else recipe
    return recipe.with_learning_rate(point[LEARNING_RATE]) if LEARNING_RATE in point else recipe


def _network(code: str, recipe: Recipe, datasets: Datasets) -> list[str]:
    """All layers of a code's network, for the classes of the recipe's dataset."""
    try:
        layers = layers_of(code)
    except ConfigError as error:
        names = recipe_names()
        hint = did_you_mean(code, names, 1, what="the recipe ") or f"the recipes are {', '.join(names)}"
        raise ConfigError(f"{error}; {hint} (give a recipe of yours by its file, which ends in {SUFFIX})") from None
    data = datasets.of(recipe)
    classes = len(data.labels) or _classes(data)
    if not classes:
        raise ConfigError(
            f"the code {code!r} ends with one output for each class, but {data.name} has no classes: compare recipes"
        )
    return [*layers, "Flatten()", f"Dense({classes})"]


def _classes(data: Data) -> int:
    """How many classes there are, if nobody has named them; 0 if the targets are no classes."""
    targets = [samples.y for samples in (data.train, data.test, data.validation) if samples and len(samples)]
    if not all(y.ndim < 3 and are_indices(indices_of(y)) for y in targets):
        return 0
    return max(y.shape[1] if y.ndim == 2 else 1 + int(y.max()) for y in targets)


def _seeds(given: int | Sequence[int] | None, sections: Sequence[CompareSection]) -> tuple[int, ...]:
    if given is not None:
        try:
            return read_seeds(given)
        except ValueError as error:
            raise ConfigError(f"seeds: {error}") from None
    chosen = {section.seeds for section in sections}
    if len(chosen) > 1:
        raise ConfigError("the recipes have different seeds in [compare]: choose them with --seeds")
    return chosen.pop()
