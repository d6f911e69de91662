"""From what a user names to a recipe: that of a recipe's name or file, or the default one for data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cnnkit.data.at_path import dataset_at, is_data
from cnnkit.data.named import is_expression, named_dataset
from cnnkit.training.default_recipe import default_recipe
from cnnkit.training.recipe import Overrides, Recipe, load_recipe, read_override, recipe_names
from cnnkit.user_folders import expanded


def find_recipe(source: str | Path, overrides: Overrides = (), data_dir: str | Path | None = None) -> Recipe:
    """The recipe that `load_recipe` finds; or the default one for a dataset, a folder or a file of data.

    source: also an expression of a dataset, such as `Table("boxes.csv", "kind")`. An override of data.dataset, such as
    one of images in another size, is what the default recipe suits then. Raises what they raise.
    """
    if not names_data(source):
        return load_recipe(source, overrides)
    overrides = overrides if isinstance(overrides, Mapping) else dict(map(read_override, overrides))
    chosen = overrides.get("data.dataset")
    if isinstance(chosen, str):  # of another type, it is refused as an override
        dataset = named_dataset(chosen)
    else:
        dataset = named_dataset(str(source)) if _is_expression(source) else dataset_at(expanded(source))
    return default_recipe(dataset, data_dir).override(overrides)


def names_data(source: str | Path) -> bool:
    """Whether this is data, not a recipe; a recipe that ships with cnnkit has its name for itself."""
    return str(source) not in recipe_names() and (is_data(expanded(source)) or _is_expression(source))


def _is_expression(source: str | Path) -> bool:
    return isinstance(source, str) and is_expression(source)
