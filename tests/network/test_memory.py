"""In the steady state a step takes no new memory to speak of: large arrays come from the workspaces."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.losses import CrossEntropy
from cnnkit.metrics import Accuracy
from cnnkit.network import Engine, Objective, Sequential, Session
from cnnkit.types import Array, Cache, Context, Grads, Samples

LIMIT = 128 << 10
"""All that is alive at once: NumPy's casting buffers and small sums; one (256, 256) float32 array alone has 256 KiB."""


@pytest.fixture(autouse=True)
def large_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "tile_for", lambda engine, batch_size: batch_size)


class Allocates(Layer):
    """What a step must not do."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x + 1, None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy, {}


def peak_of_a_step(layers: list[Layer | str]) -> int:
    """Bytes that one step takes above what it began with, after a few steps."""
    rng = np.random.default_rng(0)
    samples = Samples(rng.integers(0, 256, (256, 1, 28, 28)).astype(np.uint8), rng.integers(0, 10, 256))
    model = Sequential(layers, (1, 28, 28))
    session = Session(model.engine(logits=True), samples, Objective(CrossEntropy(), (Accuracy(),)), 256)
    batch = rng.permutation(256)
    for number in range(3):
        session.step(batch, (0, 0, number))
    tracemalloc.start()
    try:
        session.step(batch, (0, 0, 3))
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        session.step(batch, (0, 0, 4))
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


COMPACT: list[Layer | str] = [
    "Conv2D(8, 3)", "ReLU()", "MaxPool2D(2)", "Conv2D(16, 3)", "ReLU()", "MaxPool2D(3)", "Flatten()",
    "Dense(256)", "ReLU()", "Dropout(0.25)", "Dense(256)", "Dense(10)",
]  # fmt: skip


def test_a_step_takes_its_memory_from_workspaces() -> None:
    assert peak_of_a_step(COMPACT) < LIMIT


def test_positive_control_a_layer_that_allocates_is_found() -> None:
    assert peak_of_a_step([Allocates(), *COMPACT]) > LIMIT
