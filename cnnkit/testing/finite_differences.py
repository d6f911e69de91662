"""Finite differences of a function of several arrays, beside the gradients that are said to be its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import numpy as np

from cnnkit.testing.example_inputs import REACH
from cnnkit.types import Array

DIRECTIONS = 3
STEP = 1e-3
DRAWS = 5
"""How often a place is drawn, at most, if it lies on a kink; a gradient that is wrong is so beside kinks, too."""
Point = dict[str, Array]
Value = Callable[[Mapping[str, Array]], float]
Directions = Iterable[tuple[str, Array, float]]
"""What is moved, where to, and a step that is small enough for it."""


class ErrorsAt(Protocol):
    """The errors at a point by name; raises Kink there, unless kinks are errors."""

    def __call__(self, point: Point, directions: Directions, *, kinks_are_errors: bool) -> dict[str, float]: ...


class Kink(Exception):  # noqa: N818  # it is no error
    """The differences say nothing, because the slopes to both sides disagree."""


def beside_kinks(draw: Callable[[], tuple[Point, Directions]], errors_at: ErrorsAt) -> tuple[Point, dict[str, float]]:
    """The first place of those drawn that has no kink within the steps, or else the last one, and the errors there."""
    for _ in range(DRAWS - 1):
        point, directions = draw()
        try:
            return point, errors_at(point, directions, kinks_are_errors=False)
        except Kink:
            continue
    point, directions = draw()
    return point, errors_at(point, directions, kinks_are_errors=True)


def free_directions(
    rng: np.random.Generator, point: Point, count: int = DIRECTIONS
) -> Iterator[tuple[str, Array, float]]:
    """Directions with entries in [-1, 1], and a step that is small against the distance between neighbours."""
    for name, value in point.items():
        step = min(STEP, 2 * REACH / value.size / 8)
        for _ in range(count):
            yield name, rng.uniform(-1, 1, value.shape), step


def direction_errors(
    value: Value,
    point: Point,
    gradients: Mapping[str, Array],
    directions: Directions,
    scale: float,
    threshold: float,
    *,
    kinks_are_errors: bool = True,
) -> dict[str, float]:
    """The largest relative error for each name; `scale` is the size of the terms that the function adds up."""
    errors: dict[str, float] = {}
    for name, direction, step in directions:
        analytic = float(np.vdot(gradients[name], direction))
        error = math.inf
        # A wrong gradient is wrong for every step; a kink that lies within the first step is rarely within the second.
        for h in (step, step / 30):
            numeric = derivative(value, point, name, direction, h)
            # f carries a rounding error of about 1e-16 * scale, h divides it: below this floor there is only noise.
            size = max(abs(analytic), abs(numeric), 1e-4 * scale)
            if not math.isfinite(analytic) or not math.isfinite(numeric):
                break
            error = min(error, abs(analytic - numeric) / size if size else 0.0)
            if error <= threshold:
                break
        is_wrong = threshold < error < math.inf
        if is_wrong and not kinks_are_errors and is_kinked(_along(value, point, name, direction), h, scale, threshold):
            raise Kink
        errors[name] = max(errors.get(name, 0.0), error)
    return errors


def derivative(value: Value, point: Point, name: str, direction: Array, h: float) -> float:
    """(8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h, where f(t) is f moved by t times the direction; exact up to h^4."""
    at = _along(value, point, name, direction)
    return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)


def is_kinked(along: Callable[[float], float], h: float, scale: float, threshold: float) -> bool:
    """Whether the slopes to both sides of a place disagree, up to 2h away, by more than the threshold, relative.

    along: the function at a distance from the place; scale: the size of the terms that it adds up. The slopes are
    exact up to h^2: (4 f(h) - f(2h) - 3 f(0)) / 2h to one side, and likewise to the other. Where the slope itself has a
    kink, as Huber's, they differ by about h.
    """
    here = along(0.0)
    right, left = ((4 * along(t) - along(2 * t) - 3 * here) / (2 * t) for t in (h, -h))
    size = max(abs(right), abs(left), 1e-4 * scale)
    return math.isfinite(size) and abs(right - left) > threshold * size


def _along(value: Value, point: Point, name: str, direction: Array) -> Callable[[float], float]:
    return lambda t: value({**point, name: point[name] + t * direction})
