"""In the steady state a step allocates nothing large: arrays come from the workspaces, which are planned once."""

from __future__ import annotations

import sys
import tracemalloc
from types import FrameType
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.losses import CrossEntropy
from cnnkit.metrics import Accuracy
from cnnkit.network import Objective, Sequential, Session
from cnnkit.optimizers import Adam
from cnnkit.types import Array, Cache, Context, Grads, Samples, Shape

LIMIT = 64 << 10
"""A (128, 128) float32 array alone has as much."""


class Allocates(Layer):
    """What a step must not do."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x + 1, None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy, {}


class LineByLine:
    """The most memory that one line of Python has taken, and which line it was."""

    def __init__(self) -> None:
        self.largest, self.where = 0, ""
        self._before, self._line = 0, ""

    def __call__(self, frame: FrameType, event: str, argument: Any) -> LineByLine:
        now, peak = tracemalloc.get_traced_memory()
        if self._line and peak - self._before > self.largest:
            self.largest, self.where = peak - self._before, self._line
        self._before, self._line = now, f"{frame.f_code.co_filename}:{frame.f_lineno}"
        tracemalloc.reset_peak()
        return self


def largest_allocation(layers: list[Layer | str], input_shape: Shape, batch_size: int) -> tuple[int, str]:
    """What the hungriest line of a step takes, in bytes, after a few steps; and where it is."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (batch_size, *input_shape)).astype(np.uint8)
    samples = Samples(x, rng.integers(0, 10, batch_size))
    model = Sequential(layers, input_shape)
    session = Session(model.engine(logits=True), samples, Objective(CrossEntropy(), (Accuracy(),)), Adam(), batch_size)
    batch, lines = rng.permutation(batch_size), LineByLine()

    def step(number: int) -> None:
        session.step(batch, (0, 0, number))
        session.update(0.001, number + 1, 0.5)

    for number in range(3):
        step(number)
    tracemalloc.start()
    before = sys.gettrace()
    try:
        step(3)  # what is kept from step to step is counted from now on
        sys.settrace(lines)
        step(4)
    finally:
        sys.settrace(before)
        tracemalloc.stop()
    return lines.largest, lines.where


COMPACT: list[Layer | str] = [
    "Conv2D(8, 3)", "ReLU()", "MaxPool2D(2)", "Conv2D(16, 3)", "ReLU()", "MaxPool2D(3)", "Flatten()",
    "Dense(256)", "ReLU()", "Dropout(0.25)", "Dense(256)", "Dense(10)",
]  # fmt: skip
NORMALISED: list[Layer | str] = [
    "Conv2D(32, 3, padding=1, bias=False)", "BatchNorm2D()", "ReLU()",
    "Residual(Conv2D(32, 3, padding=1), BatchNorm2D(), ReLU(), Conv2D(32, 3, padding=1), BatchNorm2D())", "ReLU()",
    "Residual(Conv2D(64, 3, stride=2, padding=1), BatchNorm2D(), shortcut=[Conv2D(64, 1, stride=2), BatchNorm2D()])",
    "Conv2D(128, 3, groups=32)", "ReLU()", "MaxPool2D(2)", "AvgPool2D(3)", "Flatten()", "Dense(10)",
]  # fmt: skip


@pytest.mark.parametrize(
    ("layers", "input_shape", "batch_size"), [(COMPACT, (1, 28, 28), 256), (NORMALISED, (3, 16, 16), 128)]
)
def test_no_line_of_a_step_allocates_much(layers: list[Layer | str], input_shape: Shape, batch_size: int) -> None:
    largest, where = largest_allocation(layers, input_shape, batch_size)
    assert largest < LIMIT, where


def test_positive_control_a_layer_that_allocates_is_found() -> None:
    largest, where = largest_allocation([Allocates(), *COMPACT], (1, 28, 28), 256)
    assert largest > LIMIT
    assert where.startswith(__file__)


def test_a_prediction_keeps_nothing_for_a_backward_pass() -> None:
    """The patches of a dilated convolution are gone when the next one makes its own: all fits what the shapes tell."""
    dilated = "Conv2D(32, 3, padding=3, dilation=3, groups=32)"
    model = Sequential(["Conv2D(32, 1)", *[dilated] * 4], (1, 8, 8))
    engine = model.engine()
    x = np.zeros((16, 1, 8, 8), np.float32)
    for _ in range(2):  # the memory is planned, then used
        engine.predict(x, 1)
    (workspace,) = engine.workspaces
    assert workspace.memory.nbytes <= len(x) * engine.cost.peak
