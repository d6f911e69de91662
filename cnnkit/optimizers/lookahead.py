"""Optimizers around another optimizer."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from cnnkit.components.checks import from_to, positive, whole
from cnnkit.components.training_contracts import Optimizer
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError
from cnnkit.types import Array, Example

SLOW = "slow"


class Lookahead(Optimizer):
    """Slow weights follow those that another optimizer moves, every `k` steps, and are then where it goes on from.

    p = what the optimizer makes of p            s = p before the first step, t = 1
    s = s + alpha * (p - s);  p = s              after every k-th step

    optimizer: such as SGD(0.1, momentum=0.9), whose lr is that of the training; p, s: (P,). Raises ConfigError for an
    optimizer that has slow weights already, k < 1, or alpha outside (0, 1].
    Source: Zhang, Lucas, Hinton, Ba (2019), Lookahead Optimizer: k steps forward, 1 step back, algorithm 1.
    """

    examples: ClassVar[tuple[Example, ...]] = (
        Example("Lookahead(SGD(0.05, momentum=0.9))", ()),
        Example("Lookahead(AdamW(0.02, weight_decay=0.1), k=6, alpha=0.8)", ()),
        Example("Lookahead(LAMB(0.02), k=1)", ()),
    )

    def __init__(self, optimizer: Optimizer, k: int = 5, alpha: float = 0.5) -> None:
        given: Any = optimizer
        if not isinstance(given, Optimizer) or SLOW in given.slots():
            raise ConfigError(
                f"Lookahead expects an optimizer without slow weights, such as SGD(0.1), got {shown(given)}"
            )
        self.optimizer = optimizer
        self.k = whole("k", k)
        self.alpha = from_to("alpha", positive("alpha", alpha), 0.0, 1.0)
        self.lr = optimizer.lr
        self.scope = optimizer.scope

    def slots(self) -> tuple[str, ...]:
        return (*self.optimizer.slots(), SLOW)

    def update(self, params: Array, grads: Array, state: Mapping[str, Array], lr: float, step: int) -> None:
        slow = state[SLOW]
        if step == 1:
            slow[...] = params
        self.optimizer.update(params, grads, state, lr, step)
        if step % self.k == 0:
            slow += self.alpha * np.subtract(params, slow, out=grads)
            params[...] = slow

    @property
    def weight_decay(self) -> float:
        """Of the other optimizer."""
        return getattr(self.optimizer, "weight_decay", 0.0)

    def decayed(self, factor: float) -> Optimizer:
        changed = copy.copy(self)
        changed.optimizer = self.optimizer.decayed(factor)
        return changed
