"""Callbacks that add to the history: what gradients and weights are like, layer by layer, and the memory."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from cnnkit.components import Callback
from cnnkit.components.quantities import MEMORY
from cnnkit.errors import ConfigError
from cnnkit.network import present_memory
from cnnkit.types import Array, Shape, TrainingStep

STATISTICS = ("norm", "mean", "std", "gradient")
"""Of each parameter; the last is the norm of its gradient."""


class LayerStatistics(Callback):
    """Adds to the history what each parameter and its gradient are like in the last step of an epoch.

    norm, mean, std: of the weights, before the update; gradient: the norm of the gradient, before it is clipped. The
    names are such as "conv2d_1.weight[norm]". The history keeps at most 500,000 of these numbers.

    Raises ConfigError before the first epoch for a model without parameters.
    """

    def quantities(self, parameters: Mapping[str, Shape]) -> Mapping[str, bool]:
        if not parameters:
            raise ConfigError(f"{self!r} needs layers with parameters, this network has none")
        self._found: dict[str, float] = {}
        return {f"{name}[{what}]": False for name in parameters for what in STATISTICS}

    def on_step(self, step: TrainingStep) -> None:
        if step.step != step.steps:
            return
        for name, weights in step.weights.items():
            exact = weights.astype(np.float64)
            values = _norm(exact), float(exact.mean()), float(exact.std()), _norm(step.gradients[name])
            self._found |= {f"{name}[{what}]": value for what, value in zip(STATISTICS, values, strict=True)}

    def measured(self) -> Mapping[str, float]:
        return self._found


class Memory(Callback):
    """Adds to the history how much memory the process has after each epoch, "memory[MiB]", without further workers.

    It is 0 where the system does not say, and no two trainings have it in common.
    """

    def quantities(self, parameters: Mapping[str, Shape]) -> Mapping[str, bool]:
        return {MEMORY: False}

    def measured(self) -> Mapping[str, float]:
        return {MEMORY: present_memory() / 2**20}


def _norm(values: Array) -> float:
    return math.sqrt(float(np.square(values, dtype=np.float64).sum()))
