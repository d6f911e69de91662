"""Checks that a call depends on its arguments alone, and leaves everything else alone."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np

from cnnkit.components import BatchCoupledLayer, Layer, Merge
from cnnkit.errors import CheckError
from cnnkit.testing.comparing import close
from cnnkit.testing.layer_trial import BATCH, PASSES, Trial
from cnnkit.testing.state import changes, global_generators, snapshot
from cnnkit.types import Array, Shape

MANY = 70
"""Samples, more than the engine's smallest tiles have."""
CUTS = ([1], [3, 4], [2, 9])
"""Where a batch is cut into unequal tiles."""


def check_inputs_unchanged(layer: Layer | Merge, in_shape: Shape) -> None:
    """`forward` and `backward` write into no array that they were given."""
    for name, training in PASSES.items():
        trial = Trial.make(layer, in_shape)
        own = trial.built.layer
        given = {f"xs[{i}]": x for i, x in enumerate(trial.xs)} | {"dy": trial.dy} | own.params
        given |= own.buffers
        before = {key: value.copy() for key, value in given.items()}
        trial.results_of(name, training=training)
        for key, value in given.items():
            if not np.array_equal(value, before[key]):
                raise CheckError(
                    f"forward or backward changed {key} in place, in {name}; write into ctx.empty_like({key}) instead"
                )


def check_no_call_state(layer: Layer | Merge, in_shape: Shape) -> None:
    """A call leaves no trace, wherever it is reachable: several workers use the layer at once.

    Constants that are made in the first calls and stay are harmless, if they do not depend on the inputs.
    """
    first, second = _Called(layer, in_shape, seed=1), _Called(layer, in_shape, seed=2)
    if generators := _moved_generators(first.calls[0]):
        raise CheckError(f"{generators} were drawn from: take random numbers from ctx.rng")
    for called in (first, second):
        for call in called.calls:
            call()
        called.check_arrays()
    made = snapshot(first.trial.built.layer)
    for changed in (
        changes(_own(made), _own(snapshot(second.trial.built.layer))),
        _changed_by(first, made),
    ):
        if changed:
            raise CheckError(
                f"forward or backward changed {', '.join(changed)}; return it in the cache instead: several workers "
                "run one layer at once"
            )
    first.check_arrays()


class _Called:
    """A built layer that is called with batches of two sizes, and the arrays that it had before."""

    def __init__(self, layer: Layer | Merge, in_shape: Shape, seed: int) -> None:
        layer = copy.deepcopy(layer)  # a merge is not copied when it is built
        self.trial = Trial.make(layer, in_shape, batch=5, seed=seed)
        small = Trial.make(layer, in_shape, batch=3, seed=seed + 10)
        small.built = self.trial.built
        self.calls: list[Callable[[], object]] = [self.trial.results, small.results]
        self._arrays = dict(_arrays(self.trial.built.layer))

    def check_arrays(self) -> None:
        """Raises CheckError if a parameter or buffer is another array than before."""
        now = _arrays(self.trial.built.layer)
        for name, array in self._arrays.items():
            if now.get(name) is not array:
                raise CheckError(
                    f"forward or backward replaced {name} by another array, but training moves the one that was there, "
                    "a view of the network's vector; compute in the call what depends on it"
                )


def _changed_by(called: _Called, before: dict[str, object]) -> list[str]:
    for call in called.calls:
        call()
        if changed := changes(before, snapshot(called.trial.built.layer)):
            return changed
    return []


def _own(found: dict[str, object]) -> dict[str, object]:
    """What a layer holds itself: classes and modules are the same for all."""
    return {path: value for path, value in found.items() if path.startswith("self")}


def _arrays(layer: Layer | Merge) -> dict[str, Array]:
    params = {f"params[{name!r}]": value for name, value in layer.params.items()}
    return params | {f"buffers[{name!r}]": value for name, value in layer.buffers.items()}


def _moved_generators(call: Callable[[], object]) -> str:
    before = global_generators()
    call()
    return "" if global_generators() == before else "the generators of the modules random or np.random"


def check_interleaved_calls(layer: Layer | Merge, in_shape: Shape) -> None:
    """Calls can be repeated, and tiles on their way through one layer do not disturb each other, of one size or not."""
    first = Trial.make(layer, in_shape, seed=1)
    others = [Trial.make(layer, in_shape, batch=batch, seed=2) for batch in (BATCH, 5)]
    for other in others:
        other.built = first.built
    alone = {key: value.copy() for key, value in first.results().items()}
    for key, value in first.results().items():
        if not np.array_equal(alone[key], value, equal_nan=True):
            raise CheckError(
                f"{key} depends on an earlier call: the same inputs gave something else the second time; keep nothing, "
                "and take random numbers from ctx.rng alone"
            )
    for name, training in PASSES.items():
        first.forward(training=training)
        for other in others:
            other.results()
        if not np.array_equal(first.tiles[0].y, alone[f"y in {name}"], equal_nan=True):
            raise CheckError(f"y in {name} was overwritten by a later call; return memory that is not used again")
        dxs, grads = first.backward()
        found = {f"dx {i}": dx for i, dx in enumerate(dxs)} | {f"gradient of {key}": g for key, g in grads.items()}
        for key, value in found.items():
            if not np.array_equal(alone[f"{key} in {name}"], value, equal_nan=True):
                raise CheckError(f"{key} in {name} depends on what another tile did between forward and backward")


def check_strides(layer: Layer | Merge, in_shape: Shape) -> None:
    """The order of axes in memory changes nothing but speed: that of the engine, of kernels, and views with gaps."""
    expected = Trial.make(layer, in_shape).results()
    for what, lay in ORDERS.items():
        trial = Trial.make(layer, in_shape)
        trial.xs, trial.dy = [lay(x) for x in trial.xs], lay(trial.dy)
        for name, value in trial.results().items():
            close(f"{name} for inputs {what}", value, expected[name])


def check_tiles(layer: Layer | Merge, in_shape: Shape) -> None:
    """In prediction a sample's output, and its gradient, do not depend on the other samples, few or many."""
    for batch, cuts in ((BATCH, [*CUTS, range(1, BATCH)]), (MANY, ([33, 65],))):
        expected = Trial.make(layer, in_shape, batch=batch).results_of("prediction", training=False)
        for cut in cuts:
            trial = Trial.make(layer, in_shape, batch=batch)
            for name, value in trial.results_of("prediction", training=False, tiles=cut).items():
                close(f"{name} of a batch that is cut into tiles", value, expected[name])


def check_training_tiles(layer: Layer | Merge, in_shape: Shape) -> None:
    """In training the way in which a batch is cut changes nothing, unless the layer draws at random.

    A layer that is coupled over the batch is given the totals of its tiles; no other may look at other samples.
    """
    if Trial.make(layer, in_shape).is_random():
        return  # two tiles draw other numbers than one
    for batch, cuts in ((BATCH, CUTS), (MANY, ([33, 65],))):
        whole = Trial.make(layer, in_shape, batch=batch)
        expected = whole.results_of("training", training=True) | _absorbed(whole)
        for cut in cuts:
            trial = Trial.make(layer, in_shape, batch=batch)
            found = trial.results_of("training", training=True, tiles=cut) | _absorbed(trial, cut)
            for name, value in found.items():
                close(f"{name} of a batch that is cut into unequal tiles; {_advice(layer)}", value, expected[name])


def _advice(layer: Layer | Merge) -> str:
    if isinstance(layer, BatchCoupledLayer):
        return "partials must be sums, such as counts and sums of numbers, from whose total the result is made"
    return "a layer that looks at the batch must be a BatchCoupledLayer, random numbers come from ctx.rng"


def _absorbed(trial: Trial, cut: int | list[int] = 1) -> dict[str, Array]:
    """The buffers that the totals of a batch leave behind."""
    layer = trial.built.layer
    if not isinstance(layer, BatchCoupledLayer):
        return {}
    trial.forward(tiles=cut)
    layer.absorb(trial.tiles[0].ctx.total)
    return {f"buffers[{name!r}]": value.copy() for name, value in layer.buffers.items()}


def _engine_order(x: Array) -> Array:
    """As the engine gives images and signals: (H, W, C, N) and (L, C, N) in memory."""
    axes = (*range(2, x.ndim), 1, 0) if x.ndim > 2 else tuple(range(x.ndim))
    return _in_memory(x, axes)


def _samples_fastest(x: Array) -> Array:
    """As kernels give what they compute: (C, H, W, N) or (F, N) in memory."""
    return _in_memory(x, (*range(1, x.ndim), 0))


def _in_memory(x: Array, axes: tuple[int, ...]) -> Array:
    return np.ascontiguousarray(x.transpose(axes)).transpose(np.argsort(axes))


def _with_gaps(x: Array) -> Array:
    """A part of a larger array, as the branches of a concatenation are."""
    larger = np.concatenate([x, np.full_like(x, np.nan)], axis=1)
    return larger[:, : x.shape[1]]


ORDERS: dict[str, Callable[[Array], Array]] = {
    "in the engine's memory order, (H, W, C, N)": _engine_order,
    "whose samples are the fastest axis": _samples_fastest,
    "that are a part of a larger array": _with_gaps,
}
"""How inputs may lie in memory."""
