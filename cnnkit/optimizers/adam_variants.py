"""Relatives of Adam: another norm, a look ahead, a start without guesses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from cnnkit.components.checks import not_negative, true_or_false
from cnnkit.optimizers.adam import _Adaptive
from cnnkit.types import Array, Example

NEGLIGIBLE = 2.0**-60
"""A factor that is so small changes no sum with 1."""


class Adamax(_Adaptive):
    """Adam with the largest gradient in place of the mean square.

    g = g + weight_decay * p
    m = beta1 * m + (1 - beta1) * g      m and u are 0 before the first step, t = 1
    u = max(beta2 * u, |g| + epsilon)
    p = p - lr / (1 - beta1^t) * m / u

    p, g, m, u: (P,). Raises ConfigError for lr <= 0, a beta outside [0, 1), epsilon <= 0, or weight_decay < 0.
    Source: Kingma, Ba (2015), Adam: A Method for Stochastic Optimization, section 7.1.
    """

    twin = "torch.optim.Adamax"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("Adamax(0.01)", (), "lr=0.01"),
        Example("Adamax(0.02, beta1=0.8, beta2=0.9, epsilon=1e-3)", (), "lr=0.02, betas=(0.8, 0.9), eps=1e-3"),
        Example("Adamax(0.01, weight_decay=0.1)", (), "lr=0.01, weight_decay=0.1"),
    )

    def __init__(
        self,
        lr: float = 0.002,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr, beta1, beta2, epsilon, weight_decay)

    def slots(self) -> tuple[str, ...]:
        return "mean", "largest"

    def update(self, params: Array, grads: Array, state: Mapping[str, Array], lr: float, step: int) -> None:
        if self.weight_decay:
            grads += self.weight_decay * params
        mean, largest = state["mean"], state["largest"]
        mean *= self.beta1
        mean += (1 - self.beta1) * grads
        largest *= self.beta2
        np.abs(grads, out=grads)
        grads += self.epsilon
        np.maximum(largest, grads, out=largest)
        move = np.divide(mean, largest, out=grads)
        move *= lr / (1 - self.beta1**step)
        params -= move


class _Decoupling(_Adaptive):
    """Weight decay of both kinds."""

    def __init__(
        self,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
    ) -> None:
        super().__init__(lr, beta1, beta2, epsilon, weight_decay)
        self.decoupled_weight_decay = true_or_false("decoupled_weight_decay", decoupled_weight_decay)

    def _decay(self, params: Array, grads: Array, lr: float) -> None:
        if self.weight_decay and self.decoupled_weight_decay:
            params *= 1 - lr * self.weight_decay
        elif self.weight_decay:
            grads += self.weight_decay * params


class NAdam(_Decoupling):
    """Adam with Nesterov's look-ahead: the momentum of the next step is in this one.

    g   = g + weight_decay * p                              if decoupled: p = p - lr * weight_decay * p
    m   = beta1 * m + (1 - beta1) * g                       m and v are 0 before the first step, t = 1
    v   = beta2 * v + (1 - beta2) * g^2
    c_t = beta1 * (1 - 0.96^(t * momentum_decay) / 2)       C_t = c_1 * c_2 * ... * c_t
    d   = (1 - c_t) / (1 - C_t) * g + c_(t+1) / (1 - C_(t+1)) * m
    p   = p - lr * d / (sqrt(v / (1 - beta2^t)) + epsilon)

    p, g, m, v: (P,). Raises ConfigError for lr <= 0, a beta outside [0, 1), epsilon <= 0, weight_decay < 0, or
    momentum_decay < 0.
    Source: Dozat (2016), Incorporating Nesterov Momentum into Adam.
    """

    twin = "torch.optim.NAdam"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("NAdam(0.01)", (), "lr=0.01"),
        Example("NAdam(0.01, beta1=0.8, beta2=0.99, epsilon=1e-3)", (), "lr=0.01, betas=(0.8, 0.99), eps=1e-3"),
        Example("NAdam(0.01, weight_decay=0.1)", (), "lr=0.01, weight_decay=0.1"),
        Example(
            "NAdam(0.01, weight_decay=0.1, decoupled_weight_decay=True, momentum_decay=0.1)",
            (),
            "lr=0.01, weight_decay=0.1, decoupled_weight_decay=True, momentum_decay=0.1",
        ),
    )

    def __init__(
        self,
        lr: float = 0.002,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        momentum_decay: float = 0.004,
    ) -> None:
        super().__init__(lr, beta1, beta2, epsilon, weight_decay, decoupled_weight_decay)
        self.momentum_decay = not_negative("momentum_decay", momentum_decay)

    def update(self, params: Array, grads: Array, state: Mapping[str, Array], lr: float, step: int) -> None:
        self._decay(params, grads, lr)
        mean, square = self._estimates(grads, state)
        now, ahead = self._momenta(np.array([step, step + 1], np.float64)).tolist()
        product = self._product(step)
        root = np.sqrt(square / (1 - self.beta2**step))
        root += self.epsilon
        grads *= (1 - now) / (1 - product)
        grads += ahead / (1 - product * ahead) * mean
        grads *= lr
        params -= np.divide(grads, root, out=grads)

    def _momenta(self, steps: Array) -> Array:
        return np.asarray(self.beta1 * (1 - 0.5 * 0.96 ** (steps * self.momentum_decay)))

    def _product(self, step: int) -> float:
        """Of the momenta of all steps so far: worked out anew, as nothing is remembered but vectors.

        Each is below beta1, so that few of them make a product too small to matter.
        """
        enough = math.ceil(math.log(NEGLIGIBLE) / math.log(self.beta1)) if self.beta1 else 1
        return float(np.prod(self._momenta(np.arange(1, min(step, enough) + 1, dtype=np.float64))))


class RAdam(_Decoupling):
    """Adam that waits with scaling until the variance of its estimates is known well enough, and scales by that.

    g = g + weight_decay * p             if decoupled: p = p - lr * weight_decay * p
    m = beta1 * m + (1 - beta1) * g      m and v are 0 before the first step, t = 1
    v = beta2 * v + (1 - beta2) * g^2
    R = 2 / (1 - beta2) - 1
    r = R - 2 t beta2^t / (1 - beta2^t)
    d = m / (1 - beta1^t)
    d = d * sqrt((r - 4) (r - 2) R / ((R - 4) (R - 2) r)) * sqrt(1 - beta2^t) / (sqrt(v) + epsilon)    if r > 5
    p = p - lr * d

    p, g, m, v: (P,). Raises ConfigError for lr <= 0, a beta outside [0, 1), epsilon <= 0, or weight_decay < 0.
    Source: Liu et al. (2020), On the Variance of the Adaptive Learning Rate and Beyond.
    """

    twin = "torch.optim.RAdam"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("RAdam(0.01)", (), "lr=0.01"),
        Example("RAdam(0.01, beta1=0.8, beta2=0.97, epsilon=1e-3)", (), "lr=0.01, betas=(0.8, 0.97), eps=1e-3"),
        Example("RAdam(0.01, weight_decay=0.1)", (), "lr=0.01, weight_decay=0.1"),
        Example(
            "RAdam(0.01, weight_decay=0.1, decoupled_weight_decay=True)",
            (),
            "lr=0.01, weight_decay=0.1, decoupled_weight_decay=True",
        ),
    )

    def update(self, params: Array, grads: Array, state: Mapping[str, Array], lr: float, step: int) -> None:
        self._decay(params, grads, lr)
        mean, square = self._estimates(grads, state)
        factor = lr / (1 - self.beta1**step)
        rest = 1 - self.beta2**step
        longest = 2 / (1 - self.beta2) - 1
        length = longest - 2 * step * (1 - rest) / rest
        if length <= 5:
            params -= np.multiply(mean, factor, out=grads)
            return
        known = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
        root = np.sqrt(square, out=grads)
        root += self.epsilon
        move = np.divide(mean, root, out=root)
        move *= factor * math.sqrt(known * rest)
        params -= move
