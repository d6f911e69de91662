"""The gradient check at one place: a layer with its own parameters, in prediction mode, at the inputs that it gets."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.errors import CheckError
from cnnkit.testing.finite_differences import Point
from cnnkit.testing.gradcheck import GradientReport, surrogates_of
from cnnkit.testing.tiled_passes import Tile, backward, forward, input_names, output
from cnnkit.types import Array

DIRECTIONS = 2
MOVED = 1000
"""Groups of equal numbers that a direction moves: of millions, some would always pass a kink."""
STEPS = (1e-5, 1e-6, 1e-7, 1e-4)
"""Of the largest number that is moved. A kink, such as a rectifier's, that lies within one is hardly within all."""
EQUAL = 1e-9
"""Numbers that differ by less than this, of the largest, are equal but for rounding."""


def gradient_check_at(
    layer: Layer | Merge, xs: Sequence[Array], dy: Array, *, threshold: float = 1e-6, seed: int = 0
) -> GradientReport:
    """Compare the gradients of a built layer with finite differences at these inputs, in prediction mode and float64.

    For f = sum of dy * y, and random directions d in the inputs and in each parameter:
        <gradient, d>  against  (f(h) - f(-h)) / 2h,  where f(t) is f moved by t * d
    Inputs that are equal move together, so that a maximum with ties is differentiable along d. Where inputs that are
    exactly 0 lie on a kink, they are held still, and the report says so. What the layer names in `surrogate_gradients`
    is not compared.

    xs: the inputs, (N, ...), one for a layer and one for each branch of a merge; dy: (N, ...), as the output. Both,
    and the layer's parameters, are taken to float64; the layer itself is left alone.
    Raises CheckError if `backward` does not give one gradient, of the right shape, for each input and parameter.
    """
    rng = np.random.default_rng(seed)
    layer = copy.copy(layer)
    layer.params = {name: np.asarray(value, np.float64) for name, value in layer.params.items()}
    layer.buffers = {name: np.asarray(value, np.float64) for name, value in layer.buffers.items()}
    place = _Place(layer, xs, dy)
    surrogates = surrogates_of(layer, len(xs))
    errors: dict[str, float] = {}
    for name, value in place.point.items():
        if name in surrogates:
            continue
        error = place.error(name, value, rng, threshold, hold_zeros=False)
        if error > threshold and name in place.inputs and not value.all():
            held = place.error(name, value, rng, threshold, hold_zeros=True)
            if held < error / 2:  # a gradient that is wrong elsewhere stays as wrong
                name, error = f"{name} with zeros held still", held
        errors[name] = error
    return GradientReport(repr(layer), errors, threshold, surrogates)


class _Place:
    """A layer at one point of its inputs and parameters."""

    def __init__(self, layer: Layer | Merge, xs: Sequence[Array], dy: Array) -> None:
        self.layer = layer
        self.dy = dy.astype(np.float64, copy=False)
        self.inputs = input_names(layer, len(xs))
        self.point: Point = {name: x.astype(np.float64, copy=False) for name, x in zip(self.inputs, xs, strict=True)}
        self.point |= {f"params.{name}": value for name, value in layer.params.items()}
        dxs, grads = backward(layer, self.dy, self._tile(self.point))
        self.gradients = dict(zip(self.inputs, dxs, strict=True)) | {f"params.{k}": grad for k, grad in grads.items()}
        expected = {name: value.shape for name, value in self.point.items()}
        given = {name: np.shape(grad) for name, grad in self.gradients.items()}
        if given != expected:
            raise CheckError(f"{layer!r}: backward must give gradients of the shapes {expected}, it returned {given}")

    def error(self, name: str, value: Array, rng: np.random.Generator, threshold: float, *, hold_zeros: bool) -> float:
        """The largest relative error over the directions."""
        size = float(np.abs(value).max(initial=0.0)) or 1.0
        worst = 0.0
        for _ in range(DIRECTIONS):
            direction = _tied(rng, value, size) if name in self.inputs else _free(rng, value)
            if hold_zeros:
                direction[value == 0] = 0
            error = math.inf
            for step in STEPS:  # a wrong gradient is wrong for every step
                error = min(error, self._error(name, direction, step * size))
                if error <= threshold:
                    break
            worst = max(worst, error)
        return worst

    def _error(self, name: str, direction: Array, h: float) -> float:
        analytic = float(np.vdot(self.gradients[name], direction))
        # The outputs that did not move cancel before anything is added up: they bring no rounding errors with them.
        ends = [self._output({**self.point, name: self.point[name] + t * direction}) for t in (h, -h)]
        terms = ends[0] - ends[1]
        del ends
        terms *= self.dy
        terms /= 2 * h
        numeric = float(terms.sum())
        if not (math.isfinite(analytic) and math.isfinite(numeric)):
            return math.inf
        size = max(abs(analytic), abs(numeric), 1e-4 * float(np.abs(terms).sum()))
        return abs(analytic - numeric) / size if size else 0.0

    def _output(self, point: Mapping[str, Array]) -> Array:
        return output(self._tile(point))

    def _tile(self, point: Mapping[str, Array]) -> list[Tile]:
        self.layer.params = {name: np.asarray(point[f"params.{name}"]) for name in self.layer.params}
        return forward(self.layer, [point[name] for name in self.inputs], training=False, tiles=1)


def _free(rng: np.random.Generator, value: Array) -> Array:
    """Random numbers in [-1, 1] at some places, and 0 at the others."""
    direction = np.zeros(value.shape)
    places = rng.choice(value.size, min(MOVED, value.size), replace=False, shuffle=False)
    direction.reshape(-1)[places] = rng.uniform(-1, 1, len(places))
    return direction


def _tied(rng: np.random.Generator, value: Array, size: float) -> Array:
    """Random numbers in [-1, 1] for some groups of equal numbers, one for each group, and 0 for the others."""
    _, group = np.unique(np.round(value / (EQUAL * size)), return_inverse=True)
    moves = rng.uniform(-1, 1, int(group.max(initial=-1)) + 1)
    moves[rng.permutation(len(moves))[MOVED:]] = 0
    return np.asarray(moves[group].reshape(value.shape))
