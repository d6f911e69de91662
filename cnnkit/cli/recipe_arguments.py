"""From a command's arguments to the recipe that they mean, and texts that stand for numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cnnkit.cli.output import note
from cnnkit.wording import counted

if TYPE_CHECKING:
    from cnnkit.training.recipe import Recipe

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
"""Seconds in a unit of time."""


def resolve(
    source: str,
    overrides: Sequence[str] | None,
    data_dir: str | None = None,
    registry: str | None = None,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    seed: int | None = None,
    fraction: float | None = None,
    kernels: str | None = None,
    saved_as: Path | None = None,
) -> Recipe:
    """The recipe with `--set` applied first, then the flags that were given; the default one for data.

    registry: where a model may have the name that no recipe has; saved_as: the file that the recipe is to be written
    to, if there is one, for the note on what was chosen.
    Raises DataError for data that cannot be used, RecipeError for a recipe, key or value that is wrong, ConfigError if
    the optimizer takes no learning rate, and for the name of a registered model.
    """
    from cnnkit.training.recipe_source import find_recipe, names_data

    refuse_model_name(source, registry)
    recipe = find_recipe(source, overrides or (), data_dir)
    flags = {"train.epochs": epochs, "train.batch_size": batch_size, "train.seed": seed, "data.fraction": fraction}
    given = {key: value for key, value in flags.items() if value is not None}
    recipe = recipe.override(given) if given else recipe
    recipe = recipe if lr is None else recipe.with_learning_rate(lr)
    if kernels is not None:
        recipe = recipe.override({"train.kernels": None if kernels == "auto" else kernels})
    if names_data(source):
        note(_chosen(recipe, saved_as))
    return recipe


def refuse_model_name(name: str, registry: str | None) -> None:
    """Raise ConfigError for the name of a registered model without a version, unless a recipe or data is named so."""
    from cnnkit.errors import ConfigError
    from cnnkit.registry import Registry
    from cnnkit.registry.references import is_name
    from cnnkit.training.recipe import SUFFIX, recipe_names
    from cnnkit.training.recipe_source import names_data

    if not is_name(name) or name.endswith(SUFFIX) or name in recipe_names() or names_data(name):
        return
    store = Registry(registry)
    if store.path.is_dir() and name in store.models():
        raise ConfigError(
            f"{name} is a registered model, not a recipe: name one of its versions, such as {name}@latest"
        )


def _chosen(recipe: Recipe, saved_as: Path | None) -> str:
    """What a recipe that was made up for some data has, as text."""
    layers, options = recipe.model.layers or (), recipe.train.model_dump()
    more = [*options["augmentations"]]
    if options["class_weight"] is not None:
        more.append(f"class_weight = {options['class_weight']!r}")
    return (
        f"chosen for {recipe.data.dataset}: {counted(len(layers), 'layer')}, of which "
        f"{counted(sum(layer.startswith('Conv2D') for layer in layers), 'convolution')}; {options['optimizer']}, "
        f"{counted(options['epochs'], 'epoch')} in batches of {options['batch_size']}{', '.join(['', *more])}; "
        f"{f'{saved_as} has it all' if saved_as else '--save-recipe FILE writes it all'}"
    )


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe as TOML. Raises ConfigError for a file that is there already, or cannot be written."""
    from cnnkit.errors import ConfigError

    try:
        with path.open("x") as file:
            file.write(recipe.to_toml())
    except FileExistsError:
        raise ConfigError(f"--save-recipe does not overwrite {path}: choose another name, or remove it") from None
    except OSError as error:
        raise ConfigError(f"cannot write the recipe to {path}: {error.strerror}") from None


def seconds_in(text: str) -> float:
    """A time such as "90s", "5m", "1.5h" or "90" in seconds. Raises ConfigError for anything else, and for no time."""
    from cnnkit.errors import ConfigError

    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([smh]?)", text.strip())
    seconds = float(match[1]) * UNITS[match[2]] if match else 0.0
    if not seconds:
        raise ConfigError(f"expected a time such as 90s, 5m or 1.5h, got {text!r}")
    return seconds


def shape_in(text: str, option: str, most: int, why: str = "") -> tuple[int, ...]:
    """A shape such as "3,8,8". Raises ShapeError for anything else, naming the option.

    most: the numbers that something of this shape may have; why: no more of them, such as ", since each takes long".
    """
    from cnnkit.errors import ShapeError

    sizes = text.split(",")
    if not all(size.isdecimal() and size.strip("0") for size in sizes):
        raise ShapeError(f"{option} must be positive numbers separated by commas, such as 3,8,8, got {text!r}")
    shape = tuple(int(size) for size in sizes if len(size) < 10)
    if len(shape) < len(sizes) or math.prod(shape) > most:
        raise ShapeError(f"{option} may have at most {most:,} numbers{why}, got {text[:80]!r}")
    return shape
