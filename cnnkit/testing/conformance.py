"""The conformance suite: everything that the engine, the registry and the export take for granted about a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from cnnkit.components import BatchCoupledLayer, Layer, Merge, installed_catalog
from cnnkit.components.expressions import parse
from cnnkit.errors import CheckError, ComponentError
from cnnkit.testing.comparing import equal, frozen, run_checks, same
from cnnkit.testing.gradient import gradient_check
from cnnkit.testing.lowering import check_lowering
from cnnkit.testing.running import Built, Tile, backward, build, cast_parameters, forward, output
from cnnkit.types import Array, Grads, Shape

DTYPE = "float32"
RELATIVE, ABSOLUTE = 1e-4, 1e-5
"""Tolerances between results that may differ by the order of float32 sums."""


def check_layer(layer: Layer | Merge | str, in_shape: Shape) -> None:
    """Check that a layer or a merge keeps its contract; `CHECKS` lists what that is.

    layer: a component or its expression; in_shape: without the batch axis. The component itself is left alone.
    Raises CheckError that names the check and says what was expected and what came; ExpressionError, ComponentError or
    ConfigError for an expression that describes no layer, ShapeError if the layer does not take this shape.
    """
    component = cast("Layer | Merge", installed_catalog().build("layer", layer))
    build(component, in_shape, np.random.default_rng(0))
    run_checks(f"{type(component).__name__} on inputs of shape {in_shape}", CHECKS, component, in_shape)


@dataclass
class Trial:
    """A built layer in float32 with a batch to run it on."""

    built: Built
    xs: list[Array]
    dy: Array
    seed: int
    tiles: list[Tile] = field(default_factory=list)

    @classmethod
    def make(cls, layer: Layer | Merge, in_shape: Shape, *, batch: int = 4, seed: int = 0) -> Trial:
        """Parameters depend on the shape alone, inputs on the seed."""
        built = build(layer, in_shape, np.random.default_rng(0))
        cast_parameters(built.layer, DTYPE)
        rng = np.random.default_rng(seed)
        xs = [rng.normal(size=(batch, *shape)).astype(DTYPE) for shape in built.in_shapes]
        return cls(built, xs, rng.normal(size=(batch, *built.out_shape)).astype(DTYPE), seed)

    def forward(self, *, training: bool = True, tiles: int = 1) -> Array:
        """The output."""
        self.tiles = forward(self.built.layer, self.xs, training=training, seed=self.seed, tiles=tiles)
        return output(self.tiles)

    def backward(self) -> tuple[list[Array], Grads]:
        """The gradients."""
        return backward(self.built.layer, self.dy, self.tiles)

    def results(self) -> dict[str, Array]:
        """Everything that a training pass gives, by name."""
        y = self.forward()
        dxs, grads = self.backward()
        return (
            {"y": y} | {f"dx {i}": dx for i, dx in enumerate(dxs)} | {f"gradient of {k}": g for k, g in grads.items()}
        )


def check_shapes(layer: Layer | Merge, in_shape: Shape) -> None:
    """Outputs have the shape that `build` returned, gradients those of inputs and parameters, for any batch size."""
    for batch in (1, 3):
        trial = Trial.make(layer, in_shape, batch=batch)
        equal("type of the sizes that build returns", {type(size) for size in trial.built.out_shape}, {int})
        for training in (True, False):
            equal("shape of y", trial.forward(training=training).shape, (batch, *trial.built.out_shape))
        trial.forward()
        dxs, grads = trial.backward()
        equal("shapes of dx", [dx.shape for dx in dxs], [x.shape for x in trial.xs])
        params = _params(trial.built.layer)
        equal("shapes of gradients", {k: g.shape for k, g in grads.items()}, {k: p.shape for k, p in params.items()})


def check_dtype(layer: Layer | Merge, in_shape: Shape) -> None:
    """float32 in, float32 out: one float64 constant would make everything after it slow."""
    for name, value in Trial.make(layer, in_shape).results().items():
        equal(f"dtype of {name}", str(value.dtype), DTYPE)


def check_memory(layer: Layer | Merge, in_shape: Shape) -> None:
    """Memory is written before it is read or returned; it is NaN here otherwise."""
    for name, value in Trial.make(layer, in_shape).results().items():
        if not np.isfinite(value).all():
            raise CheckError(f"{name} is not finite; write memory from ctx before it is read")


def check_inputs_unchanged(layer: Layer | Merge, in_shape: Shape) -> None:
    """`forward` and `backward` write into no array that they were given."""
    trial = Trial.make(layer, in_shape)
    given = {f"xs[{i}]": x for i, x in enumerate(trial.xs)} | {"dy": trial.dy} | _params(trial.built.layer)
    before = {name: value.copy() for name, value in given.items()}
    trial.results()
    for name, value in given.items():
        if not np.array_equal(value, before[name]):
            raise CheckError(f"forward or backward changed {name} in place; write into ctx.empty_like({name}) instead")


def check_no_call_state(layer: Layer | Merge, in_shape: Shape) -> None:
    """A call leaves no trace on the layer: several workers use it at once."""
    trial = Trial.make(layer, in_shape)
    before = {name: frozen(value) for name, value in vars(trial.built.layer).items()}
    trial.results()
    trial.forward(training=False)
    after = vars(trial.built.layer)
    changed = [name for name in {**before, **after} if name not in after or not same(before.get(name), after[name])]
    if changed:
        raise CheckError(f"forward or backward changed self.{', self.'.join(changed)}; return it in the cache instead")


def check_interleaved_calls(layer: Layer | Merge, in_shape: Shape) -> None:
    """Two tiles on their way through one layer do not disturb each other, and calls can be repeated."""
    first, second = Trial.make(layer, in_shape, seed=1), Trial.make(layer, in_shape, seed=2)
    second.built = first.built
    alone = first.results()
    first.forward()
    second.results()
    dxs, grads = first.backward()
    for name, value in zip(list(alone)[1:], [*dxs, *grads.values()], strict=True):
        if not np.array_equal(alone[name], value):
            raise CheckError(f"{name} depends on what another tile did between forward and backward")
    for name, value in first.results().items():
        if not np.array_equal(alone[name], value):
            raise CheckError(f"{name} depends on an earlier call: the same inputs gave something else the second time")


def check_strides(layer: Layer | Merge, in_shape: Shape) -> None:
    """The order of axes in memory changes nothing but speed."""
    rows, samples = Trial.make(layer, in_shape), Trial.make(layer, in_shape)
    samples.xs = [_samples_fastest(x) for x in samples.xs]
    samples.dy = _samples_fastest(samples.dy)
    expected = rows.results()
    for name, value in samples.results().items():
        _close(f"{name} for inputs whose samples are the fastest axis", value, expected[name])


def check_tiles(layer: Layer | Merge, in_shape: Shape) -> None:
    """In prediction a sample's output does not depend on the other samples."""
    whole, halves = Trial.make(layer, in_shape), Trial.make(layer, in_shape)
    _close("prediction for two halves", halves.forward(training=False, tiles=2), whole.forward(training=False))


def check_training_tiles(layer: Layer | Merge, in_shape: Shape) -> None:
    """In training, too, unless the layer says by its class that it is coupled over the batch, or draws at random."""
    trials = [Trial.make(layer, in_shape, seed=seed) for seed in (0, 0, 0)]
    if isinstance(layer, BatchCoupledLayer):
        return
    trials[2].seed = 1
    one, two, other_seed = trials[0].forward(), trials[1].forward(tiles=2), trials[2].forward()
    if np.array_equal(one, other_seed):  # else it draws, and two tiles draw other numbers than one
        _close("training output for two halves; a layer that looks at the batch must be a BatchCoupledLayer", two, one)


def check_repr(layer: Layer | Merge, in_shape: Shape) -> None:
    """`repr` is the expression that makes the layer again."""
    text = repr(layer)
    try:
        found = installed_catalog().find("layer", parse(text).name)
    except ComponentError:
        return  # not installed as a plugin: nothing can make it from its expression yet
    if found is type(layer):
        again = cast("Layer | Merge", installed_catalog().build("layer", text))
        equal("repr of the layer made from repr", repr(again), text)
        expected = Trial.make(layer, in_shape).results()
        for name, value in Trial.make(again, in_shape).results().items():
            _close(f"{name} of the layer made from repr, {text},", value, expected[name])


def check_gradient(layer: Layer | Merge, in_shape: Shape) -> None:
    """`backward` is the derivative of `forward`."""
    report = gradient_check(layer, in_shape)
    if not report.ok:
        raise CheckError(str(report))


CHECKS: Mapping[str, Callable[[Layer | Merge, Shape], None]] = {
    "shapes": check_shapes,
    "dtype": check_dtype,
    "memory": check_memory,
    "inputs unchanged": check_inputs_unchanged,
    "no call state": check_no_call_state,
    "interleaved calls": check_interleaved_calls,
    "strides": check_strides,
    "tiles": check_tiles,
    "training tiles": check_training_tiles,
    "repr": check_repr,
    "gradient": check_gradient,
    "lowering": check_lowering,
}
"""By name, in the order in which they run."""


def _params(layer: Layer | Merge) -> dict[str, Array]:
    return layer.params if isinstance(layer, Layer) else {}


def _samples_fastest(x: Array) -> Array:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0)


def _close(what: str, given: Array, expected: Array) -> None:
    if not np.allclose(given, expected, RELATIVE, ABSOLUTE):
        raise CheckError(f"{what}: expected the same values, they differ by up to {np.abs(given - expected).max():.1e}")
