"""From a command's arguments to the recipe that they mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cnnkit.training.recipe import Recipe

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
"""Seconds in a unit of time."""


def resolve(
    source: str,
    overrides: Sequence[str] | None,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    seed: int | None = None,
    fraction: float | None = None,
) -> Recipe:
    """The recipe with `--set` applied first, then the flags that were given.

    Raises RecipeError for a recipe, key or value that is wrong, ConfigError if the optimizer takes no learning rate.
    """
    from cnnkit.training.recipe import load_recipe

    recipe = load_recipe(source, overrides or ())
    flags = {"train.epochs": epochs, "train.batch_size": batch_size, "train.seed": seed, "data.fraction": fraction}
    given = {key: value for key, value in flags.items() if value is not None}
    recipe = recipe.override(given) if given else recipe
    return recipe if lr is None else recipe.with_learning_rate(lr)


def seconds_in(text: str) -> float:
    """A time such as "90s", "5m", "1.5h" or "90" in seconds. Raises ConfigError for anything else, and for no time."""
    from cnnkit.errors import ConfigError

    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([smh]?)", text.strip())
    seconds = float(match[1]) * UNITS[match[2]] if match else 0.0
    if not seconds:
        raise ConfigError(f"expected a time such as 90s, 5m or 1.5h, got {text!r}")
    return seconds
