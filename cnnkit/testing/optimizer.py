"""The conformance suite for optimizers: everything that training assumes about one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import cast

import numpy as np

from cnnkit.components import Optimizer, installed_catalog
from cnnkit.errors import CheckError
from cnnkit.network.execution.optimization import scope_of
from cnnkit.network.execution.session import CHUNK
from cnnkit.testing.comparing import Suite, check_expression, check_unchanged_by, equal, named, run_all, same_bits
from cnnkit.types import Array, Shape

SIZE = 3 * CHUNK + 100
"""Numbers in the vector of parameters; the engine gives its workers whole chunks of it, and the rest."""
CUTS: tuple[Sequence[int], ...] = ((CHUNK,), (CHUNK, 2 * CHUNK, 3 * CHUNK))
STEPS = 6
FEW, MANY_STEPS = 100, 300
"""Numbers that are moved in many steps: what begins late, such as an average of the parameters, is done by then."""
RATES = 1e-4, 1e-5
"""The second is a tenth of the first."""
RATIO = 5.0, 20.0
"""How much further the first must move parameters than the second; a movement that is in proportion, 10 times."""
UNMOVED = 1e-6
"""How far a number may be from where it was, relative, and still be there but for rounding."""
GROWN = 1e-5
"""How much a norm may grow by rounding, relative."""


def check_optimizer(optimizer: Optimizer | str) -> None:
    """Check that an optimizer keeps its contract; `CHECKS` lists what that is.

    optimizer: a component or its expression; the component itself is left alone.
    Raises CheckError that names the check and says what was expected and what was received; ExpressionError,
    ComponentError or ConfigError for an expression that does not describe an optimizer.
    """
    run_all([suite(cast("Optimizer", installed_catalog().build("optimizer", optimizer)))])


def suite(optimizer: Optimizer) -> Suite:
    """All of its checks."""
    return Suite(named(optimizer), optimizer, CHECKS, (optimizer,))


@dataclass
class Training:
    """Some steps of an optimizer, as a rule with gradients that do not depend on the parameters."""

    optimizer: Optimizer
    size: int = SIZE
    start: float | None = None
    """Of all parameters; None for random ones."""
    done: int = 0
    """Steps so far."""
    params: Array = field(init=False)
    state: dict[str, Array] = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        random = rng.normal(size=self.size).astype(np.float32)
        self.params = random if self.start is None else np.full(self.size, self.start, np.float32)
        self.state = {name: np.zeros(self.size, np.float32) for name in self.optimizer.slots()}

    def parts(self, cut: Sequence[int], *, backwards: bool = False) -> list[tuple[slice, Shape]]:
        """What is given to the optimizer, one after the other, by its scope; backwards: the last parameter first."""
        match self.optimizer.scope:
            case "numbers":
                return [(slice(first, last), (last - first,)) for first, last in pairwise([0, *cut, self.size])]
            case "network":
                return [(slice(0, self.size), (self.size,))]
        columns = self.size // 10
        parameters = [(slice(0, 8 * columns), (4, columns, 2)), (slice(8 * columns, self.size), (-1,))]
        return parameters[::-1] if backwards else parameters

    def _gradient(self, step: int) -> Array:
        """A random one; of an optimizer that learns the curvature of the whole network, that of a bowl."""
        if self.optimizer.scope == "network":
            return np.geomspace(0.1, 10, self.size) * self.params
        return np.random.default_rng(step).normal(size=self.size)

    def run(
        self,
        steps: int = STEPS,
        *,
        cut: Sequence[int] = (),
        backwards: bool = False,
        lr: float = 0.01,
        gradients: Callable[[int], Array] | None = None,
    ) -> dict[str, Array]:
        """Parameters and state after these further steps; cut, backwards: how they are divided between workers."""
        made = gradients or self._gradient
        for step in range(self.done + 1, self.done + steps + 1):
            gradient = made(step).astype(np.float32)
            for part, shape in self.parts(cut, backwards=backwards):
                state = {name: vector[part].reshape(shape) for name, vector in self.state.items()}
                params, grads = self.params[part].reshape(shape), gradient[part].reshape(shape)
                self.optimizer.update(params, grads, state, lr, step)
        self.done += steps
        return {"params": self.params} | {f"state[{name!r}]": vector for name, vector in self.state.items()}


def check_attributes(optimizer: Optimizer) -> None:
    """`lr` is a number above 0, `slots` gives different names, the same each time, and `scope` is a word."""
    lr, slots = getattr(optimizer, "lr", None), optimizer.slots()
    if isinstance(lr, bool) or not isinstance(lr, int | float) or not 0 < lr < math.inf:
        raise CheckError(f"lr must be a number above 0, got {lr!r}: the schedule multiplies it")
    if not isinstance(slots, tuple) or not all(isinstance(name, str) for name in slots) or len(set(slots)) < len(slots):
        raise CheckError(f"slots must give a tuple of different names, got {slots!r}")
    equal("slots, asked for again", optimizer.slots(), slots)
    scope_of(optimizer)


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
    training = Training(optimizer, FEW)
    training.run(MANY_STEPS)
    for name, vector in training.state.items():
        if not vector.any():
            raise CheckError(
                f"state[{name!r}] is still 0 after {MANY_STEPS} steps: write into it, state[{name!r}][...] = value, or "
                "remove it from slots; if it is used later than that, check a configuration that starts earlier"
            )


def check_slices(optimizer: Optimizer) -> None:
    """A slice of the vector is updated as the whole is, bit for bit: the number of workers changes nothing.

    Of an optimizer that is given whole parameters, each is updated by itself.
    """
    if optimizer.scope != "numbers":
        expected = Training(optimizer).run()
        for name, value in Training(optimizer).run(backwards=True).items():
            same_bits(f"{name} updated from the last parameter to the first, as workers may", value, expected[name])
        return
    for size, steps, cuts in ((SIZE, STEPS, CUTS), (CHUNK + FEW, MANY_STEPS, CUTS[:1])):
        expected = Training(optimizer, size).run(steps)
        for cut in cuts:
            for name, value in Training(optimizer, size).run(steps, cut=cut).items():
                same_bits(
                    f"{name} updated in {len(cut) + 1} slices, as workers do; each number must be updated "
                    'independently, or the class must say scope = "parameters"',
                    value,
                    expected[name],
                )


def check_fresh_start(optimizer: Optimizer) -> None:
    """What is remembered is in `state`: a second training with the same optimizer starts over."""
    for steps in (STEPS, MANY_STEPS):
        expected = {name: value.copy() for name, value in Training(optimizer, FEW).run(steps).items()}
        check_unchanged_by(optimizer, lambda steps=steps: Training(optimizer, FEW).run(steps))  # type: ignore[misc]  # mypy gives no type to a lambda with a default
        for name, value in Training(optimizer, FEW).run(steps).items():
            same_bits(
                f"{name} in a second training, which must start from scratch; keep what it remembers in state",
                value,
                expected[name],
            )


def check_direction(optimizer: Optimizer) -> None:
    """Against the gradient: from 0, with the same gradient in each step, parameters are never up the slope."""
    slope = np.random.default_rng(5).choice([-1.0, -0.25, 0.25, 1.0], FEW)
    training = Training(optimizer, FEW, start=0.0)
    for step in range(1, MANY_STEPS + 1):
        training.run(1, gradients=lambda _: slope.copy())
        if float(np.vdot(training.params, slope)) > 0:
            raise CheckError(
                f"at step {step} the parameters are up the slope of the loss: move them against the gradient"
            )
    if not np.vdot(training.params, slope) < 0:
        raise CheckError(f"after {MANY_STEPS} steps the parameters are where they were: move them against the gradient")


def check_decay(optimizer: Optimizer) -> None:
    """Where gradients are 0, parameters stay or shrink."""
    training = Training(optimizer, FEW)
    before = _norm(training.params)
    training.run(MANY_STEPS, lr=0.1, gradients=lambda _: np.zeros(FEW))
    after = _norm(training.params)
    if not after <= before * (1 + GROWN):
        raise CheckError(
            f"the norm of the parameters grew from {before:.6g} to {after:.6g} while all gradients were 0: weight "
            "decay must shrink them, such as params -= lr * weight_decay * params"
        )


def check_rate(optimizer: Optimizer) -> None:
    """The rate is the one that is given, after the schedule, not `self.lr`; at 0, parameters stay where they are."""
    training = Training(optimizer, FEW)
    before = training.params.copy()
    training.run(lr=0.0)
    moved = float(np.abs(training.params - before).max())
    if moved > UNMOVED * np.abs(before).max():
        raise CheckError(
            f"parameters moved by up to {moved:.1e} at lr = 0, which a schedule may give: multiply all that moves them "
            "by the argument lr, not self.lr"
        )
    if optimizer.scope == "network":
        return  # its steps may be as long as it finds right
    fast, slow = (_norm(Training(optimizer, FEW, start=0.0).run(MANY_STEPS, lr=lr)["params"]) for lr in RATES)
    if not RATIO[0] * slow <= fast <= RATIO[1] * slow:
        raise CheckError(
            f"parameters moved by {fast:.3g} at lr = {RATES[0]:g} and by {slow:.3g} at a tenth of it: their movement "
            "must be in proportion to the argument lr"
        )


def check_finite(optimizer: Optimizer) -> None:
    """No number becomes NaN or infinite where gradients are 0, tiny, large, or 0 after others, or the rate is 0."""
    for what, size in (("0", 0.0), ("1e-30", 1e-30), ("1e4", 1e4)):
        found = Training(optimizer).run(gradients=lambda step, size=size: np.full(SIZE, size * (step != 3)))  # type: ignore[misc]  # mypy gives no type to a lambda with a default
        _check_finite(found, f"gradients of {what}")
    training = Training(optimizer, FEW)
    for lr in (0.0, 0.01, 0.0, 0.01):
        found = training.run(lr=lr)
    _check_finite(found, "steps at rates of 0 and 0.01 in turn")


def _check_finite(found: Mapping[str, Array], after: str) -> None:
    for name, value in found.items():
        if not np.isfinite(value).all():
            raise CheckError(
                f"{name} is {value[~np.isfinite(value)][0]} after {after}: keep quotients finite, such as by an "
                "epsilon beside the root, and never divide by the rate"
            )


def _norm(values: Array) -> float:
    return float(np.linalg.norm(values.astype(np.float64)))


def check_repr(optimizer: Optimizer) -> None:
    """`repr` is the expression that recreates the optimizer."""
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
    "finite": check_finite,
    "direction": check_direction,
    "decay": check_decay,
    "rate": check_rate,
    "repr": check_repr,
}
"""By name, in the order in which they run."""
