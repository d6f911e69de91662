"""The gradient check: what `backward` says against finite differences of what `forward` does, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from cnnkit.components import Layer, Loss, Merge
from cnnkit.errors import CheckError, ConfigError, ShapeError
from cnnkit.testing.running import Built, Tile, backward, build, forward, output
from cnnkit.types import Array, Shape

DIRECTIONS = 3
STEP = 1e-3
LEVELS = np.array([-math.sqrt(1.5), math.sqrt(2) - 1, math.sqrt(3)])
"""The values of an input full of ties; irrational, so that sums of them do not fall on a kink by chance."""

Point = dict[str, Array]
Value = Callable[[Mapping[str, Array]], float]


@dataclass(frozen=True)
class GradientReport:
    """How far the gradients of a component are from finite differences."""

    subject: str
    errors: dict[str, float]
    """The largest relative error over the directions tried, by input and parameter."""
    threshold: float

    @property
    def error(self) -> float:
        """The largest of all relative errors."""
        return max(self.errors.values())

    @property
    def ok(self) -> bool:
        """True if no error is above the threshold."""
        return self.error <= self.threshold

    def __str__(self) -> str:
        verdict = "right" if self.ok else "wrong"
        size = f"relative error {self.error:.1e}, {self.threshold:.0e} allowed"
        lines = [f"the gradient of {self.subject} is {verdict} ({size})"]
        lines += [f"{name}: {error:.1e}" for name, error in self.errors.items()]
        return "\n  ".join(lines)


def gradient_check(
    subject: Layer | Merge | Loss, in_shape: Shape, *, batch: int = 4, seed: int = 0, threshold: float = 1e-6
) -> GradientReport:
    """Compare the gradients of a layer, a merge (with the layers in its branches) or a loss with finite differences.

    For f = sum of dy * y with a random dy, and random directions d in the inputs and in each parameter:
        <gradient, d>  against  (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / (12 h),  where f(t) is f moved by t * d
    The right side is exact up to h^4. Inputs are apart by more than they move, so that no ReLU and no maximum changes
    sides; then they are full of ties that move together, so that a maximum with ties is still differentiable along d.
    A layer runs in training mode on two tiles, whose partials and gradients are added.

    in_shape: without the batch axis; for a loss the shape of the outputs, (F,). The subject itself is left alone.
    Raises ConfigError for a batch below 2, ShapeError if the subject does not take this shape, CheckError if `backward`
    does not give one gradient, of the right shape, for each input and parameter.
    Source: Fornberg (1988), Generation of finite difference formulas on arbitrarily spaced grids.
    """
    if batch < 2:
        raise ConfigError(f"batch must be a whole number, 2 or above, so that there are two tiles, got {batch!r}")
    rng = np.random.default_rng(seed)
    if isinstance(subject, Loss):
        errors = _check_loss(subject, (batch, *in_shape), rng, threshold)
    else:
        errors = _check_built(build(subject, in_shape, rng), batch, rng, threshold)
    return GradientReport(repr(subject), errors, threshold)


def _check_built(built: Built, batch: int, rng: np.random.Generator, threshold: float) -> dict[str, float]:
    layer = built.layer
    shapes = [(batch, *shape) for shape in built.in_shapes]
    names = [f"xs[{i}]" for i in range(len(shapes))] if isinstance(layer, Merge) else ["x"]
    params = {} if isinstance(layer, Merge) else {f"params.{name}": value for name, value in layer.params.items()}
    dy = rng.normal(size=(batch, *built.out_shape))

    def tiles(point: Mapping[str, Array]) -> list[Tile]:
        if isinstance(layer, Layer):
            layer.params = {name: point[f"params.{name}"] for name in layer.params}
        return forward(layer, [point[name] for name in names])

    def outputs(point: Mapping[str, Array]) -> Array:
        y = output(tiles(point))
        if y.shape != dy.shape:
            raise CheckError(f"{layer!r}: build promised outputs of shape {dy.shape}, forward gave {y.shape}")
        return y

    def gradients(point: Mapping[str, Array]) -> Point:
        dxs, grads = backward(layer, dy, tiles(point))
        found = dict(zip(names, dxs, strict=True)) | {f"params.{name}": grad for name, grad in grads.items()}
        expected = {name: value.shape for name, value in point.items()}
        given = {name: grad.shape for name, grad in found.items()}
        if given != expected:
            raise CheckError(f"{layer!r}: backward must give gradients of the shapes {expected}, it gave {given}")
        return found

    def value(point: Mapping[str, Array]) -> float:
        return float(np.vdot(dy, outputs(point)))

    def compare(point: Point, directions: Iterator[tuple[str, Array, float]]) -> dict[str, float]:
        scale = float(np.abs(dy * outputs(point)).sum())
        return _errors(value, point, gradients(point), directions, scale, threshold)

    apart = {name: _apart(rng, shape) for name, shape in zip(names, shapes, strict=True)} | params
    errors = compare(apart, _free_directions(rng, apart))
    levels = {name: rng.integers(len(LEVELS), size=shape) for name, shape in zip(names, shapes, strict=True)}
    tied = {name: LEVELS[index] for name, index in levels.items()} | params
    errors |= {f"{name} with ties": e for name, e in compare(tied, _tied_directions(rng, levels)).items()}
    for place, inner in enumerate(built.inner):
        found = _check_built(inner, batch, rng, threshold)
        errors |= {f"{place}: {inner.layer!r} {name}": error for name, error in found.items()}
    return errors


def _check_loss(loss: Loss, shape: Shape, rng: np.random.Generator, threshold: float) -> dict[str, float]:
    # Without `from_logits` the outputs may have to be probabilities, so they stay inside (0, 1).
    outputs = _apart(rng, shape) if loss.from_logits else 0.5 + _apart(rng, shape) / 4
    weight = rng.uniform(0.2, 0.8)
    errors: dict[str, float] = {}
    refusals = []
    classes, values = rng.integers(shape[1], size=shape[0]), rng.uniform(0.05, 0.95, shape)
    shares = values / values.sum(axis=1, keepdims=True)
    for kind, targets in (("classes", classes), ("values", values), ("shares", shares)):

        def value(point: Mapping[str, Array], targets: Array = targets) -> float:
            return weight * float(loss.forward(point["outputs"], targets)[0].sum())

        try:
            losses, cache = loss.forward(outputs, targets)
        except (ShapeError, IndexError, TypeError, ValueError) as refusal:  # a loss may take one kind of targets only
            refusals.append(refusal)
            continue
        if losses.shape != shape[:1]:
            raise CheckError(
                f"{loss!r}: forward must give one loss for each sample, {shape[:1]}, it gave {losses.shape}"
            )
        point = {"outputs": outputs}
        found = {"outputs": loss.backward(cache, weight)}
        if found["outputs"].shape != shape:
            raise CheckError(
                f"{loss!r}: backward must give a gradient of shape {shape}, it gave {found['outputs'].shape}"
            )
        scale = weight * float(np.abs(losses).sum())
        result = _errors(value, point, found, _free_directions(rng, point), scale, threshold)
        errors[f"outputs, targets are {kind}"] = result["outputs"]
    if not errors:
        raise refusals[0]
    return errors


def _apart(rng: np.random.Generator, shape: Shape) -> Array:
    """Numbers in random order, mean 0 and variance 1, all equally far from their neighbours and none near 0."""
    size = math.prod(shape)
    return rng.permutation((np.arange(size) - size // 2 + 0.5) * (2 * math.sqrt(3) / size)).reshape(shape)


def _free_directions(rng: np.random.Generator, point: Point) -> Iterator[tuple[str, Array, float]]:
    """Directions with entries in [-1, 1], and a step that is small against the distance between neighbours."""
    for name, value in point.items():
        step = min(STEP, 2 * math.sqrt(3) / value.size / 8)
        for _ in range(DIRECTIONS):
            yield name, rng.uniform(-1, 1, value.shape), step


def _tied_directions(rng: np.random.Generator, levels: Mapping[str, Array]) -> Iterator[tuple[str, Array, float]]:
    """Directions that move equal inputs by equal amounts."""
    for name, index in levels.items():
        for _ in range(DIRECTIONS):
            yield name, rng.uniform(-1, 1, len(LEVELS))[index], STEP


def _errors(
    value: Value,
    point: Point,
    gradients: Mapping[str, Array],
    directions: Iterator[tuple[str, Array, float]],
    scale: float,
    threshold: float,
) -> dict[str, float]:
    """The largest relative error for each name; `scale` is the size of the terms that f adds up."""
    errors: dict[str, float] = {}
    for name, direction, step in directions:
        analytic = float(np.vdot(gradients[name], direction))
        error = math.inf
        # A wrong gradient is wrong for every step; a kink that lies within the first step is rarely within the second.
        for h in (step, step / 30):
            numeric = _derivative(value, point, name, direction, h)
            # f carries a rounding error of about 1e-16 * scale, h divides it: below this floor there is only noise.
            size = max(abs(analytic), abs(numeric), 1e-4 * scale)
            if not math.isfinite(analytic) or not math.isfinite(numeric):
                break
            error = min(error, abs(analytic - numeric) / size if size else 0.0)
            if error <= threshold:
                break
        errors[name] = max(errors.get(name, 0.0), error)
    return errors


def _derivative(value: Value, point: Point, name: str, direction: Array, h: float) -> float:
    def at(steps: int) -> float:
        return value({**point, name: point[name] + steps * h * direction})

    return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * h)
