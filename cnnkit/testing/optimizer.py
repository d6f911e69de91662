"""The conformance suite for optimizers: everything that training takes for granted about one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import cast

import numpy as np

from cnnkit.components import Optimizer, installed_catalog
from cnnkit.errors import CheckError
from cnnkit.network.session import CHUNK
from cnnkit.testing.comparing import check_expression, check_unchanged_by, equal, named, run_checks, same_bits
from cnnkit.types import Array

SIZE = 3 * CHUNK + 100
"""Numbers in the vector of parameters; the engine gives its workers whole chunks of it, and the rest."""
CUTS: tuple[Sequence[int], ...] = ((CHUNK,), (CHUNK, 2 * CHUNK, 3 * CHUNK))
STEPS = 6
MANY_STEPS = 24


def check_optimizer(optimizer: Optimizer | str) -> None:
    """Check that an optimizer keeps its contract; `CHECKS` lists what that is.

    optimizer: a component or its expression; the component itself is left alone.
    Raises CheckError that names the check and says what was expected and what came; ExpressionError, ComponentError or
    ConfigError for an expression that describes no optimizer.
    """
    component = cast("Optimizer", installed_catalog().build("optimizer", optimizer))
    run_checks(named(component), CHECKS, component)


@dataclass
class Training:
    """Some steps of an optimizer with gradients that do not depend on the parameters."""

    optimizer: Optimizer
    size: int = SIZE
    start: float | None = None
    """Of all parameters; None for random ones."""
    params: Array = field(init=False)
    state: dict[str, Array] = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        random = rng.normal(size=self.size).astype(np.float32)
        self.params = random if self.start is None else np.full(self.size, self.start, np.float32)
        self.state = {name: np.zeros(self.size, np.float32) for name in self.optimizer.slots()}

    def run(
        self,
        steps: int = STEPS,
        *,
        cut: Sequence[int] = (),
        lr: float = 0.01,
        gradients: Callable[[int], Array] | None = None,
    ) -> dict[str, Array]:
        """Parameters and state after these steps; cut: where the vector is divided between workers."""
        made = gradients or (lambda step: np.random.default_rng(step).normal(size=self.size))
        bounds = [0, *cut, self.size]
        for step in range(1, steps + 1):
            gradient = made(step).astype(np.float32)
            for first, last in pairwise(bounds):
                part = slice(first, last)
                state = {name: vector[part] for name, vector in self.state.items()}
                self.optimizer.update(self.params[part], gradient[part], state, lr, step)
        return {"params": self.params} | {f"state[{name!r}]": vector for name, vector in self.state.items()}


def check_attributes(optimizer: Optimizer) -> None:
    """`lr` is a number above 0, `slots` gives different names, the same each time."""
    lr, slots = getattr(optimizer, "lr", None), optimizer.slots()
    if isinstance(lr, bool) or not isinstance(lr, int | float) or not 0 < lr < math.inf:
        raise CheckError(f"lr must be a number above 0, got {lr!r}: the schedule multiplies it")
    if not isinstance(slots, tuple) or not all(isinstance(name, str) for name in slots) or len(set(slots)) < len(slots):
        raise CheckError(f"slots must give a tuple of different names, got {slots!r}")
    equal("slots, asked for again", optimizer.slots(), slots)


def check_in_place(optimizer: Optimizer) -> None:
    """An update moves the parameters that it was given, and no numbers beside them."""
    training = Training(optimizer)
    before = training.params.copy()
    part = slice(CHUNK, 2 * CHUNK)
    state = {name: vector[part] for name, vector in training.state.items()}
    for step in range(1, STEPS + 1):
        gradient = np.random.default_rng(step).normal(size=CHUNK).astype(np.float32)
        given = dict(state)
        optimizer.update(training.params[part], gradient, given, 0.01, step)
        for name in {**state, **given}:
            if given.get(name) is not state.get(name):
                raise CheckError(
                    f"update made state[{name!r}] another array, which is lost after the step: give its name in slots, "
                    f"and write into it, state[{name!r}][...] = value"
                )
    outside = np.r_[0:CHUNK, 2 * CHUNK : SIZE]
    same_bits("parameters beside those that were given", training.params[outside], before[outside])
    if np.array_equal(training.params[part], before[part]):
        raise CheckError(
            "update changed no parameter in several steps: write into params, such as params -= lr * grads"
        )


def check_slots_are_used(optimizer: Optimizer) -> None:
    """Each state vector is written."""
    training = Training(optimizer)
    training.run(MANY_STEPS)
    for name, vector in training.state.items():
        if not vector.any():
            raise CheckError(
                f"state[{name!r}] is still 0 after {MANY_STEPS} steps: write into it, state[{name!r}][...] = value, or "
                "take it out of slots"
            )


def check_slices(optimizer: Optimizer) -> None:
    """A slice of the vector is updated as the whole is, bit for bit: the number of workers changes nothing."""
    expected = Training(optimizer).run()
    for cut in CUTS:
        for name, value in Training(optimizer).run(cut=cut).items():
            same_bits(
                f"{name} updated in {len(cut) + 1} slices, as workers do; each number must be updated by itself",
                value,
                expected[name],
            )


def check_fresh_start(optimizer: Optimizer) -> None:
    """What is remembered is in `state`: a second training with the same optimizer begins anew."""
    expected = {name: value.copy() for name, value in Training(optimizer).run().items()}
    check_unchanged_by(optimizer, Training(optimizer).run)
    for name, value in Training(optimizer).run().items():
        same_bits(f"{name} in a second training, which must begin anew; remember in state alone", value, expected[name])


def check_direction(optimizer: Optimizer) -> None:
    """Against the gradient: from 0, with the same gradient in each step, parameters go down the slope."""
    slope = np.random.default_rng(5).choice([-1.0, -0.25, 0.25, 1.0], SIZE)
    training = Training(optimizer, start=0.0)
    training.run(gradients=lambda _: slope.copy())
    if float(np.vdot(training.params, slope)) >= 0:
        raise CheckError("the parameters went up the slope of the loss, or stayed: move them against the gradient")


def check_rate(optimizer: Optimizer) -> None:
    """The rate is the one that is given, after the schedule, and not `self.lr`."""
    slow, fast = (Training(optimizer, start=0.0).run(lr=lr)["params"].copy() for lr in (0.01, 0.02))
    if np.array_equal(slow, fast):
        raise CheckError("the argument lr changes nothing: take it for the rate, not self.lr, or schedules do nothing")


def check_finite(optimizer: Optimizer) -> None:
    """No number becomes NaN or infinite where gradients are 0, tiny, large, or 0 after others."""
    for what, size in (("0", 0.0), ("1e-30", 1e-30), ("1e4", 1e4)):
        training = Training(optimizer)
        training.run(gradients=lambda step, size=size: np.full(SIZE, size * (step != 3)))  # type: ignore[misc]
        for name, value in {"params": training.params, **training.state}.items():
            if not np.isfinite(value).all():
                raise CheckError(
                    f"{name} is {value[~np.isfinite(value)][0]} after gradients of {what}: keep quotients finite, such "
                    "as by an epsilon beside the root"
                )


def check_repr(optimizer: Optimizer) -> None:
    """`repr` is the expression that makes the optimizer again."""
    again = check_expression("optimizer", optimizer)
    if again is not None:
        expected = Training(optimizer).run()
        for name, value in Training(cast("Optimizer", again)).run().items():
            same_bits(f"{name} with the optimizer made from repr, {optimizer!r},", value, expected[name])


CHECKS: Mapping[str, Callable[[Optimizer], None]] = {
    "attributes": check_attributes,
    "in place": check_in_place,
    "fresh start": check_fresh_start,
    "slices": check_slices,
    "slots are used": check_slots_are_used,
    "direction": check_direction,
    "rate": check_rate,
    "finite": check_finite,
    "repr": check_repr,
}
"""By name, in the order in which they run."""
