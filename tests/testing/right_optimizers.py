"""Right optimizers that faulty ones are made from."""

from __future__ import annotations

from typing import Any

from cnnkit.components import Optimizer
from cnnkit.types import Array

State = Any


class Plain(Optimizer):
    """Gradient descent."""

    def __init__(self, lr: float = 0.1) -> None:
        self.lr = lr

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params -= lr * grads


class Momentum(Plain):
    """And with momentum."""

    def slots(self) -> tuple[str, ...]:
        return ("m",)

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        state["m"][...] = 0.9 * state["m"] + grads
        params -= lr * state["m"]
