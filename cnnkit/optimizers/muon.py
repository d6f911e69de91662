"""Optimizers that look at weights as matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from cnnkit.components.checks import finite, in_range, one_of, true_or_false, whole
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError
from cnnkit.optimizers.adam import AdamW
from cnnkit.optimizers.lamb_lars import norm
from cnnkit.types import Array, Example, Scope

SMALLEST = 1e-7
"""A matrix that is shorter is not made longer."""


class Muon(AdamW):
    """Gradient descent with momentum, whose move of a matrix of weights is made orthogonal; the rest by AdamW.

    m = momentum * m + (1 - momentum) * g        m is 0 before the first step
    d = (1 - momentum) * g + momentum * m        with nesterov; else d = m
    X = d / max(|d|, 1e-7)                       its transpose, if it has more rows than columns
    A = X X^T;  X = a X + (b A + c A A) X        ns_steps times, with a, b, c = ns_coefficients
    p = p - lr * weight_decay * p - lr * s * X
    s = 0.2 sqrt(max(rows, columns))             for "match_rms_adamw": moves are as long as those of AdamW
    s = sqrt(max(1, rows / columns))             for "original"

    The kernels of a convolution, (F, C, kh, kw), are a matrix of F rows. Parameters of one dimension, such as biases,
    are moved as AdamW moves them, with beta1, beta2 and epsilon. The singular values of X come out between 0.7 and 1.2,
    for speed: five steps do not make them equal to 1.
    p, g, m, d: one parameter. Raises ConfigError for lr <= 0, momentum or a beta outside [0, 1), weight_decay < 0,
    ns_steps outside 1 to 99, coefficients that are not three numbers, or another adjust_lr_fn.
    Source: Jordan et al. (2024), Muon: An optimizer for hidden layers in neural networks; Liu et al. (2025), Muon is
    Scalable for LLM Training ("match_rms_adamw").
    """

    scope: Scope = "parameters"
    twin = "torch.optim.Muon"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("Muon(0.01)", (), "lr=0.01, adjust_lr_fn='match_rms_adamw'"),
        Example('Muon(0.01, adjust_lr_fn="original", nesterov=False)', (), "lr=0.01, nesterov=False"),
        Example(
            "Muon(0.01, momentum=0.8, weight_decay=0.5, ns_steps=3, ns_coefficients=(2.0, -1.5, 0.5))",
            (),
            "0.01, 0.5, 0.8, ns_steps=3, ns_coefficients=(2.0, -1.5, 0.5), adjust_lr_fn='match_rms_adamw'",
        ),
    )

    def __init__(
        self,
        lr: float = 0.001,
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.1,
        ns_steps: int = 5,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        adjust_lr_fn: str = "match_rms_adamw",
        beta1: float = 0.9,
        beta2: float = 0.95,
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(lr, beta1, beta2, epsilon, weight_decay)
        self.momentum = in_range("momentum", momentum, 0.0, 1.0)
        self.nesterov = true_or_false("nesterov", nesterov)
        self.ns_steps = int(in_range("ns_steps", whole("ns_steps", ns_steps), 1, 100))
        if not isinstance(ns_coefficients, list | tuple) or len(ns_coefficients) != 3:
            raise ConfigError(f"ns_coefficients must be three numbers, got {shown(ns_coefficients)}")
        a, b, c = (finite(f"ns_coefficients[{number}]", one) for number, one in enumerate(ns_coefficients))
        self.ns_coefficients = a, b, c
        self.adjust_lr_fn = one_of("adjust_lr_fn", adjust_lr_fn, ("match_rms_adamw", "original"))

    def update(self, params: Array, grads: Array, state: Mapping[str, Array], lr: float, step: int) -> None:
        if params.ndim < 2:
            super().update(params, grads, state, lr, step)
            return
        mean = state["mean"]
        mean *= self.momentum
        mean += (1 - self.momentum) * grads
        move = (1 - self.momentum) * grads + self.momentum * mean if self.nesterov else mean
        matrix = move.reshape(len(move), -1)  # (F, C, kh, kw) -> (F, C * kh * kw)
        rows, columns = matrix.shape
        scale = math.sqrt(max(1, rows / columns))
        if self.adjust_lr_fn == "match_rms_adamw":
            scale = 0.2 * math.sqrt(max(rows, columns))
        params *= 1 - lr * self.weight_decay
        params -= (lr * scale * self._orthogonal(matrix)).reshape(params.shape)

    def _orthogonal(self, matrix: Array) -> Array:
        """The nearest matrix whose singular values are all about 1, by Newton and Schulz."""
        a, b, c = self.ns_coefficients
        x = matrix / max(norm(matrix), SMALLEST)
        if is_tall := len(x) > len(x.T):
            x = np.ascontiguousarray(x.T)
        for _ in range(self.ns_steps):
            squares = x @ x.T
            x = a * x + (b * squares + c * (squares @ squares)) @ x
        return x.T if is_tall else x
