"""Optimizers that scale the step of each parameter to the parameter's own size, for large batches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from cnnkit.components.checks import in_range, not_negative, positive
from cnnkit.components.training_contracts import Optimizer
from cnnkit.optimizers.adam import _Adaptive
from cnnkit.types import Array, Example, Scope


class LAMB(_Adaptive):
    """Adam whose step has for each parameter the parameter's own length.

    m = beta1 * m + (1 - beta1) * g      m and v are 0 before the first step, t = 1
    v = beta2 * v + (1 - beta2) * g^2
    u = m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon) + weight_decay * p
    p = p - lr * |p| / |u| * u           |p| / |u| is 1 where p or u is 0

    p, g, m, v: one parameter, such as a bias (F,) or a kernel (F, C, kh, kw). Raises ConfigError for lr <= 0, a beta
    outside [0, 1), epsilon <= 0, or weight_decay < 0.
    Source: You et al. (2020), Large Batch Optimization for Deep Learning: Training BERT in 76 minutes, algorithm 2.
    """

    scope: Scope = "parameters"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("LAMB(0.01)", ()),
        Example("LAMB(0.01, beta1=0.8, beta2=0.99, epsilon=1e-3)", ()),
        Example("LAMB(0.01, weight_decay=0.1)", ()),
    )

    def __init__(
        self,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr, beta1, beta2, epsilon, weight_decay)

    def update(self, params: Array, grads: Array, state: Mapping[str, Array], lr: float, step: int) -> None:
        mean, square = self._estimates(grads, state)
        root = np.sqrt(square / (1 - self.beta2**step))
        root += self.epsilon
        move = mean / (1 - self.beta1**step)
        move /= root
        if self.weight_decay:
            move += self.weight_decay * params
        move *= lr * _ratio(norm(params), norm(move))
        params -= move


class LARS(Optimizer):
    """Gradient descent with momentum, where the rate of each parameter is its length by that of its gradient.

    r = trust_coefficient * |p| / (|g| + weight_decay * |p| + epsilon)     1 where p or g is 0
    v = momentum * v + lr * r * (g + weight_decay * p)                     v is 0 before the first step
    p = p - v

    p, g, v: one parameter, such as a bias (F,) or a kernel (F, C, kh, kw). Raises ConfigError for lr,
    trust_coefficient or epsilon <= 0, momentum outside [0, 1), or weight_decay < 0.
    Source: You, Gitman, Ginsburg (2017), Large Batch Training of Convolutional Networks, algorithm 1.
    """

    scope: Scope = "parameters"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("LARS(1.0)", ()),
        Example("LARS(2.0, momentum=0.5, weight_decay=0.1)", ()),
        Example("LARS(0.5, momentum=0.0, trust_coefficient=0.01, epsilon=1e-3)", ()),
    )

    def __init__(
        self,
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        epsilon: float = 1e-8,
    ) -> None:
        self.lr = positive("lr", lr)
        self.momentum = in_range("momentum", momentum, 0.0, 1.0)
        self.weight_decay = not_negative("weight_decay", weight_decay)
        self.trust_coefficient = positive("trust_coefficient", trust_coefficient)
        self.epsilon = positive("epsilon", epsilon)

    def slots(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    def update(self, params: Array, grads: Array, state: Mapping[str, Array], lr: float, step: int) -> None:
        size, slope = norm(params), norm(grads)
        ratio = 1.0
        if size and slope:
            ratio = self.trust_coefficient * size / (slope + self.weight_decay * size + self.epsilon)
        if self.weight_decay:
            grads += self.weight_decay * params
        grads *= lr * ratio
        if self.momentum:
            velocity = state["velocity"]
            velocity *= self.momentum
            velocity += grads
            grads = velocity
        params -= grads


def norm(values: Array) -> float:
    """The Euclidean norm, in float64: squares of large numbers overflow in float32, and those of small ones vanish."""
    return math.sqrt(float(np.square(values, dtype=np.float64).sum()))


def _ratio(one: float, other: float) -> float:
    return one / other if one and other else 1.0
