"""What each kind of component must do that decides how a training goes; see `contracts` for the others."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cnnkit.components.contracts import Component
from cnnkit.errors import ConfigError
from cnnkit.types import Array, Scope, Shape, TrainingStep


class Optimizer(Component):
    """The rule that moves the parameters.

    By default it moves each number by itself, and works on flat vectors of them.
    """

    kind = "optimizer"
    scope: Scope = "numbers"
    """What the rule looks at to move a number: its own values alone, those of its parameter, such as one matrix of
    weights, or those of the whole network."""
    lr: float
    """Learning rate before the schedule's factor."""

    def slots(self) -> tuple[str, ...]:
        """Names of the state vectors, each as long as the parameters and zero at the start."""
        return ()

    def update(self, params: Array, grads: Array, state: Mapping[str, Array], lr: float, step: int) -> None:
        """Change `params` and `state` in place, and return nothing: `params -= ...`, `state["mean"][...] = ...`.

        params, grads and each state vector, by its scope: (P,), or the same slice of them, in one of several processes;
        one parameter in its own shape, such as (F, C, kh, kw); or all parameters, (P,). What the rule remembers is kept
        in `state`; lr: the rate of this step, after the schedule; step: 1 for the first. May overwrite `grads`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no update")

    def decayed(self, factor: float) -> Optimizer:
        """The same rule with its weight decay times the factor, for a group of parameters.

        Raises ConfigError for a rule without an attribute `weight_decay`.
        """
        if not hasattr(self, "weight_decay"):
            raise ConfigError(f"{self!r} has no weight decay, of which a group of parameters could have another one")
        changed = copy.copy(self)
        changed.weight_decay = factor * self.weight_decay
        return changed


class GradientMethod(Component):
    """Finds the gradient of a batch's loss without backpropagation: from values of the loss alone."""

    kind = "gradient method"

    def gradient(self, loss: Callable[[Array], float], params: Array, rng: np.random.Generator) -> Array:
        """The gradient of the loss at `params`, (P,).

        loss: the mean loss of the batch in float64 for any parameters, (P,), with the same random numbers, such as
        those of dropout, each time; params: (P,) float64, may be overwritten; rng: random numbers of this step alone.
        """
        raise NotImplementedError(f"{type(self).__name__} has no gradient")


class Schedule(Component):
    """How the learning rate changes during training."""

    kind = "schedule"

    def begin(self, quantities: Mapping[str, bool]) -> None:
        """Look at what the history will have, and whether greater is better of it; called before the first epoch.

        Raises ConfigError if a quantity that `feedback` needs is not among them.
        """

    def factor(self, epoch: float, epochs: float) -> float:
        """What the learning rate is multiplied with at this point: a finite number, 0 or above.

        0.0 <= epoch < epochs, fractional inside one; epochs: a whole number, but for a schedule that another one gives
        a part of the training. It depends on these alone: a training asks at some points before its first step, so that
        no work is lost to a factor that it cannot take.
        """
        raise NotImplementedError(f"{type(self).__name__} has no factor")

    def feedback(self, history: Mapping[str, list[float]]) -> float:
        """What the learning rate is multiplied with in addition, for what the training has reached: 0 or above.

        history: a copy of the values of each quantity, one for each epoch so far; {"loss": [], ...} before the first
        has ended, so that `history["loss"][-1:]` is safe and `history["loss"][-1]` is not.
        It depends on these alone, so that a training that is resumed goes on at the same rate.
        """
        return 1.0


class Callback(Component):
    """Called in each step and after each epoch of a training, which it may end."""

    kind = "callback"

    def start(self, quantities: Mapping[str, bool]) -> None:
        """Forget all earlier trainings; called before the first epoch.

        quantities: what the history will have, and whether greater is better of it. Raises ConfigError if a quantity
        that the callback needs is not among them.
        """

    def quantities(self, parameters: Mapping[str, Shape]) -> Mapping[str, bool]:
        """What it adds to the history, and whether greater is better of it; called before `start`.

        parameters: the model's, by their names, such as "conv2d_1.weight".
        """
        return {}

    def on_step(self, step: TrainingStep) -> None:
        """Look at a step, before its update. A resumed training does not repeat those that it had seen."""

    def measured(self) -> Mapping[str, float]:
        """The values of its `quantities`, asked for after the last step of each epoch."""
        return {}

    def after_epoch(self, history: Mapping[str, list[float]]) -> str:
        """Return why the training should end now, or "" to continue; anything but text is refused.

        history: a copy of the values of each quantity (`loss`, `accuracy`, `validation_loss`, ...), one for each epoch
        so far.
        """
        return ""

    def after_training(self, run: Any) -> None:
        """Look at the whole training, when its model is measured on the test samples; nothing comes after it.

        run: the `cnnkit.Run`, with model, history, metrics and recipe; None for a training that failed, also before its
        `start`. What is raised here is told, and loses nothing of the training.
        """
