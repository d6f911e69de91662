"""Training within a time budget: how many epochs fit into it, found out before the training begins."""

from __future__ import annotations

import math
import time
from typing import Any

from cnnkit.components.checks import positive
from cnnkit.errors import ConfigError
from cnnkit.network import Network
from cnnkit.training.assembly import model_for, trainer_for
from cnnkit.training.callbacks import TimeLimit
from cnnkit.training.kernel_choice import chosen
from cnnkit.training.recipe import Recipe
from cnnkit.training.steps import accumulated, endless_updates
from cnnkit.training.trainer import Trainer
from cnnkit.types import Data, Samples

MEASURED = 1.0
"""Seconds of training by which the speed is measured, unless the budget is short."""
SHARE = 0.1
"""The most of the budget that measuring may take."""
FEWEST = 3
"""Steps that are measured at least."""
USED = 0.9
"""How much of the budget is planned for: speed differs from minute to minute."""


def within(recipe: Recipe, data: Data, seconds: float, workers: int | None = None) -> Recipe:
    """The recipe with as many epochs as fit into the seconds, so that its schedule spans just that time.

    Where not even one epoch fits, it takes one over a fraction of the samples. Should the machine get slower, a
    `TimeLimit` ends it before the epoch that would take too long. data: what the recipe trains on.
    Raises ConfigError if the time does not suffice for a single batch, or for the warm-up of the schedule, and what
    `Trainer.check` raises.
    Source: Li, Yumer, Ramanan (2020), Budgeted Training: Rethinking Deep Neural Network Training Under Resource
    Constraints.
    """
    began = time.perf_counter()
    positive("seconds", seconds)
    kernels = chosen(recipe.train.kernels, math.inf, lambda _: None)  # what is wrong is told when the training begins
    recipe = recipe if kernels == "numpy" else recipe.override({"train.kernels": kernels})
    trainer, model = trainer_for(recipe, workers), model_for(recipe, data)
    trainer.check(model, data)
    epoch = _epoch_seconds(trainer, model, data, seconds)
    left = seconds - (time.perf_counter() - began)
    epochs = max(1, int(USED * left / epoch))
    try:
        trainer.schedule.factor(0.0, epochs)
    except ConfigError as error:
        raise ConfigError(f"epochs that fit into {seconds:g} s: {epochs}; {error}") from None
    planned: dict[str, Any] = {"train.epochs": epochs}
    if left > 0:
        planned["train.callbacks"] = [*recipe.train.callbacks, repr(TimeLimit(float(f"{left:.4g}")))]
    if epochs * epoch <= USED * left:
        return recipe.override(planned)
    share = float(f"{max(0.0, USED * left / epoch):.4g}")
    batch = min(recipe.train.batch_size, len(data.train))
    if share * len(data.train) < batch:
        raise ConfigError(
            f"{seconds:g} s are not enough to train on one batch of {batch} samples: an epoch of {len(data.train):,} "
            f"samples takes about {epoch:.1f} s; allow more time, or use a smaller network or batch size"
        )
    return recipe.override(planned | {"data.fraction": recipe.data.fraction * share})


def _epoch_seconds(trainer: Trainer, model: Network, data: Data, budget: float) -> float:
    """How long an epoch takes with its validation, measured on a model that is thrown away."""
    limit = min(MEASURED, SHARE * budget)
    with trainer.session(model, data.train) as session:
        began, done = 0.0, 0
        for key, batches in endless_updates(trainer, data.train.y):
            if done == 1:  # the first step takes memory, which the others have
                began = time.perf_counter()
            accumulated(session, batches, key)
            session.update(0.0, done + 1)
            done += 1
            if done > FEWEST and time.perf_counter() - began > limit:
                break
        taken = (time.perf_counter() - began) / (done - 1)
    steps = -(-len(data.train) // trainer.update_size)
    return steps * taken + (_evaluation_seconds(trainer, model, data.validation) if data.validation else 0.0)


def _evaluation_seconds(trainer: Trainer, model: Network, samples: Samples) -> float:
    some = samples.take(slice(trainer.batch_size))
    began = time.perf_counter()
    trainer.evaluate(model, some)
    return (time.perf_counter() - began) * len(samples) / len(some)
