"""Layers coupled over the batch: every tile is given the total that the layer joins of all tiles' partials."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from cnnkit.components import BatchCoupledLayer, GradientMethod
from cnnkit.layers import Dense
from cnnkit.losses import CrossEntropy
from cnnkit.network import Objective, Sequential, training_session
from cnnkit.network.execution.engine import Engine
from cnnkit.network.execution.machine_rates import MachineRates
from cnnkit.network.execution.profile import profile
from cnnkit.optimizers import SGD
from cnnkit.testing import check_layer
from cnnkit.types import Array, Cache, Context, Grads, OnnxGraph, Samples


class OverLargest(BatchCoupledLayer):
    """y = x / max|x| over the batch, as if the maximum were a constant."""

    def partial(self, x: Array, ctx: Context) -> Array:
        return np.array([1, np.abs(x).max()], np.float64)

    def join(self, partials: Sequence[Array]) -> Array:
        return np.array([sum(tiles for tiles, _ in partials), max(largest for _, largest in partials)])

    def absorb(self, total: Array) -> None:
        seen.append(total.tolist())

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        largest = ctx.total[1] if ctx.training else 1.0
        forward_totals.append(ctx.total.tolist())
        return x / np.asarray(largest, x.dtype), largest

    def backward_partial(self, dy: Array, cache: Cache, ctx: Context) -> Array:
        return np.ones(1)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        backward_totals.append(ctx.total.tolist())
        return dy / np.asarray(cache, dy.dtype), {}


class Centred(BatchCoupledLayer):
    """y = x - mean over the batch, with partials that are added."""

    def partial(self, x: Array, ctx: Context) -> Array:
        return np.stack([np.full(x.shape[1], len(x)), x.sum(axis=0)]).astype(np.float64)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        if not ctx.training:
            return x, 1.0
        return x - (ctx.total[1] / ctx.total[0]).astype(x.dtype), ctx.total[0]

    def backward_partial(self, dy: Array, cache: Cache, ctx: Context) -> Array:
        return np.asarray(dy.sum(axis=0), np.float64)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy - (ctx.total / cache).astype(dy.dtype), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        return x


seen: list[list[float]] = []
forward_totals: list[list[float]] = []
backward_totals: list[list[float]] = []
OBJECTIVE = Objective(CrossEntropy())


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five tiles for forty samples; nothing seen yet."""
    monkeypatch.setattr(Engine, "tile_for", lambda engine, batch_size: 8)
    seen.clear()
    forward_totals.clear()
    backward_totals.clear()


def samples() -> Samples:
    rng = np.random.default_rng(0)
    return Samples(rng.normal(size=(40, 3)), rng.integers(0, 2, 40))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_layer_joins_its_partials_in_a_session(workers: int) -> None:
    model, data = Sequential([OverLargest(), Dense(2)], (3,), dtype="float64"), samples()
    with training_session(model.engine(), data, OBJECTIVE, SGD(0.1), 40, workers) as session:
        session.step(np.arange(40), (0, 0, 0))
        session.step(np.arange(20), (0, 0, 1))
    assert seen == [[5, np.abs(data.x).max()], [3, np.abs(data.x[:20]).max()]]
    assert forward_totals[-1] == seen[-1]
    assert backward_totals[-1] == [3]  # added, whatever the layer does with the others


class NoGradient(GradientMethod):
    """Leaves the parameters where they are."""

    def gradient(self, loss: Callable[[Array], float], params: Array, rng: np.random.Generator) -> Array:
        return np.zeros_like(params)


def test_the_layer_joins_its_partials_without_backpropagation() -> None:
    model, data = Sequential([OverLargest(), Dense(2)], (3,), dtype="float64"), samples()
    with training_session(model.engine(), data, OBJECTIVE, SGD(0.1), 40, 1, NoGradient()) as session:
        session.step(np.arange(40), (0, 0, 0))
    assert seen == [[5, np.abs(data.x).max()]]


def test_the_layer_joins_its_partials_in_a_profile() -> None:
    model, data = Sequential([OverLargest(), Dense(2)], (3,), dtype="float64"), samples()
    profile(model.engine(), data, OBJECTIVE, 40, MachineRates(1.0, 1.0), steps=1)
    assert forward_totals == [[5, np.abs(data.x).max()]] * 15
    assert seen == []  # a profile moves no buffers


def test_partials_are_added_unless_the_layer_says_otherwise() -> None:
    assert Centred().join([np.array([1.0, 2.0]), np.array([3.0, 4.0]), np.array([0.0, 5.0])]).tolist() == [4, 11]
    check_layer(Centred(), (3,))
