"""Optimizers whose moves are all of one length, up or down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from cnnkit.components.checks import in_range, not_negative, positive
from cnnkit.components.training_contracts import Optimizer
from cnnkit.types import Array, Example


class Lion(Optimizer):
    """Moves by the sign of a momentum: all numbers by the same length.

    d = sign(beta1 * m + (1 - beta1) * g)
    p = p - lr * (d + weight_decay * p)
    m = beta2 * m + (1 - beta2) * g      m is 0 before the first step

    p, g, m: (P,). Raises ConfigError for lr <= 0, a beta outside [0, 1), or weight_decay < 0.
    Source: Chen et al. (2023), Symbolic Discovery of Optimization Algorithms, algorithm 2.
    """

    examples: ClassVar[tuple[Example, ...]] = (
        Example("Lion(0.003)", ()),
        Example("Lion(0.003, beta1=0.8, beta2=0.95)", ()),
        Example("Lion(0.003, weight_decay=0.5)", ()),
    )

    def __init__(self, lr: float = 0.0001, beta1: float = 0.9, beta2: float = 0.99, weight_decay: float = 0.0) -> None:
        self.lr = positive("lr", lr)
        self.beta1 = in_range("beta1", beta1, 0.0, 1.0)
        self.beta2 = in_range("beta2", beta2, 0.0, 1.0)
        self.weight_decay = not_negative("weight_decay", weight_decay)

    def slots(self) -> tuple[str, ...]:
        return ("mean",)

    def update(self, params: Array, grads: Array, state: Mapping[str, Array], lr: float, step: int) -> None:
        mean = state["mean"]
        move = self.beta1 * mean
        move += (1 - self.beta1) * grads
        np.sign(move, out=move)
        move *= lr
        if self.weight_decay:
            params *= 1 - lr * self.weight_decay
        params -= move
        mean *= self.beta2
        grads *= 1 - self.beta2
        mean += grads
