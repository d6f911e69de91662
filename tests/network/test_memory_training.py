"""Planned memory changes no bit of a training: what is computed in it is what fresh arrays would hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.network import Sequential
from cnnkit.network.execution.memory_plan import Memory, Request
from cnnkit.training import Trainer
from cnnkit.types import Array, Shape

# Few channels, and images that become a single number: the batch norm kernels ask for other memory from step to step.
CHANGING: list[Layer | str] = [
    "Conv2D(8, 3, padding=1)", "ReLU()", "AvgPool2D(4)", "BatchNorm2D()", "ReLU()", "Conv2D(8, 1)", "BatchNorm2D()",
    "ReLU()", "Flatten()", "Dense(10)",
]  # fmt: skip
BRANCHED: list[Layer | str] = [
    "Conv2D(16, 3, padding=1)", "BatchNorm2D()", "ReLU()",
    "Residual(Conv2D(16, 3, padding=1), BatchNorm2D(), ReLU(), Conv2D(16, 3, padding=1))", "ReLU()",
    "Concat([Conv2D(8, 1)], [MaxPool2D(3, stride=1, padding=1)])", "Dropout(0.2)", "MaxPool2D(2)",
    "Conv2D(24, 3, groups=8)", "ReLU()", "Flatten()", "Dense(10)",
]  # fmt: skip


def trained(layers: list[Layer | str]) -> dict[str, Array]:
    """The state after three epochs of whole tiles and odd ones."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (150, 1, 8, 8)).astype(np.uint8)
    model = Sequential(layers, (1, 8, 8))
    Trainer(optimizer="Adam(0.05)", epochs=3, batch_size=64, workers=1).fit(model, (x, rng.integers(0, 10, 150)))
    return model.state()


def differing(layers: list[Layer | str], change: Callable[[], None]) -> list[str]:
    """Names of the arrays that a training gives otherwise once `change` was made."""
    planned = trained(layers)
    change()
    other = trained(layers)
    return [name for name, array in planned.items() if array.tobytes() != other[name].tobytes()]


@pytest.mark.parametrize("layers", [CHANGING, BRANCHED], ids=["changing", "branched"])
def test_a_training_in_fresh_memory_gives_the_same_bits(
    layers: list[Layer | str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fresh(memory: Memory, shape: Shape, dtype: np.dtype[np.generic]) -> Array:
        return np.full(shape, np.nan if dtype.kind == "f" else True, dtype)  # what is read before it is written shows

    assert not differing(layers, lambda: monkeypatch.setattr(Memory, "empty", fresh))


def test_positive_control_arrays_that_share_memory_too_early_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_early(born: Array, died: Array, request: Request) -> Array:
        return np.asarray(np.abs(born - request.born) < 2)

    def change() -> None:
        monkeypatch.setattr("cnnkit.network.execution.memory_plan.in_use_together", too_early)
        monkeypatch.setattr("cnnkit.network.execution.memory_plan.MemoryPlan.is_free", lambda plan, number: True)

    assert differing(CHANGING, change)
