"""The gradient check: what `backward` says against finite differences of what `forward` does, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cnnkit.components import Layer, Loss, Merge
from cnnkit.errors import CheckError, ConfigError
from cnnkit.testing.comparing import checking
from cnnkit.testing.example_inputs import LARGE, REACH, apart, domain_of, moved_into
from cnnkit.testing.example_outputs import kinds_for, tried
from cnnkit.testing.finite_differences import (
    DIRECTIONS,
    STEP,
    Directions,
    Point,
    Value,
    beside_kinks,
    derivative,
    direction_errors,
    free_directions,
)
from cnnkit.testing.gradcheck_loss import loss_errors
from cnnkit.testing.tiled_passes import Built, Tile, backward, build, forward, input_names, output
from cnnkit.types import Array, Shape

THRESHOLD = 1e-6
LEVELS = np.array([-math.sqrt(1.5), math.sqrt(2) - 1, math.sqrt(3)])
"""The values of an input full of ties; irrational, so that sums of them do not fall on a kink by chance."""
PLACES = 4
"""How many numbers are moved off zero, one at a time."""


@dataclass(frozen=True)
class GradientReport:
    """How far the gradients of a component are from finite differences."""

    subject: str
    errors: dict[str, float]
    """The largest relative error over the directions tried, by input and parameter."""
    threshold: float
    surrogates: tuple[str, ...] = ()
    """What has another gradient on purpose, and was not compared."""
    example: str = ""
    """A place where the gradient is wrong, as text."""

    @property
    def error(self) -> float:
        """The largest of all relative errors."""
        return max(self.errors.values(), default=0.0)

    @property
    def ok(self) -> bool:
        """True if no error is above the threshold."""
        return self.error <= self.threshold

    def __str__(self) -> str:
        verdict = "right" if self.ok else "wrong"
        size = f"relative error {self.error:.1e}, {self.threshold:.0e} allowed"
        lines = [f"the gradient of {self.subject} is {verdict} ({size})"]
        lines += [f"{name}: {error:.1e}" for name, error in self.errors.items()]
        lines += [f"{name}: not compared, it is declared a surrogate gradient" for name in self.surrogates]
        lines += [self.example] if self.example else []
        return "\n  ".join(lines)


def gradient_check(
    subject: Layer | Merge | Loss,
    in_shape: Shape,
    *,
    batch: int = 4,
    seed: int = 0,
    threshold: float = THRESHOLD,
    targets: Array | None = None,
    outputs: Array | None = None,
    target_shape: Shape | None = None,
) -> GradientReport:
    """Compare the gradients of a layer, a merge (with the layers in its branches) or a loss with finite differences.

    For f = sum of dy * y with a random dy, and random directions d in the inputs and in each parameter:
        <gradient, d>  against  (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / (12 h),  where f(t) is f moved by t * d
    The right side is exact up to h^4. Inputs are apart by more than they move, so that no ReLU and no maximum changes
    sides, first up to +-1.7, then up to +-100; then they are full of ties that move together, so that a maximum with
    ties is still differentiable along d. Where the slopes to both sides of a place disagree, it lies on another kink,
    such as one between two layers in one: others are drawn, up to five in all. At inputs of 0, where a layer may have a
    kink, the gradient of a number that moves alone must be between the slopes of both sides. Inputs keep to the layer's
    `domain`; what it names in `surrogate_gradients` is not compared.
    A layer runs in training mode on two unequal tiles, whose partials and gradients are added, then in prediction.

    in_shape: without the batch axis; for a loss the shape of the outputs, such as (F,). The subject itself is left
    alone. targets, outputs: of a loss, (N, ...); if None, all kinds of targets that the loss takes, and outputs of the
    first kind; target_shape: of one target, if it is another one than usual for these outputs.
    Raises ConfigError for a batch below 2, ShapeError if the subject does not take this shape, CheckError if `backward`
    does not give one gradient, of the right shape, for each input and parameter, or if outputs and targets do not fit.
    Source: Fornberg (1988), Generation of finite difference formulas on arbitrarily spaced grids.
    """
    if batch < 2:
        raise ConfigError(f"batch must be a whole number, 2 or above, so that there are two tiles, got {batch!r}")
    rng = np.random.default_rng(seed)
    with checking():
        if isinstance(subject, Loss):
            found = tried(subject.forward, kinds_for(subject), in_shape, batch, rng, outputs, targets, target_shape)
            return GradientReport(repr(subject), loss_errors(subject, found, rng, threshold), threshold)
        built = build(subject, in_shape, rng)
        errors, example = _check_built(built, batch, rng, threshold)
        surrogates = tuple(_all_surrogates(built))
        return GradientReport(repr(subject), errors, threshold, surrogates, example)


def surrogates_of(layer: Layer | Merge, inputs: int) -> tuple[str, ...]:
    """What is not compared, as the report calls it. Raises ConfigError for a name that the layer does not have."""
    names = [*input_names(layer, inputs), *layer.params]
    for name in layer.surrogate_gradients:
        if name not in names:
            raise ConfigError(f"{layer!r}: surrogate_gradients must be a tuple of names among {names}, got {name!r}")
    return tuple(f"params.{name}" if name in layer.params else name for name in layer.surrogate_gradients)


def _all_surrogates(built: Built) -> Iterator[str]:
    """Those of a layer, and of the layers in its branches."""
    yield from surrogates_of(built.layer, len(built.in_shapes))
    for place, inner in enumerate(built.inner):
        yield from (f"{place}: {inner.layer!r} {name}" for name in _all_surrogates(inner))


def _check_built(built: Built, batch: int, rng: np.random.Generator, threshold: float) -> tuple[dict[str, float], str]:
    """The errors by what they are of, and an example if one of the inputs is wrong."""
    layer, domain = built.layer, domain_of(built.layer)
    shapes = [(batch, *shape) for shape in built.in_shapes]
    inputs = input_names(layer, len(shapes))
    params = {f"params.{name}": value for name, value in layer.params.items()}
    skipped = surrogates_of(layer, len(shapes))
    dy = rng.normal(size=(batch, *built.out_shape))
    example = ""

    def at(points: Sequence[Array]) -> Point:
        return dict(zip(inputs, points, strict=True)) | params

    def compare(where: str, draw: Callable[[], tuple[Point, Directions]], *, training: bool = True) -> dict[str, float]:
        nonlocal example
        place = _Place(layer, inputs, dy, training)

        def errors_at(point: Point, directions: Directions, *, kinks_are_errors: bool) -> dict[str, float]:
            gradients = place.gradients(point)
            scale = float(np.abs(dy * place.outputs(point)).sum())
            chosen = (one for one in directions if one[0] not in skipped)
            return direction_errors(
                place.value, point, gradients, chosen, scale, threshold, kinks_are_errors=kinks_are_errors
            )

        point, found = beside_kinks(draw, errors_at)
        wrong = [name for name, error in found.items() if not error <= threshold]
        if wrong and not example:
            example = _example(place.value, point, place.gradients(point), wrong[0], where, rng)
        return {f"{name}{where}": error for name, error in found.items()}

    def free(reach: float = REACH, count: int = DIRECTIONS, *, parameters: bool = True) -> tuple[Point, Directions]:
        # Some less, or what is drawn again would meet the same kinks at round numbers again.
        factor = rng.uniform(0.9, 1) * reach / REACH
        points = [moved_into(apart(rng, shape) * factor, reach, domain) for shape in shapes]
        point = at(points)
        return point, free_directions(rng, point if parameters else {name: point[name] for name in inputs}, count)

    def tied() -> tuple[Point, Directions]:
        levels = dict(zip(inputs, [rng.integers(len(LEVELS), size=shape) for shape in shapes], strict=True))
        point = at([moved_into(LEVELS[index], REACH, domain) for index in levels.values()])
        return point, _tied_directions(rng, levels)

    errors = compare("", free)
    errors |= compare(" with ties", tied)
    errors |= compare(" with large values", lambda: free(LARGE, 2, parameters=False))
    errors |= compare(" in prediction", lambda: free(count=1), training=False)
    if domain[0] < 0 < domain[1]:
        zero = at([np.zeros(shape) for shape in shapes])
        place = _Place(layer, inputs, dy, True)
        gradients = place.gradients(zero)
        for name in inputs:
            if name not in skipped:
                errors[f"{name} at 0"] = _error_at_zero(place, zero, gradients[name], name, rng)
    for number, inner in enumerate(built.inner):
        found, inner_example = _check_built(inner, batch, rng, threshold)
        errors |= {f"{number}: {inner.layer!r} {name}": error for name, error in found.items()}
        example = example or (inner_example and f"{number}: {inner.layer!r}: {inner_example}")
    return errors, example


class _Place:
    """A layer between its inputs, with its parameters, and a number: the sum of dy * y."""

    def __init__(self, layer: Layer | Merge, inputs: Sequence[str], dy: Array, training: bool) -> None:
        self.layer, self.inputs, self.dy, self.training = layer, inputs, dy, training

    def value(self, point: Mapping[str, Array]) -> float:
        """f."""
        return float(np.vdot(self.dy, self.outputs(point)))

    def outputs(self, point: Mapping[str, Array]) -> Array:
        """y. Raises CheckError if it has not the shape that build promised."""
        y = output(self._tiles(point))
        if y.shape != self.dy.shape:
            raise CheckError(f"{self.layer!r}: build promised outputs of shape {self.dy.shape}, forward gave {y.shape}")
        return y

    def gradients(self, point: Mapping[str, Array]) -> Point:
        """What backward gives. Raises CheckError for other names or shapes than those of the point."""
        dxs, grads = backward(self.layer, self.dy, self._tiles(point))
        found = dict(zip(self.inputs, dxs, strict=True)) | {f"params.{name}": grad for name, grad in grads.items()}
        expected = {name: value.shape for name, value in point.items()}
        given = {name: grad.shape for name, grad in found.items()}
        if given != expected:
            raise CheckError(
                f"{self.layer!r}: backward must give gradients of the shapes {expected}, it returned {given}"
            )
        return found

    def _tiles(self, point: Mapping[str, Array]) -> list[Tile]:
        self.layer.params = {name: np.asarray(point[f"params.{name}"]) for name in self.layer.params}
        return forward(self.layer, [point[name] for name in self.inputs], training=self.training, tiles=[1])


def _tied_directions(rng: np.random.Generator, levels: Mapping[str, Array]) -> Iterator[tuple[str, Array, float]]:
    """Directions that move equal inputs by equal amounts."""
    for name, index in levels.items():
        for _ in range(DIRECTIONS):
            yield name, rng.uniform(-1, 1, len(LEVELS))[index], STEP


def _error_at_zero(place: _Place, point: Point, gradient: Array, name: str, rng: np.random.Generator) -> float:
    """How far the gradient is outside of the slopes to both sides, relative; 0 where a slope cannot be told.

    Numbers move alone; each output may have a kink, and its gradient is one between its two slopes. A slope is told
    where two steps agree on it: not at a jump, and not where it has no end.
    """
    if not np.isfinite(gradient).all():
        return math.inf
    worst = 0.0
    here = place.outputs(point)
    for index in rng.permutation(gradient.size)[:PLACES]:
        direction = np.zeros(gradient.shape)
        direction.flat[index] = 1.0

        def slopes(h: float, direction: Array = direction) -> Array:
            one, two = (place.outputs({**point, name: point[name] + t * direction}) for t in (h, 2 * h))
            return np.asarray(place.dy * (4 * one - two - 3 * here) / (2 * h))

        sides = [(slopes(sign * STEP / 10), slopes(sign * STEP / 100)) for sign in (1, -1)]
        size = max(float(np.abs(side).sum()) for pair in sides for side in pair)
        if not math.isfinite(size) or any(np.abs(far - near).sum() > 1e-4 * size for far, near in sides):
            continue
        (_, right), (_, left) = sides
        low, high = float(np.minimum(left, right).sum()), float(np.maximum(left, right).sum())
        given = float(gradient.flat[index])
        size = max(size, abs(given))
        outside = max(low - given, given - high, 0.0)
        if outside > 1e-3 * max(size, 1e-6):
            worst = max(worst, outside / size)
    return worst


def _example(
    value: Value, point: Point, gradients: Mapping[str, Array], name: str, where: str, rng: np.random.Generator
) -> str:
    """Of some numbers, the one whose gradient is the farthest from finite differences, as text."""
    found = []
    for index in rng.permutation(point[name].size)[: 6 * PLACES]:
        direction = np.zeros(point[name].shape)
        direction.flat[index] = 1.0
        numeric = derivative(value, point, name, direction, STEP / 100)
        given = float(gradients[name].flat[index])
        distance = abs(given - numeric)
        found.append(
            (distance if math.isfinite(distance) else math.inf, float(point[name].flat[index]), given, numeric)
        )
    _, at, given, numeric = max(found)
    advice = "" if name.startswith("params.") else f"; if that is on purpose, declare surrogate_gradients = ({name!r},)"
    return (
        f"for example{where}, where {name} is {at:.4g}, backward gives {given:.4g} and finite differences give "
        f"{numeric:.4g}: make backward the derivative of forward{advice}"
    )
