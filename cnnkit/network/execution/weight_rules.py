"""What a training adds to its loss for the size of weights, and what it holds them to after each update."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnkit.network.execution.parameter_groups import Constraint, Groups, common, lowest
from cnnkit.network.graph.parameters import Entry, Parameters, Span
from cnnkit.types import Array


class Penalties:
    """Sizes of weights that are added to the loss.

        penalty = sum over w of l1 * |w| + l2 * w^2,     dw = l1 * sign(w) + 2 * l2 * w

    The mean loss and its gradient have it once, however many samples a batch has. Of nodes that share a layer, the
    largest factor holds.
    Source: Krogh, Hertz (1991), A Simple Weight Decay Can Improve Generalization; Tibshirani (1996), Regression
    Shrinkage and Selection via the Lasso.
    """

    def __init__(self, parameters: Parameters, groups: Groups) -> None:
        self._parameters = parameters
        factors: dict[Span, tuple[float, float]] = {}
        for (node, name), (l1, l2) in groups.penalties.items():
            for entry in parameters.of_node(node):
                if entry.name == name:
                    others = factors.get(entry.span, (0.0, 0.0))
                    factors[entry.span] = max(l1, others[0]), max(l2, others[1])
        self._factors = sorted(factors.items())

    def __bool__(self) -> bool:
        return bool(self._factors)

    def add(self, gradient: Array, part: slice) -> None:
        """Add their gradient in this part of the parameters: each number by itself, so that nobody sees the parts."""
        for span, (l1, l2) in self._factors:
            place = common(span, part)
            weights, own = self._parameters.vector[place], gradient[place]
            if l1:
                own += l1 * np.sign(weights)
            if l2:
                own += 2 * l2 * weights

    def value(self) -> float:
        """The penalty of the parameters as they are, added up in float64."""
        total = 0.0
        for (start, stop), (l1, l2) in self._factors:
            weights = self._parameters.vector[start:stop].astype(np.float64)
            total += l1 * float(np.abs(weights).sum()) + l2 * float(np.square(weights).sum())
        return total


class Constraints:
    """What weights are held to: each parameter as a whole, in one process, so that all workers meet the same.

    What is frozen stays as it is. Of nodes that share a layer, the constraints of the first that has some hold.
    """

    def __init__(self, parameters: Parameters, groups: Groups) -> None:
        self._parameters = parameters
        frozen = {span for span, rate in lowest(parameters, groups.rates).items() if rate == 0}
        self._held: dict[Entry, Sequence[Constraint]] = {}
        for (node, name), constraints in groups.constraints.items():
            for entry in parameters.of_node(node):
                if entry.name == name and entry.span not in frozen:
                    self._held.setdefault(entry, constraints)

    def hold(self) -> None:
        """Change the parameters to what is allowed, in place."""
        for entry, constraints in self._held.items():
            for constraint in constraints:
                constraint(self._parameters.view(self._parameters.vector, entry))
