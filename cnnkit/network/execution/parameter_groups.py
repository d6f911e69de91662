"""Groups of parameters that a training moves or decays less than the others, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cnnkit.components import Optimizer
from cnnkit.errors import ConfigError
from cnnkit.network.graph.parameters import Parameters, Span
from cnnkit.types import Array

Factors = Mapping[tuple[int, str], float]
"""By the index of a node and the name of a parameter, 0 or above; those of others are 1."""
Constraint = Callable[[Array], None]
"""Changes a parameter, in its shape and in place, to the nearest one that is allowed."""
Move = Callable[[Optimizer, Array, Array, dict[str, Array]], None]
"""Lets an optimizer change parameters and state, by gradients that it may overwrite."""


@dataclass(frozen=True)
class Groups:
    """What of a network belongs to a group of its own."""

    rates: Factors = field(default_factory=dict)
    decays: Factors = field(default_factory=dict)
    frozen: frozenset[int] = frozenset()
    """The nodes that are not trained at all; batch normalisation among them computes as in prediction."""
    penalties: Mapping[tuple[int, str], tuple[float, float]] = field(default_factory=dict)
    """Of parameters whose absolute values, or squares, are added to the loss, the factors of both."""
    constraints: Mapping[tuple[int, str], Sequence[Constraint]] = field(default_factory=dict)
    """What parameters are held to after each update, in order."""


class ParameterGroups:
    """How much of each update some parameters follow, and of the weight decay.

        p = p + rate * (u(p) - p)      u: what the optimizer makes of the parameters p; with rate 0, p stays

    So a rate holds for any optimizer, with its weight decay and momentum. The gradient of what is frozen is 0, for
    clipping as well. For each factor of the decay there is an optimizer with that part of it. Of nodes that share a
    layer, the lowest factor holds.
    Raises ConfigError for factors of the decay where the optimizer has none.
    """

    def __init__(self, parameters: Parameters, optimizer: Optimizer, groups: Groups) -> None:
        self._optimizer = optimizer
        self._rates = list(lowest(parameters, groups.rates).items())
        places: dict[float, list[Span]] = {}
        for span, factor in lowest(parameters, groups.decays).items():
            places.setdefault(factor, []).append(span)
        if places and optimizer.scope == "network":
            raise ConfigError(f"{optimizer!r} moves the whole network at once: its weight decay is the same everywhere")
        self._decays = [(optimizer.decayed(factor), spans) for factor, spans in places.items() if factor != 1]
        self._found: dict[Span, list[tuple[Optimizer, Array]]] = {}

    def zero_frozen(self, gradient: Array, part: slice) -> None:
        """Set the gradient of what is frozen to 0, in this part of the parameters."""
        for span, rate in self._rates:
            if rate == 0:
                gradient[common(span, part)] = 0

    def move(self, part: slice, params: Array, grads: Array, state: dict[str, Array], move: Move) -> None:
        """Let the optimizer move this part of the parameters, and those of a group by what it is due.

        params, grads and those in the state: of this part alone, in any shape.
        """
        flat = params.reshape(-1)
        slowed = [(common(span, part, part.start), rate) for span, rate in self._rates]
        before = [flat[place].copy() for place, _ in slowed]
        self._move(part, params, grads, state, move)
        for (place, rate), old in zip(slowed, before, strict=True):
            moved = flat[place]
            if rate == 0:
                moved[...] = old
            else:
                moved -= old
                moved *= rate
                moved += old

    def _move(self, part: slice, params: Array, grads: Array, state: dict[str, Array], move: Move) -> None:
        """Every number by itself, so that groups may be moved apart from the rest, and put back into it."""
        groups = self._decayed(part)
        for optimizer, index in groups:
            if len(index) == params.size:
                move(optimizer, params, grads, state)
                return
        apart = [(index, params[index], {name: slot[index] for name, slot in state.items()}) for _, index in groups]
        for (optimizer, index), (_, own, slots) in zip(groups, apart, strict=True):
            move(optimizer, own, grads[index], slots)
        move(self._optimizer, params, grads, state)
        for index, own, slots in apart:
            params[index] = own
            for name, slot in slots.items():
                state[name][index] = slot

    def _decayed(self, part: slice) -> list[tuple[Optimizer, Array]]:
        """The groups of this part with the positions of their numbers in it."""
        key = part.start, part.stop
        if key not in self._found:
            places = [(optimizer, _positions(spans, part)) for optimizer, spans in self._decays]
            self._found[key] = [(optimizer, index) for optimizer, index in places if index.size]
        return self._found[key]


def lowest(parameters: Parameters, factors: Factors) -> dict[Span, float]:
    """The factor of each parameter that has one; of those of nodes that share it, the lowest."""
    found: dict[Span, float] = {}
    for (node, name), factor in factors.items():
        for entry in parameters.of_node(node):
            if entry.name == name:
                found[entry.span] = min(factor, found.get(entry.span, factor))
    return found


def _positions(spans: Iterable[Span], part: slice) -> Array:
    places = [common(span, part, part.start) for span in spans]
    return np.concatenate([np.arange(place.start, place.stop) for place in places])


def common(span: Span, part: slice, origin: int = 0) -> slice:
    """What both have in common, counted from the origin."""
    start, stop = max(span[0], part.start), min(span[1], part.stop)
    return slice(start - origin, max(start, stop) - origin)
