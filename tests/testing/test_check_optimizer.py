"""check_optimizer must find each planted fault by name, and refuse no optimizer that is right."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from cnnkit.components import Optimizer
from cnnkit.errors import CheckError, ComponentError, ConfigError
from cnnkit.testing import check_optimizer
from cnnkit.types import Array, Scope
from tests.testing.right_optimizers import Momentum, Plain, State

STEPS = 6
"""How long the rate stays the same in the check."""


class Whole(Plain):
    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params -= lr * grads / np.linalg.norm(grads)


class WholeLater(Plain):
    """Looks at other numbers once it has begun."""

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params -= lr * grads / (np.abs(grads).max() + 1e-8 if step > 50 else 1)


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


class OnSelfLater(Plain):
    best = 0.0

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        if step > 50:
            self.best = max(self.best, float(np.abs(grads).max()))
        params -= lr * grads / (1 + self.best)


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


class OwnRateToo(Plain):
    """Takes a thousandth of the rate from the schedule."""

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params -= (self.lr + 1e-3 * lr) * grads


class LeastRate(Plain):
    """A schedule cannot go below a rate, but for 0."""

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params -= (max(lr, 1e-3) if lr else 0.0) * grads


class SquaredRate(Plain):
    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params -= lr * (lr / self.lr) * grads


class UnscaledDecay(Plain):
    """The parameters shrink whatever the rate."""

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params *= 1 - 1e-4
        params -= lr * grads


class Relative(Momentum):
    """Counts in rates, and divides by one that is 0."""

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        state["m"][...] = 0.9 * state["m"] + np.float64(lr) * grads
        params -= lr * (state["m"] / np.float64(lr))


class DividesLater(Momentum):
    """A rate of 0 is only divided by where it follows another."""

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        state["m"][...] = state["m"] + grads / np.float64(lr if step > STEPS else 1)
        params -= lr * grads


class Cancels(Plain):
    """Goes down and up in turn."""

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params += lr * grads * (-1) ** step


class Grows(Plain):
    """Weight decay with the wrong sign."""

    decay = 1e-4

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params -= lr * (grads - self.decay * params)


class GrowsBeside(Grows):
    """The same, beside the gradient."""

    decay = 0.01

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params *= 1 + lr * self.decay
        params -= lr * np.sign(grads)


class TurnsBack(Plain):
    """Goes up from its seventh step on."""

    turn = 7

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params -= (lr if step < self.turn else -lr) * grads


class TurnsBackLate(TurnsBack):
    turn = 80


class TurnsForAWhile(Plain):
    """Goes up in some steps, and is down in the end."""

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params -= (-lr if 7 <= step < 40 else lr) * grads


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
        return ["m"]  # type: ignore[return-value]  # wrong on purpose


class GlobalNoise(Plain):
    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        params -= lr * (grads + 0.01 * np.random.normal(size=grads.shape).astype(grads.dtype))


class NoScope(Plain):
    scope = "layers"  # type: ignore[assignment]  # wrong on purpose


class ParameterAndOthers(Plain):
    """Is given one parameter, and looks at what the others are by now."""

    scope: Scope = "parameters"

    def update(self, params: Array, grads: Array, state: State, lr: float, step: int) -> None:
        base = params if params.base is None else params.base
        params -= lr * grads / np.linalg.norm(base)


FAULTS: list[tuple[Optimizer, str, str]] = [
    (Whole(), "slices", "params updated in 2 slices, as workers do; each number must be updated independently"),
    (WholeLater(), "slices", "params updated in 2 slices"),
    (Centred(), "slices", "expected the same values bit for bit"),
    (Rebind(), "in place", r"update made state\['m'\] another array, which is lost after the step"),
    (NewSlot(), "in place", r"state\['m'\] another array.*: give its name in slots, and write into it"),
    (OnSelf(), "fresh start", "a call changed self._m; keep nothing between calls"),
    (
        OnSelfLater(),
        "fresh start",
        "params in a second training, which must start from scratch; keep what it remembers in state",
    ),
    (OnTheClass(), "fresh start", r"a call changed OnTheClass.steps"),
    (Nowhere(), "in place", "update changed no parameter in several steps: write into params"),
    (
        Uphill(),
        "direction",
        "at step 1 the parameters are up the slope of the loss: move them against the gradient",
    ),
    (TurnsBack(), "direction", "at step 13 the parameters are up the slope of the loss"),
    (TurnsBackLate(), "direction", "at step 159 the parameters are up the slope"),
    (TurnsForAWhile(), "direction", "at step 13 the parameters are up the slope"),
    (Cancels(), "direction", "after 300 steps the parameters are where they were: move them against the gradient"),
    (
        Grows(),
        "decay",
        "grew from .* to .* while all gradients were 0: weight decay must shrink them, such as params -=",
    ),
    (GrowsBeside(), "decay", "the norm of the parameters grew"),
    (
        OwnRate(),
        "rate",
        "moved by up to .* at lr = 0, .*: multiply all that moves them by the argument lr, not self.lr",
    ),
    (OwnRateToo(), "rate", "parameters moved by up to .* at lr = 0, which a schedule may give"),
    (UnscaledDecay(), "rate", "parameters moved by up to .* at lr = 0"),
    (LeastRate(), "rate", r"at lr = 0.0001 and by .* at a tenth of it: their movement must be in proportion to the"),
    (SquaredRate(), "rate", "their movement must be in proportion to the argument lr"),
    (Relative(), "finite", "params is nan after steps at rates of 0 and 0.01 in turn: keep quotients finite"),
    (
        DividesLater(),
        "finite",
        r"state\['m'\] is (nan|inf|-inf) after steps at rates of 0 and 0.01 in turn: .* never divide by the rate",
    ),
    (Decays(), "fresh start", "a call changed self.lr"),
    (UnusedSlot(), "slots are used", r"state\['m'\] is still 0 after 300 steps: .*; if it is used later"),
    (NoEpsilon(), "finite", "params is nan after gradients of 0: keep quotients finite"),
    (Neighbours(), "in place", "parameters beside those that were given: expected the same values"),
    (NoScope(), "attributes", "must have a scope among 'numbers', 'parameters', 'network', got 'layers'"),
    (ParameterAndOthers(), "slices", "params updated from the last parameter to the first, as workers may"),
    (NoRate(), "attributes", "lr must be a number above 0, got None"),
    (SlotsInAList(), "attributes", r"slots must give a tuple of different names, got \['m'\]"),
    (GlobalNoise(), "fresh start", "global random numbers were drawn"),
]


@pytest.mark.parametrize(("one", "check", "reason"), FAULTS, ids=[type(one).__name__ for one, *_ in FAULTS])
def test_each_fault_is_found_and_named(one: Optimizer, check: str, reason: str) -> None:
    with pytest.raises(CheckError, match=reason) as caught:
        check_optimizer(one)
    assert f"fails the check {check!r}: " in str(caught.value)


def test_expressions() -> None:
    check_optimizer("SGD(0.1, momentum=0.9)")
    with pytest.raises(ComponentError, match="there is no optimizer named 'Adan'"):
        check_optimizer("Adan()")
    with pytest.raises(ConfigError, match="lr must be a number above 0"):
        check_optimizer("SGD(0)")
