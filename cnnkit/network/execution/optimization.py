"""How the engine asks an optimizer: by its contract, and with a look at whether it keeps to it."""

from __future__ import annotations

from typing import get_args

from cnnkit.components import Optimizer
from cnnkit.components.error_naming import Naming
from cnnkit.components.value_description import described
from cnnkit.errors import ComponentError
from cnnkit.types import Array, Scope


def slots_of(optimizer: Optimizer) -> tuple[str, ...]:
    """The names of its state vectors. Raises ComponentError unless they are different texts."""
    with Naming(optimizer):
        given = optimizer.slots()
    if (
        not isinstance(given, tuple | list)
        or not all(isinstance(name, str) for name in given)
        or len(set(given)) < len(given)
    ):
        raise ComponentError(
            f"the optimizer {optimizer!r} must name each of its state vectors exactly once, in a tuple such as "
            f'("mean", "square"); slots() gave {given!r}'
        )
    return tuple(given)


def scope_of(optimizer: Optimizer) -> Scope:
    """What it is given at once. Raises ComponentError for another word than those of the contract."""
    scope = optimizer.scope
    if scope not in get_args(Scope):
        allowed = ", ".join(map(repr, get_args(Scope)))
        raise ComponentError(f"the optimizer {optimizer!r} must have a scope among {allowed}, got {scope!r}")
    return scope


def move(optimizer: Optimizer, params: Array, grads: Array, vectors: dict[str, Array], lr: float, number: int) -> None:
    """One update, in place. Raises ComponentError if it puts other arrays into the state, or gives back the result."""
    state = dict(vectors)
    with Naming(optimizer):
        given = optimizer.update(params, grads, state, lr, number)  # type: ignore[func-returns-value]  # or should
    for name, kept in state.items():
        if name not in vectors:
            raise ComponentError(
                f"the optimizer {optimizer!r} put the new vector {name!r} into its state, which is lost after the "
                f"step: name it in slots(), and change it in place"
            )
        if kept is not vectors[name]:
            raise ComponentError(
                f"the optimizer {optimizer!r} must change its state in place; it put another array into "
                f"state[{name!r}], which is lost after the step: write state[{name!r}][...] = new"
            )
    if given is not None and given is not params:
        raise ComponentError(
            f"the optimizer {optimizer!r} must change params in place and return nothing; update returned "
            f"{described(given)}: write params[...] = new, or params -= step"
        )
