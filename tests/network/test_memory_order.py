"""A layer that leaves the engine's memory order slows no other: what it returns is put back in order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from cnnkit import Sequential
from cnnkit.components import Layer, Merge
from cnnkit.layers import Conv2D, Dense, Flatten
from cnnkit.losses import CrossEntropy
from cnnkit.network import Objective, Session
from cnnkit.optimizers import SGD
from cnnkit.types import Array, Cache, Context, Grads, Samples, Shape


class Padded(Layer):
    """Passes images on, through `np.pad`, whose result is in C order."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return self._passed_on(x), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return self._passed_on(dy), {}

    def _passed_on(self, x: Array) -> Array:
        around = ((0, 0), (0, 0), *[(1, 1)] * (x.ndim - 2))
        inside = (slice(None), slice(None), *[slice(1, -1)] * (x.ndim - 2))
        return np.ascontiguousarray(np.pad(x, around)[inside])


class PaddedSum(Merge):
    """A sum whose gradients are in C order."""

    def merge_shape(self, in_shapes: Sequence[Shape]) -> Shape:
        return in_shapes[0]

    def forward(self, xs: Sequence[Array], ctx: Context) -> tuple[Array, Cache]:
        return np.ascontiguousarray(xs[0] + xs[1]), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> Sequence[Array]:
        return [np.ascontiguousarray(dy), np.ascontiguousarray(dy)]


class Orders(Layer):
    """Passes values on, and notes for which samples were not the fastest axis."""

    def __init__(self) -> None:
        self.slow: list[str] = []

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        self._note("forward", x)
        return x, None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        self._note("backward", dy)
        return dy, {}

    def _note(self, way: str, x: Array) -> None:
        if x.strides[0] != x.itemsize:
            self.slow.append(way)


def trained(layers: Sequence[Layer | Merge], shape: Shape) -> Array:
    """The logits after a step of training and a prediction, with tiles of 32."""
    model = Sequential([*layers, Flatten(), Dense(3)], shape, seed=2)
    rng = np.random.default_rng(0)
    data = Samples(rng.normal(size=(64, *shape)).astype(np.float32), rng.integers(0, 3, 64))
    Session(model.engine(), data, Objective(CrossEntropy()), SGD(0.1), 64).step(np.arange(64), (0, 0, 0))
    return model.logits(data.x)


@pytest.mark.parametrize("shape", [(2, 6, 5), (2, 7)], ids=["images", "signals"])
def test_layers_beside_a_naive_one_see_the_usual_order(shape: Shape) -> None:
    before, after = Orders(), Orders()
    found = trained([before, Padded(), after], shape)
    assert before.slow == after.slow == []
    np.testing.assert_array_equal(found, trained([Orders(), Orders(), Orders()], shape))


def test_layers_beside_a_naive_merge_see_the_usual_order() -> None:
    class Twice(PaddedSum):
        def __init__(self, *branches: Layer) -> None:
            self.branches = [[branch] for branch in branches]

    inside, after = (Orders(), Orders()), Orders()
    trained([Conv2D(4, 3, padding="same"), Twice(*inside), after], (2, 6, 5))
    assert inside[0].slow == inside[1].slow == after.slow == []


def test_without_being_put_in_order_they_would_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.network.execution.engine.samples_fastest", lambda x, ctx: x)
    before, after = Orders(), Orders()
    trained([before, Padded(), after], (2, 6, 5))
    assert set(before.slow) == {"backward"}
    assert set(after.slow) == {"forward"}
