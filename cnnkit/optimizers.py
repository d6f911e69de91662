"""Optimizers: how a step changes the parameters, all of them in one flat vector, in place."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from cnnkit.components.checks import in_range, not_negative, positive, true_or_false
from cnnkit.components.contracts import Optimizer
from cnnkit.errors import ConfigError
from cnnkit.types import Array


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

    def __init__(
        self, lr: float = 0.01, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
    ) -> None:
        self.lr = positive("lr", lr)
        self.momentum = in_range("momentum", momentum, 0.0, 1.0)
        self.nesterov = true_or_false("nesterov", nesterov)
        self.weight_decay = not_negative("weight_decay", weight_decay)
        if nesterov and not momentum:
            raise ConfigError("nesterov=True needs momentum above 0, got momentum=0.0; try momentum=0.9")

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


class Adam(Optimizer):
    """Steps scaled by running estimates of each gradient's mean and square; weight decay joins the gradient.

    g = g + weight_decay * p
    m = beta1 * m + (1 - beta1) * g      m and v are 0 before the first step, t = 1
    v = beta2 * v + (1 - beta2) * g^2
    p = p - lr * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)

    p, g, m, v: (P,). Raises ConfigError for lr <= 0, a beta outside [0, 1), epsilon <= 0, or weight_decay < 0.
    Source: Kingma, Ba (2015), Adam: A Method for Stochastic Optimization.
    """

    def __init__(
        self,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.lr = positive("lr", lr)
        self.beta1 = in_range("beta1", beta1, 0.0, 1.0)
        self.beta2 = in_range("beta2", beta2, 0.0, 1.0)
        self.epsilon = positive("epsilon", epsilon)
        self.weight_decay = not_negative("weight_decay", weight_decay)

    def slots(self) -> tuple[str, ...]:
        return "mean", "square"

    def update(self, params: Array, grads: Array, state: Mapping[str, Array], lr: float, step: int) -> None:
        if self.weight_decay:
            grads += self.weight_decay * params
        self._step(params, grads, state, lr, step)

    def _step(self, params: Array, grads: Array, state: Mapping[str, Array], lr: float, step: int) -> None:
        # Both estimates are kept as plain sums, m / (1 - beta1) and v / (1 - beta2), which saves three passes.
        mean, square = state["mean"], state["square"]
        mean *= self.beta1
        mean += grads
        grads *= grads
        square *= self.beta2
        square += grads
        scale = math.sqrt((1 - self.beta2) / (1 - self.beta2**step))
        move = np.sqrt(square, out=grads)
        move += self.epsilon / scale
        np.divide(mean, move, out=move)
        move *= lr * (1 - self.beta1) / (1 - self.beta1**step) / scale
        params -= move


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters directly and stays out of the running estimates.

    p = p - lr * weight_decay * p
    m = beta1 * m + (1 - beta1) * g      m and v are 0 before the first step, t = 1
    v = beta2 * v + (1 - beta2) * g^2
    p = p - lr * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)

    p, g, m, v: (P,). Raises ConfigError as Adam does.
    Source: Loshchilov, Hutter (2019), Decoupled Weight Decay Regularization.
    """

    def __init__(
        self,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(lr, beta1, beta2, epsilon, weight_decay)

    def update(self, params: Array, grads: Array, state: Mapping[str, Array], lr: float, step: int) -> None:
        params *= 1 - lr * self.weight_decay
        self._step(params, grads, state, lr, step)


OPTIMIZERS: tuple[type[Optimizer], ...] = (SGD, Adam, AdamW)
