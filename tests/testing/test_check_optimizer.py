"""check_optimizer must find each planted fault by name, and refuse no optimizer that is right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest

from cnnkit.components import Optimizer
from cnnkit.errors import CheckError, ComponentError, ConfigError
from cnnkit.optimizers import SGD
from cnnkit.testing import check_optimizer
from cnnkit.types import Array

State = Any


class Plain(Optimizer):
    """The right optimizer that the faulty ones are made from: gradient descent."""

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


class Whole(Plain):
    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params -= lr * grads / np.linalg.norm(grads)


class Centred(Plain):
    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params -= lr * (grads - grads.mean())


class Rebind(Momentum):
    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        state["m"] = 0.9 * state["m"] + grads
        params -= lr * state["m"]


class NewSlot(Plain):
    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        state["m"] = grads.copy()
        params -= lr * state["m"]


class OnSelf(Plain):
    def __init__(self, lr: float = 0.1) -> None:
        super().__init__(lr)
        self._m: Any = 0

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        self._m = 0.9 * self._m + grads
        params -= lr * self._m


class OnTheClass(Plain):
    steps: ClassVar[list[int]] = []

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        self.steps.append(step)
        params -= lr * grads / len(self.steps)


class Nowhere(Plain):
    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params = params - lr * grads


class Uphill(Plain):
    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params += lr * grads


class OwnRate(Plain):
    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params -= self.lr * grads


class Decays(Plain):
    """Changes its own configuration."""

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        self.lr *= 0.99
        params -= lr * grads


class UnusedSlot(Momentum):
    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params -= lr * (0.9 * state["m"] + grads)


class NoEpsilon(Momentum):
    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        state["m"][...] = 0.9 * state["m"] + 0.1 * grads**2
        params -= lr * grads / np.sqrt(state["m"])


class Neighbours(Plain):
    """Reaches beyond the slice that it was given."""

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        base = params.base if params.base is not None else params
        params -= lr * grads
        base[:1] += 1


class NoRate(Plain):
    def __init__(self, rate: float = 0.1) -> None:
        self.rate = rate


class SlotsInAList(Momentum):
    def slots(self) -> tuple[str, ...]:
        return ["m"]  # type: ignore[return-value]


class GlobalNoise(Plain):
    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params -= lr * (grads + 0.01 * np.random.normal(size=grads.shape).astype(grads.dtype))


FAULTS: list[tuple[Optimizer, str, str]] = [
    (Whole(), "slices", "params updated in 2 slices, as workers do; each number must be updated by itself"),
    (Centred(), "slices", "expected the same values bit for bit"),
    (Rebind(), "in place", r"update made state\['m'\] another array, which is lost after the step"),
    (NewSlot(), "in place", r"state\['m'\] another array.*: give its name in slots, and write into it"),
    (OnSelf(), "fresh start", "a call changed self._m; keep nothing between calls"),
    (OnTheClass(), "fresh start", r"a call changed OnTheClass.steps"),
    (Nowhere(), "in place", "update changed no parameter in several steps: write into params"),
    (Uphill(), "direction", "the parameters went up the slope of the loss, or stayed: move them against the gradient"),
    (OwnRate(), "rate", "the argument lr changes nothing: take it for the rate, not self.lr"),
    (Decays(), "fresh start", "a call changed self.lr"),
    (UnusedSlot(), "slots are used", r"state\['m'\] is still 0 after 24 steps"),
    (NoEpsilon(), "finite", "params is nan after gradients of 0: keep quotients finite"),
    (Neighbours(), "in place", "parameters beside those that were given: expected the same values"),
    (NoRate(), "attributes", "lr must be a number above 0, got None"),
    (SlotsInAList(), "attributes", r"slots must give a tuple of different names, got \['m'\]"),
    (GlobalNoise(), "fresh start", "global random numbers were drawn"),
]


@pytest.mark.parametrize(("one", "check", "reason"), FAULTS, ids=[type(one).__name__ for one, *_ in FAULTS])
def test_each_fault_is_found_and_named(one: Optimizer, check: str, reason: str) -> None:
    with pytest.raises(CheckError, match=reason) as caught:
        check_optimizer(one)
    assert f"fails the check {check!r}: " in str(caught.value)


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


@pytest.mark.parametrize("one", [Plain(), Momentum(), Sign(), Lookahead(), Largest(), Warm(), SGD(5.0)], ids=repr)
def test_none_that_is_right_is_refused(one: Optimizer) -> None:
    check_optimizer(one)


def test_expressions() -> None:
    check_optimizer("SGD(0.1, momentum=0.9)")
    with pytest.raises(ComponentError, match="there is no optimizer named 'Adan'"):
        check_optimizer("Adan()")
    with pytest.raises(ConfigError, match="lr must be a number above 0"):
        check_optimizer("SGD(0)")
