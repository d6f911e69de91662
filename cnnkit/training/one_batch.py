"""Learning one batch by heart: the quickest proof that a network, its loss and its gradients work together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cnnkit.components.checks import whole
from cnnkit.components.contracts import are_indices_for
from cnnkit.components.predicted_class import predicted_classes
from cnnkit.network import Engine, Network, available_cores
from cnnkit.training.steps import batches, clipped, rate_of
from cnnkit.training.trainer import Trainer
from cnnkit.training.training_hints import about_inputs
from cnnkit.types import Data, Samples, Task

EVERY = 5
"""Steps between two looks at the batch in prediction mode."""
ENOUGH = 0.01
"""Values to regress are learned when their loss is this share of what it was."""


@dataclass(frozen=True)
class OneBatch:
    """How a training on a single batch went."""

    samples: int
    steps: int
    before: dict[str, float]
    """Loss and metrics of the batch before the first step, in prediction mode."""
    after: dict[str, float]
    """Loss and metrics of the batch after the last step, in prediction mode."""
    learned: bool
    """Whether every class, or every label, is predicted right or, for values, the loss a hundredth of what it was."""


def overfit_one_batch(trainer: Trainer, model: Network, data: Data, steps: int = 500) -> OneBatch:
    """Train on the first batch alone, without augmentations, until it is memorized or the steps are used up.

    The learning rate is the optimizer's, whatever the schedule. Inputs that are not scaled are warned of. The model is
    changed: give one that is not needed. Raises ConfigError for steps < 1, and what `Trainer.prepare` raises.
    """
    whole("steps", steps)
    checked = trainer.prepare(model, data)
    train = checked.train
    positions = batches(trainer, 0, train.y)[0]
    batch = train.take(positions)
    before = after = trainer.evaluate(model, batch)
    task = trainer.loss.task(batch.y, model.output_shape)
    done, learned = 0, False
    if hint := about_inputs(model, batch.x):
        trainer.warn(hint)
    with trainer.session(model, batch, checked.labels, augmented=False) as session:
        while done < steps and not learned and math.isfinite(after["loss"]):
            session.step(np.arange(len(batch)), (trainer.seed, 0, done))
            scale, _ = clipped(session, session.norm(), trainer)
            session.update(rate_of(trainer.optimizer), done + 1, scale)
            done += 1
            if done % EVERY == 0 or done == steps:
                after = trainer.evaluate(model, batch)
                is_less = after["loss"] <= ENOUGH * before["loss"]
                learned = math.isfinite(after["loss"]) and _is_learned(session.engine, task, batch, is_less)
    return OneBatch(len(batch), done, before, after, learned)


def _is_learned(engine: Engine, task: Task, batch: Samples, is_less: bool) -> bool:
    """is_less: whether the loss has become as small as that of values must."""
    outputs = engine.predict(batch.x, available_cores())
    if task.gives == "classes" and are_indices_for(batch.y, outputs.shape[1:]):
        return bool((predicted_classes(outputs) == batch.y).all())
    if task.gives == "labels":
        return bool(((outputs >= (0 if task.from_logits else 0.5)) == (batch.y >= 0.5)).all())
    return is_less
