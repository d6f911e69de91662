"""Optimizers that divide by the root of what they have summed up of each gradient's square."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from cnnkit.components.checks import in_range, not_negative, positive, true_or_false
from cnnkit.components.training_contracts import Optimizer
from cnnkit.types import Array, Example


class Adagrad(Optimizer):
    """Divides by the root of the sum of all squares so far: what changed much, changes less and less.

    g = g + weight_decay * p
    s = s + g^2                          s is initial_accumulator_value before the first step, t = 1
    p = p - lr / (1 + (t - 1) lr_decay) * g / (sqrt(s) + epsilon)

    p, g, s: (P,). Raises ConfigError for lr <= 0, epsilon <= 0, or another argument below 0.
    Source: Duchi, Hazan, Singer (2011), Adaptive Subgradient Methods for Online Learning and Stochastic Optimization.
    """

    twin = "torch.optim.Adagrad"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("Adagrad(0.1)", (), "lr=0.1"),
        Example("Adagrad(0.1, lr_decay=0.01, weight_decay=0.1)", (), "lr=0.1, lr_decay=0.01, weight_decay=0.1"),
        Example(
            "Adagrad(0.1, initial_accumulator_value=0.5, epsilon=1e-3)",
            (),
            "lr=0.1, initial_accumulator_value=0.5, eps=1e-3",
        ),
    )

    def __init__(
        self,
        lr: float = 0.01,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        epsilon: float = 1e-10,
    ) -> None:
        self.lr = positive("lr", lr)
        self.lr_decay = not_negative("lr_decay", lr_decay)
        self.weight_decay = not_negative("weight_decay", weight_decay)
        self.initial_accumulator_value = not_negative("initial_accumulator_value", initial_accumulator_value)
        self.epsilon = positive("epsilon", epsilon)

    def slots(self) -> tuple[str, ...]:
        return ("sum",)

    def update(self, params: Array, grads: Array, state: Mapping[str, Array], lr: float, step: int) -> None:
        if self.weight_decay:
            grads += self.weight_decay * params
        total = state["sum"]
        total += np.square(grads)
        root = np.sqrt(total + self.initial_accumulator_value)
        root += self.epsilon
        grads *= lr / (1 + (step - 1) * self.lr_decay)
        params -= np.divide(grads, root, out=grads)


class Adadelta(Optimizer):
    """Scales the gradient to the size of earlier moves: it needs no rate of its own.

    g = g + weight_decay * p
    s = rho * s + (1 - rho) * g^2        s and d are 0 before the first step
    u = sqrt(d + epsilon) / sqrt(s + epsilon) * g
    d = rho * d + (1 - rho) * u^2
    p = p - lr * u

    p, g, s, d: (P,). Raises ConfigError for lr <= 0, rho outside [0, 1), epsilon <= 0, or weight_decay < 0.
    Source: Zeiler (2012), ADADELTA: An Adaptive Learning Rate Method.
    """

    twin = "torch.optim.Adadelta"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("Adadelta()", (), "lr=1.0"),
        Example("Adadelta(0.5, rho=0.8, epsilon=1e-3)", (), "lr=0.5, rho=0.8, eps=1e-3"),
        Example("Adadelta(epsilon=1e-4, weight_decay=0.1)", (), "eps=1e-4, weight_decay=0.1"),
    )

    def __init__(self, lr: float = 1.0, rho: float = 0.9, epsilon: float = 1e-6, weight_decay: float = 0.0) -> None:
        self.lr = positive("lr", lr)
        self.rho = in_range("rho", rho, 0.0, 1.0)
        self.epsilon = positive("epsilon", epsilon)
        self.weight_decay = not_negative("weight_decay", weight_decay)

    def slots(self) -> tuple[str, ...]:
        return "square", "move"

    def update(self, params: Array, grads: Array, state: Mapping[str, Array], lr: float, step: int) -> None:
        if self.weight_decay:
            grads += self.weight_decay * params
        square, moved = state["square"], state["move"]
        square *= self.rho
        square += (1 - self.rho) * np.square(grads)
        grads *= np.sqrt(moved + self.epsilon)
        grads /= np.sqrt(square + self.epsilon)
        moved *= self.rho
        moved += (1 - self.rho) * np.square(grads)
        grads *= lr
        params -= grads


class RMSprop(Optimizer):
    """Divides by the root of the running mean of the squares; if centered, without that of the gradients' own mean.

    g = g + weight_decay * p
    s = alpha * s + (1 - alpha) * g^2    s, m and b are 0 before the first step
    m = alpha * m + (1 - alpha) * g      if centered; else m = 0
    b = momentum * b + g / (sqrt(s - m^2) + epsilon)
    p = p - lr * b

    p, g, s, m, b: (P,). Raises ConfigError for lr <= 0, alpha or momentum outside [0, 1), epsilon <= 0, or
    weight_decay < 0.
    Source: Tieleman, Hinton (2012), Lecture 6.5, RMSprop; Graves (2013), Generating Sequences With Recurrent Neural
    Networks (centered).
    """

    twin = "torch.optim.RMSprop"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("RMSprop(0.01)", (), "lr=0.01"),
        Example("RMSprop(0.01, alpha=0.9, epsilon=1e-3, weight_decay=0.1)", (), "0.01, 0.9, 1e-3, 0.1"),
        Example("RMSprop(0.005, momentum=0.9)", (), "lr=0.005, momentum=0.9"),
        Example("RMSprop(0.01, centered=True)", (), "lr=0.01, centered=True"),
        Example("RMSprop(0.005, momentum=0.5, centered=True)", (), "lr=0.005, momentum=0.5, centered=True"),
    )

    def __init__(
        self,
        lr: float = 0.01,
        alpha: float = 0.99,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        self.lr = positive("lr", lr)
        self.alpha = in_range("alpha", alpha, 0.0, 1.0)
        self.epsilon = positive("epsilon", epsilon)
        self.weight_decay = not_negative("weight_decay", weight_decay)
        self.momentum = in_range("momentum", momentum, 0.0, 1.0)
        self.centered = true_or_false("centered", centered)

    def slots(self) -> tuple[str, ...]:
        used = {"square": True, "mean": self.centered, "velocity": self.momentum}
        return tuple(name for name, is_used in used.items() if is_used)

    def update(self, params: Array, grads: Array, state: Mapping[str, Array], lr: float, step: int) -> None:
        if self.weight_decay:
            grads += self.weight_decay * params
        square = state["square"]
        square *= self.alpha
        square += (1 - self.alpha) * np.square(grads)
        root = square
        if self.centered:
            mean = state["mean"]
            mean *= self.alpha
            mean += (1 - self.alpha) * grads
            root = np.maximum(square - np.square(mean), 0)  # no variance is below 0, but for rounding
        root = np.sqrt(root)
        root += self.epsilon
        move = np.divide(grads, root, out=grads)
        if self.momentum:
            velocity = state["velocity"]
            velocity *= self.momentum
            velocity += move
            move = velocity
        params -= np.multiply(move, lr, out=grads)
