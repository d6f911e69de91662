"""From a command's arguments to the recipe that they mean."""

from __future__ import annotations

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

    saved_as: the file that the recipe is to be written to, if there is one, for the note on what was chosen.
    Raises DataError for data that cannot be used, RecipeError for a recipe, key or value that is wrong, ConfigError if
    the optimizer takes no learning rate.
    """
    from cnnkit.training.recipe_source import find_recipe, names_data

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
