"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from cnnkit.components.checks import in_range, not_negative, positive, true_or_false
from cnnkit.components.training_contracts import Optimizer
from cnnkit.errors import ConfigError
from cnnkit.types import Array, Example


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum, Nesterov's look-ahead and weight decay if asked for.

    g = g + weight_decay * p
    v = momentum * v + g                 v is 0 before the first step
    d = g + momentum * v                 with nesterov; else d = v
    p = p - lr * d

    p, g, v: (P,). Raises ConfigError for lr <= 0, momentum outside [0, 1), weight_decay < 0, or nesterov without
    momentum.
    Source: Polyak (1964), Some methods of speeding up the convergence of iteration methods; Sutskever, Martens, Dahl,
    Hinton (2013), On the Importance of Initialization and Momentum in Deep Learning.
    """

    twin = "torch.optim.SGD"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("SGD(0.05)", (), "lr=0.05"),
        Example("SGD(0.05, weight_decay=0.01)", (), "lr=0.05, weight_decay=0.01"),
        Example("SGD(0.02, momentum=0.9)", (), "lr=0.02, momentum=0.9"),
        Example("SGD(0.02, momentum=0.9, weight_decay=0.01)", (), "lr=0.02, momentum=0.9, weight_decay=0.01"),
        Example("SGD(0.02, momentum=0.9, nesterov=True)", (), "lr=0.02, momentum=0.9, nesterov=True"),
        Example(
            "SGD(0.02, momentum=0.9, nesterov=True, weight_decay=0.01)",
            (),
            "lr=0.02, momentum=0.9, nesterov=True, weight_decay=0.01",
        ),
    )

    def __init__(
        self, lr: float = 0.01, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
    ) -> None:
        self.lr = positive("lr", lr)
        self.momentum = in_range("momentum", momentum, 0.0, 1.0)
        self.nesterov = true_or_false("nesterov", nesterov)
        self.weight_decay = not_negative("weight_decay", weight_decay)
        if nesterov and not momentum:
            raise ConfigError("with nesterov=True momentum must be above 0, got 0.0; try momentum=0.9")

    def slots(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    def update(self, params: Array, grads: Array, state: Mapping[str, Array], lr: float, step: int) -> None:
        if self.weight_decay:
            grads += self.weight_decay * params
        move = grads
        if self.momentum:
            move = state["velocity"]
            move *= self.momentum
            move += grads
        if self.nesterov:
            grads += self.momentum * move
            move = grads
        params -= np.multiply(move, lr, out=grads)
