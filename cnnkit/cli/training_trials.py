"""Trials before a training, which register nothing: `cnnkit train --find-lr` and `--overfit-one-batch`."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cnnkit.cli.output import note, say, say_json, say_pairs, warn
from cnnkit.terminal import console
from cnnkit.wording import counted

if TYPE_CHECKING:
    from cnnkit.training.range_test import RangeTest
    from cnnkit.training.recipe import Recipe
    from cnnkit.training.trainer import Trainer


def find_learning_rate(recipe: Recipe, workers: int | None, data_dir: str | None, as_json: bool) -> None:
    """Print which learning rate the range test suggests, and write its picture if matplotlib is there."""
    from cnnkit.training.assembly import data_for, model_for
    from cnnkit.training.range_test import range_test

    data = data_for(recipe, data_dir)
    found = range_test(_trainer(recipe, workers), model_for(recipe, data), data)
    suggestion = float(f"{found.suggestion:.2g}")
    picture = _picture(found, suggestion, recipe.model.name)
    if as_json:
        values = dataclasses.asdict(found)
        say_json({"suggestion": suggestion, **values, "picture": picture and str(picture)})
        return
    lowest = found.rates[found.smoothed.index(min(found.smoothed))]
    say_pairs({"lowest loss at": lowest, "suggested": suggestion, "picture": picture or "none"})
    optimizer = recipe.with_learning_rate(suggestion).train.optimizer
    say(f"\nto train with it, add --lr {suggestion:g}: the optimizer is then {optimizer}")


def _trainer(recipe: Recipe, workers: int | None) -> Trainer:
    """The recipe's trainer, whose warnings become lines of the command's own."""
    from cnnkit.training.assembly import trainer_for
    from cnnkit.training.progress import LiveProgress

    return trainer_for(recipe, workers, LiveProgress(console(sys.stderr)))


def _picture(found: RangeTest, suggestion: float, name: str) -> Path | None:
    """The picture of a range test, in the working directory; None without matplotlib."""
    import importlib.util

    from cnnkit.errors import PlotError
    from cnnkit.plotting.learning_rate import draw_learning_rates
    from cnnkit.plotting.saving import save

    if importlib.util.find_spec("matplotlib") is None:
        return None
    figure = draw_learning_rates(
        found.rates, found.losses, found.smoothed, suggestion, f"{name}: learning-rate range test"
    )
    try:
        return save(figure, f"{name}-learning-rates.png")
    except PlotError as error:  # the numbers are what counts
        warn(str(error))
        return None


def overfit_one_batch(recipe: Recipe, workers: int | None, data_dir: str | None, as_json: bool) -> None:
    """Print whether the network can memorize one batch. Raises CheckError if it cannot."""
    from cnnkit.errors import CheckError
    from cnnkit.training.assembly import data_for, model_for
    from cnnkit.training.one_batch import overfit_one_batch

    data = data_for(recipe, data_dir)
    result = overfit_one_batch(_trainer(recipe, workers), model_for(recipe, data), data)
    how = f"{counted(result.samples, 'sample')} after {counted(result.steps, 'step')}: "
    how += f"{_means(result.before)} -> {_means(result.after)}"
    if as_json:
        say_json(dataclasses.asdict(result))
    elif result.learned:
        say(f"one batch was memorized, {how}")
        note("so the network, its loss and its gradients work together; nothing was registered")
    if not result.learned:
        raise CheckError(
            f"one batch could not be memorized, {how}. Expected every sample right: try another learning rate "
            "(--find-lr suggests one), a larger network or less dropout; check the labels, and layers of your own with "
            "`cnnkit gradcheck`"
        )


def _means(means: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in means.items())
