"""Adam, and Adam with decoupled weight decay."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from cnnkit.components.checks import in_range, not_negative, positive, true_or_false
from cnnkit.components.training_contracts import Optimizer
from cnnkit.types import Array, Example


class _Adaptive(Optimizer):
    """Adam's arguments, and its running estimates of each gradient's mean and square."""

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

    def _estimates(self, grads: Array, state: Mapping[str, Array]) -> tuple[Array, Array]:
        """Both estimates, with this gradient."""
        mean, square = state["mean"], state["square"]
        mean *= self.beta1
        mean += (1 - self.beta1) * grads
        square *= self.beta2
        square += (1 - self.beta2) * np.square(grads)
        return mean, square


class Adam(_Adaptive):
    """Steps scaled by running estimates of each gradient's mean and square; weight decay joins the gradient.

    g = g + weight_decay * p
    m = beta1 * m + (1 - beta1) * g      m and v are 0 before the first step, t = 1
    v = beta2 * v + (1 - beta2) * g^2
    w = v                                with amsgrad: max(w, v)
    p = p - lr * m / (1 - beta1^t) / (sqrt(w / (1 - beta2^t)) + epsilon)

    p, g, m, v, w: (P,). Raises ConfigError for lr <= 0, a beta outside [0, 1), epsilon <= 0, or weight_decay < 0.
    Source: Kingma, Ba (2015), Adam: A Method for Stochastic Optimization; amsgrad: Reddi, Kale, Kumar (2018), On the
    Convergence of Adam and Beyond.
    """

    twin = "torch.optim.Adam"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("Adam(0.01)", (), "lr=0.01"),
        Example("Adam(0.01, beta1=0.8, beta2=0.99, epsilon=1e-3)", (), "lr=0.01, betas=(0.8, 0.99), eps=1e-3"),
        Example("Adam(0.01, beta1=0.0)", (), "lr=0.01, betas=(0.0, 0.999)"),
        Example("Adam(0.01, weight_decay=0.1)", (), "lr=0.01, weight_decay=0.1"),
        Example("Adam(0.01, beta2=0.9, amsgrad=True)", (), "lr=0.01, betas=(0.9, 0.9), amsgrad=True"),
    )

    def __init__(
        self,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(lr, beta1, beta2, epsilon, weight_decay)
        self.amsgrad = true_or_false("amsgrad", amsgrad)

    def slots(self) -> tuple[str, ...]:
        return ("mean", "square", "largest") if self.amsgrad else ("mean", "square")

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
        if self.amsgrad:
            square = np.maximum(state["largest"], square, out=state["largest"])
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
    w = v                                with amsgrad: max(w, v)
    p = p - lr * m / (1 - beta1^t) / (sqrt(w / (1 - beta2^t)) + epsilon)

    p, g, m, v, w: (P,). Raises ConfigError as Adam does.
    Source: Loshchilov, Hutter (2019), Decoupled Weight Decay Regularization.
    """

    twin = "torch.optim.AdamW"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("AdamW(0.01)", (), "lr=0.01"),
        Example("AdamW(0.01, weight_decay=0.3)", (), "lr=0.01, weight_decay=0.3"),
        Example("AdamW(0.01, beta2=0.9, amsgrad=True)", (), "lr=0.01, betas=(0.9, 0.9), amsgrad=True"),
    )

    def __init__(
        self,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(lr, beta1, beta2, epsilon, weight_decay, amsgrad)

    def update(self, params: Array, grads: Array, state: Mapping[str, Array], lr: float, step: int) -> None:
        params *= 1 - lr * self.weight_decay
        self._step(params, grads, state, lr, step)
