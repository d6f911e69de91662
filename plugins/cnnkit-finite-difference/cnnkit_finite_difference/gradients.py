"""Gradients from values of the loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cnnkit.plugin import Array, GradientMethod, one_of, positive, whole


class FiniteDifference(GradientMethod):
    """Moves one parameter after the other by `h` and looks at what the loss becomes.

    forward:  g_i = (L(p + h e_i) - L(p)) / h               P + 1 evaluations, error O(h)
    central:  g_i = (L(p + h e_i) - L(p - h e_i)) / (2 h)   2 P evaluations, error O(h^2)

    L: the mean loss of the batch; p: the P parameters; e_i: 1 in place i, 0 elsewhere. To the error the rounding of L
    is added, about 1e-16 |L| / h in float64. Where a ReLU or a maximum changes sides within h, g_i is a mean of both.
    Raises ConfigError unless h > 0, and for any other scheme.
    Source: Nocedal, Wright (2006), Numerical Optimization, section 8.1.
    """

    def __init__(self, h: float = 1e-6, scheme: str = "forward") -> None:
        self.h = positive("h", h)
        self.scheme = one_of("scheme", scheme, ("forward", "central"))

    def gradient(self, loss: Callable[[Array], float], params: Array, rng: np.random.Generator) -> Array:
        """One parameter at a time."""

        def moved(i: int, value: float) -> float:
            before, params[i] = params[i], value
            found = loss(params)
            params[i] = before
            return found

        h = self.h
        if self.scheme == "central":
            return np.array([(moved(i, p + h) - moved(i, p - h)) / (2 * h) for i, p in enumerate(params)])
        here = loss(params)
        return np.array([(moved(i, p + h) - here) / h for i, p in enumerate(params)])


class SPSA(GradientMethod):
    """Moves all parameters at once, by `h` to a random side each: two evaluations, however many parameters there are.

    g_i = mean over the directions d of (L(p + h d) - L(p - h d)) / (2 h d_i),   d_i = +1 or -1 at random

    The expectation of g is the gradient, up to O(h^2); its variance grows with the number of parameters, and falls with
    the number of `directions`.
    Raises ConfigError unless h > 0 and directions >= 1.
    Source: Spall (1992), Multivariate Stochastic Approximation Using a Simultaneous Perturbation Gradient
    Approximation.
    """

    def __init__(self, h: float = 1e-4, directions: int = 1) -> None:
        self.h = positive("h", h)
        self.directions = whole("directions", directions)

    def gradient(self, loss: Callable[[Array], float], params: Array, rng: np.random.Generator) -> Array:
        """One direction at a time."""
        total = np.zeros_like(params)
        for _ in range(self.directions):
            d = rng.choice([-1.0, 1.0], len(params))
            total += (loss(params + self.h * d) - loss(params - self.h * d)) / (2 * self.h) * d  # 1 / d = d
        return total / self.directions
