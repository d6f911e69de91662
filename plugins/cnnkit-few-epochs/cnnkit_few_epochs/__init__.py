"""For trainings of few epochs: an optimizer that looks at how gradients change, and a schedule that stays high long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from cnnkit.plugin import Array, Example, Optimizer, Schedule, hookimpl, in_range, not_negative, positive

__all__ = ["REX", "Adan"]


class Adan(Optimizer):
    """Adam with Nesterov's momentum: gradients, their changes, and the size of both are averaged.

    d = g - h                               h: the gradient of the step before; d = 0 in the first one
    m = beta1 * m + (1 - beta1) * g         m, v and n are 0 before the first step, t = 1
    v = beta2 * v + (1 - beta2) * d
    n = beta3 * n + (1 - beta3) * (g + beta2 * d)^2
    u = (m / (1 - beta1^t) + beta2 * v / (1 - beta2^t)) / (sqrt(n / (1 - beta3^t)) + epsilon)
    p = (p - lr * u) / (1 + lr * weight_decay)

    p, g, h, m, v, n: (P,). The paper's betas are 1 minus these. Raises ConfigError for lr or epsilon <= 0, a beta
    outside [0, 1), or weight_decay < 0.
    Source: Xie, Zhou, Li, Lin, Yan (2022), Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep
    Models, algorithm 1; the divisions by 1 - beta^t are those of its authors' program.
    """

    examples: ClassVar[tuple[Example, ...]] = (
        Example("Adan(0.01)", ()),
        Example("Adan(0.01, beta1=0.9, beta2=0.8, beta3=0.95, weight_decay=0.1)", ()),
    )

    def __init__(
        self,
        lr: float = 0.005,
        beta1: float = 0.98,
        beta2: float = 0.92,
        beta3: float = 0.99,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.lr = positive("lr", lr)
        self.beta1 = in_range("beta1", beta1, 0.0, 1.0)
        self.beta2 = in_range("beta2", beta2, 0.0, 1.0)
        self.beta3 = in_range("beta3", beta3, 0.0, 1.0)
        self.epsilon = positive("epsilon", epsilon)
        self.weight_decay = not_negative("weight_decay", weight_decay)

    def slots(self) -> tuple[str, ...]:
        return "before", "mean", "change", "square"

    def update(self, params: Array, grads: Array, state: Mapping[str, Array], lr: float, step: int) -> None:
        before, mean, change, square = (state[name] for name in self.slots())
        difference = np.zeros_like(grads) if step == 1 else grads - before
        before[...] = grads
        mean *= self.beta1
        mean += (1 - self.beta1) * grads
        change *= self.beta2
        change += (1 - self.beta2) * difference
        difference *= self.beta2
        difference += grads
        square *= self.beta3
        square += (1 - self.beta3) * np.square(difference)
        move = mean / (1 - self.beta1**step)
        move += (self.beta2 / (1 - self.beta2**step)) * change
        move /= np.sqrt(square / (1 - self.beta3**step)) + self.epsilon
        params -= lr * move
        if self.weight_decay:
            params /= 1 + lr * self.weight_decay


class REX(Schedule):
    """The learning rate stays high for long, and falls to 0 the faster the nearer the end is.

    factor = (1 - z) / (1/2 + (1 - z) / 2),  z = epoch / epochs

    Half way it is 2/3, where a straight line would be at 1/2.
    Source: Chen, Wolfe, Kyrillidis (2022), REX: Revisiting Budgeted Training with an Improved Schedule, section 3.
    """

    examples: ClassVar[tuple[Example, ...]] = (Example("REX()", ()),)

    def factor(self, epoch: float, epochs: float) -> float:
        left = 1 - epoch / epochs
        return left / (0.5 + 0.5 * left)


@hookimpl
def cnnkit_optimizers() -> list[type[Optimizer]]:
    """Adan."""
    return [Adan]


@hookimpl
def cnnkit_schedules() -> list[type[Schedule]]:
    """REX."""
    return [REX]
