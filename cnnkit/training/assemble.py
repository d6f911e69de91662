"""From a recipe to the model and the trainer that it describes."""

from __future__ import annotations

from cnnkit.network import Sequential
from cnnkit.training.progress import Progress
from cnnkit.training.recipe import Recipe
from cnnkit.training.trainer import Trainer
from cnnkit.types import Data


def model_for(recipe: Recipe, data: Data) -> Sequential:
    """The recipe's network, with new parameters, for inputs like the data's."""
    return Sequential(
        recipe.model.layers,
        data.input_shape,
        labels=data.labels,
        preprocessing=data.preprocessing,
        input_dtype="uint8" if data.train.x.dtype == "uint8" else "float32",
        seed=recipe.train.seed,
    )


def trainer_for(recipe: Recipe, workers: int | None = None, progress: Progress | None = None) -> Trainer:
    """The recipe's trainer; workers and progress are the machine's and the user's business, not the recipe's."""
    return Trainer(**dict(recipe.train), workers=workers, progress=progress)
