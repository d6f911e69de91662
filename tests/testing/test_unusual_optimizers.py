"""Optimizers that are right but unusual: check_optimizer must refuse none of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from cnnkit.components import Optimizer
from cnnkit.optimizers import SGD, Adam, AdamW
from cnnkit.testing import check_optimizer
from cnnkit.types import Array, Scope
from tests.testing.right_optimizers import Momentum, Plain, State


class Sign(Plain):
    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params -= lr * np.sign(grads)


class Lookahead(Plain):
    """Slow weights, which follow every fifth step; each number by itself."""

    def slots(self) -> tuple[str, ...]:
        return "slow", "begun"

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        state["slow"][...] = np.where(state["begun"] == 0, params, state["slow"])
        state["begun"][...] = 1
        params -= lr * grads
        if step % 5 == 0:
            state["slow"] += 0.5 * (params - state["slow"])
            params[...] = state["slow"]


class Averaged(Plain):
    """From a step on, the parameters are the mean of where gradient descent was in all steps since."""

    def __init__(self, lr: float = 0.1, begin: int = 50) -> None:
        super().__init__(lr)
        self.begin = begin

    def slots(self) -> tuple[str, ...]:
        return ("last",)

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        if step < self.begin:
            params -= lr * grads
            return
        if step == self.begin:
            state["last"][...] = params
        state["last"] -= lr * grads
        params += (state["last"] - params) / (step - self.begin + 1)


class Shrinks(Plain):
    """Weight decay in proportion to the rate, all at once."""

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params *= np.exp(-lr)
        params -= lr * grads


class Velocity(Plain):
    """The rate is in what is remembered, which goes on where the rate is 0."""

    def slots(self) -> tuple[str, ...]:
        return ("v",)

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        state["v"][...] = 0.9 * state["v"] - lr * grads
        params += state["v"]


class Largest(Plain):
    """A maximum over the steps (AMSGrad's), in float64 inside."""

    def slots(self) -> tuple[str, ...]:
        return ("largest",)

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        np.maximum(state["largest"], grads.astype(np.float64) ** 2, out=state["largest"], casting="unsafe")
        params -= lr * grads / (np.sqrt(state["largest"]) + 1e-8)


class Warm(Plain):
    """Does nothing in its first step, and spends the gradient."""

    def update(self, params: Array, grads: Array, state: Mapping[str, Array], lr: float, step: int) -> None:
        grads *= lr * (step > 1)
        params -= grads


class Normalised(Plain):
    """Moves each parameter by the same length."""

    scope: Scope = "parameters"

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params -= lr * grads / (np.linalg.norm(grads) + 1e-8)


class AllNormalised(Normalised):
    scope: Scope = "network"


RIGHT = [
    Plain(),
    Momentum(),
    Sign(),
    Lookahead(),
    Averaged(begin=1),
    Averaged(begin=50),
    Velocity(),
    Shrinks(),
    Largest(),
    Warm(),
    Normalised(),
    AllNormalised(),
    SGD(5.0),
    SGD(0.1, momentum=0.99, weight_decay=0.5),
    Adam(beta1=0.99, weight_decay=0.5),
    AdamW(weight_decay=1.0),
]


@pytest.mark.parametrize("one", RIGHT, ids=repr)
def test_none_is_refused(one: Optimizer) -> None:
    check_optimizer(one)
