"""Profiles: every step is listed, timed and counted once, and the network stays as it was."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit.errors import ConfigError, ShapeError
from cnnkit.losses import CrossEntropy
from cnnkit.network import Engine, Objective, Sequential
from cnnkit.network.execution.profile import StepProfile, profile, rows
from cnnkit.types import Samples

OBJECTIVE = Objective(CrossEntropy())


def samples(count: int = 6) -> Samples:
    rng = np.random.default_rng(0)
    return Samples(rng.random((count, 2, 6, 6), np.float32), rng.integers(0, 5, count))


def engine(*layers: str) -> tuple[Sequential, Engine]:
    model = Sequential(layers, (2, 6, 6))
    return model, model.engine(logits=True)


BRANCHED = (
    "Conv2D(4, 3)",
    "ReLU()",
    "MaxPool2D(2)",
    "BatchNorm2D()",
    'Residual(Conv2D(4, 3, padding="same", groups=2))',
    "Flatten()",
    "Dense(5)",
    "Softmax()",
)


def test_every_step_has_its_layers_times_and_operations() -> None:
    _, network = engine(*BRANCHED)
    found = profile(network, samples(), OBJECTIVE, batch_size=4, steps=2)
    assert [one.name for one in found] == [
        "conv2d_1 + relu_1 + max_pool2d_1",
        "batch_norm2d_1",
        "conv2d_2",
        "residual_1",
        "flatten_1",
        "dense_1",
    ]
    assert all(one.forward_ms > 0 and one.backward_ms > 0 for one in found)
    first, grouped, dense = 2 * (4 * 2 * 9) * 16, 2 * (4 * 2 * 9) * 4, 2 * (5 * 16)
    assert [one.flops for one in found] == [first, None, grouped, None, None, dense]
    # the gradient of the network's input is needed by nobody
    assert [one.backward_flops for one in found] == [first, None, 2 * grouped, None, None, 2 * dense]


def test_the_network_and_its_engine_stay_as_they_were() -> None:
    model, network = engine(*BRANCHED)
    before, steps, coupled = model.state(), list(network.steps), list(network.coupled)
    profile(network, samples(), OBJECTIVE, batch_size=4, steps=1)
    assert all(np.array_equal(before[name], value) for name, value in model.state().items())
    assert network.steps == steps
    assert [id(layer) for layer in network.coupled] == [id(layer) for layer in coupled]


def test_passes_are_counted_without_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10**6))
    monkeypatch.setattr("cnnkit.network.execution.profile.time.perf_counter", lambda: float(next(ticks)))
    _, network = engine("Flatten()", "Dense(5)")
    for one in profile(network, samples(), OBJECTIVE, batch_size=4, steps=3):
        assert (one.forward_ms, one.backward_ms) == (1000 / 4, 1000 / 4)  # a second for each pass over four samples


def test_rows_have_shares_and_rates() -> None:
    first, second = rows(
        [StepProfile("conv2d_1", 1.0, 2.0, 4_000_000, 8_000_000), StepProfile("a", 0.5, 0.5, None, None)]
    )
    assert first == {
        "step": "conv2d_1",
        "forward_ms": 1.0,
        "backward_ms": 2.0,
        "share": 0.75,
        "forward_gflops": 4.0,
        "backward_gflops": 4.0,
    }
    assert (second["share"], second["forward_gflops"], second["backward_gflops"]) == (0.25, None, None)


@pytest.mark.parametrize("time", [0.0, 1.0])
def test_rows_survive_a_clock_that_stood_still(time: float) -> None:
    (row,) = rows([StepProfile("dense_1", 0.0, time, 10, 20)])
    assert (row["share"], row["forward_gflops"]) == (time, None)


def test_it_needs_samples_and_passes() -> None:
    _, network = engine("Flatten()", "Dense(5)")
    with pytest.raises(ShapeError, match="expected at least one sample to profile with, got none"):
        profile(network, samples(0), OBJECTIVE, 4)
    with pytest.raises(ConfigError, match="steps must be a whole number, 1 or above, got 0"):
        profile(network, samples(), OBJECTIVE, 4, steps=0)
