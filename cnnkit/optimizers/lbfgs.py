"""Optimizers that learn the curvature from earlier steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from cnnkit.components.checks import in_range, not_negative, positive, whole
from cnnkit.components.training_contracts import Optimizer
from cnnkit.types import Array, Example, Scope

LONGEST = 1000
"""History sizes are below it: each pair takes two vectors."""
CURVED = 1e-10
"""Earlier steps along which the slope grew by less say nothing of the curvature."""


class LBFGS(Optimizer):
    """Quasi-Newton steps: the curvature is what the slope did along the last steps.

    y = g - (g of the step before),  s = the step before             kept if y^T s > 1e-10, the last history_size pairs
    q = -g;       for each pair, newest first:  a_i = s_i^T q / y_i^T s_i,  q = q - a_i y_i
    d = q y^T s / y^T y                                               of the newest pair; d = q without pairs
    for each pair, oldest first:  d = d + (a_i - y_i^T d / y_i^T s_i) s_i
    p = p + lr * d                                                    the first step is no longer than lr in all, |g|_1

    Nothing moves where all slopes are within tolerance_grad, or where -g^T d is not above tolerance_change. One update
    is one iteration, without a line search. For small networks, trained on all samples as one batch: the slopes of
    different batches differ by their samples, and tell little of the curvature. It needs memory for 2 history_size + 2
    copies of the parameters.
    p, g, y, s, q, d: (P,), all parameters. Raises ConfigError for lr <= 0, history_size outside 1 to 999, or
    tolerances < 0.
    Source: Liu, Nocedal (1989), On the limited memory BFGS method for large scale optimization; defaults as in PyTorch,
    but for history_size.
    """

    scope: Scope = "network"
    twin = "torch.optim.LBFGS"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("LBFGS(0.2, history_size=3)", (), "lr=0.2, history_size=3, max_iter=1"),
        Example("LBFGS(0.1)", (), "lr=0.1, history_size=10, max_iter=1"),
        Example(
            "LBFGS(0.5, history_size=1, tolerance_grad=1e-3, tolerance_change=0)",
            (),
            "lr=0.5, history_size=1, max_iter=1, tolerance_grad=1e-3, tolerance_change=0",
        ),
    )

    def __init__(
        self,
        lr: float = 1.0,
        history_size: int = 10,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
    ) -> None:
        self.lr = positive("lr", lr)
        self.history_size = int(in_range("history_size", whole("history_size", history_size), 1, LONGEST))
        self.tolerance_grad = not_negative("tolerance_grad", tolerance_grad)
        self.tolerance_change = not_negative("tolerance_change", tolerance_change)

    def slots(self) -> tuple[str, ...]:
        return ("slope", "step", *self._names("step"), *self._names("change"))

    def _names(self, what: str) -> list[str]:
        return [f"{what}_{number}" for number in range(self.history_size)]

    def update(self, params: Array, grads: Array, state: Mapping[str, Array], lr: float, step: int) -> None:
        if np.abs(grads).max() <= self.tolerance_grad:
            return
        slope, last = state["slope"], state["step"]
        steps, changes = ([state[name] for name in self._names(what)] for what in ("step", "change"))
        change = grads - slope
        if float(np.vdot(change, last)) > CURVED:
            for vectors, new in ((steps, last), (changes, change)):
                for later, earlier in zip(reversed(vectors[1:]), reversed(vectors[:-1]), strict=True):
                    later[...] = earlier
                vectors[0][...] = new
        direction = self._direction(grads, steps, changes)
        length = lr if last.any() else lr * min(1.0, 1 / float(np.abs(grads).sum()))
        slope[...] = grads
        slant = float(np.vdot(grads, direction))
        np.multiply(direction, length if slant <= -self.tolerance_change else 0.0, out=last)
        params += last
        if not slant < 0:  # what is known of the curvature is lost in rounding: begin anew
            for vector in (*steps, *changes):
                vector[...] = 0

    def _direction(self, grads: Array, steps: list[Array], changes: list[Array]) -> Array:
        """Minus the slope, times what is known of the inverse curvature; pairs of zeros are not there yet."""
        direction = -grads
        curvatures = [float(np.vdot(change, step)) for change, step in zip(changes, steps, strict=True)]
        pairs = [pair for pair in zip(steps, changes, curvatures, strict=True) if pair[2]]
        shares = []
        for step, change, curvature in pairs:
            shares.append(float(np.vdot(step, direction)) / curvature)
            direction -= shares[-1] * change
        if pairs:
            _, change, curvature = pairs[0]
            direction *= curvature / float(np.vdot(change, change))
        for (step, change, curvature), share in zip(reversed(pairs), reversed(shares), strict=True):
            direction += (share - float(np.vdot(change, direction)) / curvature) * step
        return direction
