"""The conformance suite: everything that the engine, the registry and the export assume about a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import cast

import numpy as np

from cnnkit.components import Layer, Merge, installed_catalog
from cnnkit.errors import CheckError
from cnnkit.testing.buffer_updates import check_absorbing
from cnnkit.testing.comparing import Suite, check_expression, checking, close, equal, named, run_all
from cnnkit.testing.declarations import check_cost, check_examples, check_lesson, check_pointwise
from cnnkit.testing.gradcheck import gradient_check
from cnnkit.testing.independence import (
    check_inputs_unchanged,
    check_interleaved_calls,
    check_no_call_state,
    check_strides,
    check_tiles,
    check_training_tiles,
)
from cnnkit.testing.layer_trial import DTYPE, Trial
from cnnkit.testing.lowering import check_lowering
from cnnkit.testing.randomness import check_draws, check_random_rate, check_samples_independent
from cnnkit.testing.tiled_passes import build
from cnnkit.types import Array, Shape

SMALL = 12
"""Rows and columns of other shapes than the one that is asked for, so that they cost little."""
FINITE = (
    "keep exponents, quotients and roots finite, or declare the inputs that the layer takes, such as "
    "domain = (0.0, math.inf)"
)


def check_layer(layer: Layer | Merge | str, in_shape: Shape) -> None:
    """Check that a layer or a merge keeps its contract; `CHECKS` lists what that is.

    Where the layer takes other shapes, too, `CHECKS_OF_SHAPES` are run on some of them. A layer that takes only some
    inputs declares its `domain`, one with a deliberate gradient its `surrogate_gradients`.

    layer: a component or its expression; in_shape: without the batch axis. The component itself is left alone.
    Raises CheckError that names the check and says what was expected and what was received; ExpressionError,
    ComponentError or ConfigError for an expression that does not describe a layer, ShapeError if the layer does not
    take this shape.
    """
    component = cast("Layer | Merge", installed_catalog().build("layer", layer))
    run_all(suites(component, in_shape))


def suites(layer: Layer | Merge, in_shape: Shape) -> Iterator[Suite]:
    """For this shape and for some near it. Raises ShapeError if the layer does not take it."""
    build(layer, in_shape, np.random.default_rng(0))
    yield _suite(layer, in_shape, CHECKS)
    for shape in _other_shapes(layer, in_shape):
        yield _suite(layer, shape, CHECKS_OF_SHAPES)


def _suite(
    layer: Layer | Merge, in_shape: Shape, checks: Mapping[str, Callable[[Layer | Merge, Shape], None]]
) -> Suite:
    return Suite(f"{named(layer)} on inputs of shape {in_shape}", layer, checks, (layer, in_shape))


def _other_shapes(layer: Layer | Merge, in_shape: Shape) -> list[Shape]:
    """Shapes near this one, none square or large, that the layer takes; one may be made for its own shape alone."""
    if len(in_shape) == 3:
        channels, height, width = in_shape[0], min(in_shape[1], SMALL), min(in_shape[2], SMALL)
        taller, wider = height + 3 + (height + 3 == width), width + 2 + (width + 2 == height)
        others: list[Shape] = [(channels, taller, width), (channels, height, wider), (2 * channels, taller, wider + 2)]
        others = [shape for shape in others if shape[1] != shape[2]]
    else:
        others = [(in_shape[0] + 3, *in_shape[1:])]
    if len(in_shape) == 2:
        channels, length = in_shape[0], min(in_shape[1], SMALL)
        others += [(channels, length + 3), (2 * channels, length + 2)]
    taken = []
    for shape in others:
        with suppress(Exception), checking():  # whatever is raised, it does not take this shape
            Trial.make(layer, shape, batch=2).forward()
            taken.append(shape)
    return taken


def check_build(layer: Layer | Merge, in_shape: Shape) -> None:
    """Parameters are finite arrays of floats, made with the generator that `build` was given and no other."""
    one, two = (build(layer, in_shape, np.random.default_rng(0)) for _ in range(2))
    equal("type of the sizes that build returns", {type(size) for size in one.out_shape}, {int})
    for (name, value), again in zip(one.layer.params.items(), two.layer.params.values(), strict=True):
        if not (isinstance(value, np.ndarray) and value.dtype.kind == "f" and np.isfinite(value).all()):
            raise CheckError(f"build must make params[{name!r}] an array of finite floats, it made {value!r}")
        if not np.array_equal(value, again):
            raise CheckError(f"params[{name!r}] differs between two builds with equal rng: draw it from rng alone")


def check_shapes(layer: Layer | Merge, in_shape: Shape) -> None:
    """Outputs have the shape that `build` returned, gradients those of inputs and parameters, for any batch size."""
    for batch in (1, 3):
        trial = Trial.make(layer, in_shape, batch=batch)
        params = {k: p.shape for k, p in trial.built.layer.params.items()}
        for training in (True, False):
            where = "training" if training else "prediction"
            equal(f"shape of y in {where}", trial.forward(training=training).shape, (batch, *trial.built.out_shape))
            found = trial.results_of("", training=training)
            dxs = [value.shape for name, value in found.items() if name.startswith("dx")]
            equal(f"shapes of dx in {where}", dxs, [x.shape for x in trial.xs])
            grads = {name.split()[2]: value.shape for name, value in found.items() if name.startswith("gradient of")}
            equal(f"shapes of gradients in {where}", grads, params)


def check_dtype(layer: Layer | Merge, in_shape: Shape) -> None:
    """float32 in, float32 out, and likewise float64: one float64 constant would make everything after it slow."""
    for dtype in (DTYPE, "float64"):
        for name, value in Trial.make(layer, in_shape, dtype=dtype).results().items():
            if str(value.dtype) != dtype:
                raise CheckError(
                    f"dtype of {name}: expected {dtype}, got {value.dtype}; give what is made in a call the dtype of x"
                )


def check_memory(layer: Layer | Merge, in_shape: Shape) -> None:
    """Memory is written before it is read or returned; it holds NaN here, or zeros, where it is not."""
    trial = Trial.make(layer, in_shape)
    found, other = trial.results(), trial.results(fill=0.0)
    for name, value in found.items():
        if not np.isfinite(other[name]).all():
            raise CheckError(f"{name} is {_first_not_finite(other[name])} for {_told(trial.xs)}: {FINITE}")
        if not np.isfinite(value).all():
            raise CheckError(f"{name} is not finite; write memory from ctx before it is read")
        if not np.array_equal(value, other[name]):
            raise CheckError(f"{name} depends on what memory from ctx holds; write it before it is read")


def check_gradient_places(layer: Layer | Merge, in_shape: Shape) -> None:
    """Each gradient is written to the place of its own parameter, if to any."""
    trial = Trial.make(layer, in_shape)
    trial.forward()
    _, grads = trial.backward()
    trial.forward()
    for tile in trial.tiles:
        tile.ctx.gradients = _Forgetful()
    _, expected = trial.backward()
    for name, value in grads.items():
        if not np.array_equal(value, expected[name], equal_nan=True):
            raise CheckError(
                f"the gradient of {name!r} is overwritten: ctx.gradient(name, shape) is the one place for the gradient "
                "of the parameter with this name; ask for each gradient by its own"
            )


class _Forgetful(dict[str, Array]):
    """Places that are new each time."""

    def __setitem__(self, name: str, place: Array) -> None:
        """Keep nothing."""


def check_finite(layer: Layer | Merge, in_shape: Shape) -> None:
    """Nothing overflows or becomes NaN for inputs of 0, of +-100, and for equal ones, together or alone."""
    trial = Trial.make(layer, in_shape, extremes=True)
    everything, dys = trial.xs, trial.dy
    for some in (slice(None), *(slice(i, i + 1) for i in range(len(dys)))):
        trial.xs, trial.dy = [x[some] for x in everything], dys[some]
        for name, value in trial.results().items():
            if not np.isfinite(value).all():
                raise CheckError(f"{name} is {_first_not_finite(value)} for {_told(trial.xs)}: {FINITE}")


def _first_not_finite(value: Array) -> float:
    return float(value[~np.isfinite(value)].flat[0])


def _told(xs: list[Array]) -> str:
    low, high = min(x.min() for x in xs), max(x.max() for x in xs)
    return f"inputs that are all {low:g}" if low == high else f"inputs from {low:g} to {high:g}"


def check_repr(layer: Layer | Merge, in_shape: Shape) -> None:
    """`repr` is the expression that recreates the layer, after `build` as before."""
    text = repr(layer)
    trial = Trial.make(layer, in_shape)
    expected = trial.results()
    equal("repr after build and a call", repr(trial.built.layer), text)
    again = check_expression("layer", layer)
    if again is not None:
        for name, value in Trial.make(cast("Layer | Merge", again), in_shape).results().items():
            close(f"{name} of the layer made from repr, {text},", value, expected[name])


def check_gradient(layer: Layer | Merge, in_shape: Shape) -> None:
    """`backward` is the derivative of `forward`."""
    report = gradient_check(layer, in_shape)
    if not report.ok:
        raise CheckError(str(report))


CHECKS: Mapping[str, Callable[[Layer | Merge, Shape], None]] = {
    "build": check_build,
    "shapes": check_shapes,
    "dtype": check_dtype,
    "inputs unchanged": check_inputs_unchanged,
    "no call state": check_no_call_state,
    "interleaved calls": check_interleaved_calls,
    "gradient places": check_gradient_places,
    "memory": check_memory,
    "draws": check_draws,
    "strides": check_strides,
    "training tiles": check_training_tiles,
    "tiles": check_tiles,
    "absorbing": check_absorbing,
    "samples drawn apart": check_samples_independent,
    "rate": check_random_rate,
    "repr": check_repr,
    "finite": check_finite,
    "gradient": check_gradient,
    "lowering": check_lowering,
    "cost": check_cost,
    "lesson": lambda layer, _: check_lesson(layer),
    "examples": lambda layer, _: check_examples(layer),
    "pointwise": check_pointwise,
}
"""By name, in the order in which they run."""
CHECKS_OF_SHAPES: Mapping[str, Callable[[Layer | Merge, Shape], None]] = {
    name: CHECKS[name] for name in ("shapes", "strides", "gradient", "lowering")
}
"""Those that are run on other shapes, too."""
