"""Profiles: every step is listed, timed and counted once, and the network stays as it was."""

from __future__ import annotations

import time

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.losses import CrossEntropy
from cnnkit.network import Engine, Objective, Sequential
from cnnkit.network.execution.machine_rates import MachineRates
from cnnkit.network.execution.profile import Profile, StepProfile, WayProfile, profile
from cnnkit.types import Array, Cache, Context, Grads, Samples, Shape

OBJECTIVE = Objective(CrossEntropy())
RATES = MachineRates(100.0, 20.0)


def samples(count: int = 6) -> Samples:
    rng = np.random.default_rng(0)
    return Samples(rng.random((count, 2, 6, 6), np.float32), rng.integers(0, 5, count))


def engine(*layers: str | Layer) -> tuple[Sequential, Engine]:
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
    found = profile(network, samples(), OBJECTIVE, 4, RATES, steps=2).steps
    assert [one.name for one in found] == [
        "conv2d_1 + relu_1 + max_pool2d_1",
        "batch_norm2d_1",
        "conv2d_2",
        "residual_1",
        "flatten_1",
        "dense_1",
    ]
    assert all(way.ms > 0 for one in found for way in one.ways.values())
    first, grouped, dense = 2 * (4 * 2 * 9) * 16, 2 * (4 * 2 * 9) * 4, 2 * (5 * 16)
    assert [one.forward.flops for one in found] == [first, None, grouped, None, None, dense]
    # the gradient of the network's input is needed by nobody
    assert [one.backward.flops for one in found] == [first, None, 2 * grouped, None, None, 2 * dense]


def test_the_network_and_its_engine_stay_as_they_were() -> None:
    model, network = engine(*BRANCHED)
    before, steps, coupled = model.state(), list(network.steps), list(network.coupled)
    profile(network, samples(), OBJECTIVE, 4, RATES, steps=1)
    assert all(np.array_equal(before[name], value) for name, value in model.state().items())
    assert network.steps == steps
    assert [id(layer) for layer in network.coupled] == [id(layer) for layer in coupled]


def test_passes_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10**6))
    monkeypatch.setattr("cnnkit.network.execution.profile.time.perf_counter", lambda: float(next(ticks)))
    _, network = engine("Flatten()", "Dense(5)")
    found = profile(network, samples(), OBJECTIVE, 4, RATES, steps=3)
    for one in found.steps:
        assert (one.forward.ms, one.backward.ms) == (1000 / 4, 1000 / 4)  # a second for each pass over four samples
    # of a pass, the clock is read at its begin and end, and twice for each of two steps and two ways
    assert (found.ms, found.between_ms) == (9 * 1000 / 4, 5 * 1000 / 4)


class Delayed(Layer):
    """Passes its input on, and takes its time in some calls."""

    def __init__(self, *calls: int) -> None:
        self.calls, self.number = calls, 0

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        if self.number in self.calls:
            time.sleep(0.2)
        self.number += 1
        return x, None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy, {}


@pytest.mark.parametrize(("calls", "steps", "slow"), [((0, 1), 1, False), ((3,), 3, False), ((2, 3, 4), 3, True)])
def test_the_passes_that_count(calls: tuple[int, ...], steps: int, slow: bool) -> None:
    """Not the two that plan memory and fault it in, nor those in which the machine did something else."""
    _, network = engine(Delayed(*calls), "Flatten()", "Dense(5)")
    found = profile(network, samples(), OBJECTIVE, 4, RATES, steps)
    assert (found.steps[0].forward.ms > 1000 * 0.15 / 4) == slow
    assert (found.ms > 1000 * 0.15 / 4) == slow


def test_bytes_are_those_that_must_be_moved() -> None:
    _, network = engine("Conv2D(4, 3)", "MaxPool2D(2)", "Flatten()", "Dense(5)")
    tile, conv, dense = 4, (4 * 2 * 9 + 4), (5 * 16 + 5)
    first, flatten, last = profile(network, samples(), OBJECTIVE, tile, RATES, steps=1).steps
    x, y, scores = 2 * 6 * 6, 4 * 2 * 2, 5
    assert first.forward.nbytes == 4 * (x + y + conv / tile)
    assert first.backward.nbytes == 4 * (y + x + conv / tile)  # the network's own input needs no gradient
    assert flatten.forward.nbytes in (0, 4 * 2 * y)  # as the memory is laid out
    assert last.forward.nbytes == 4 * (y + scores + dense / tile)
    assert last.backward.nbytes == 4 * (scores + y + y + 2 * dense / tile)  # dy, x and dx; weights and gradients


def test_parameters_move_once_for_each_tile() -> None:
    _, network = engine("Flatten()", "Dense(5)")
    size = 2 * network.tile_for(80) + 1
    assert network.tile_for(80) < 80
    *_, last = profile(network, samples(size), OBJECTIVE, size, RATES, steps=1).steps
    tiles = -(-size // network.tile_for(size))
    assert tiles > 1
    assert last.forward.nbytes == pytest.approx(4 * (72 + 5 + tiles * (5 * 72 + 5) / size))


def test_a_view_moves_nothing() -> None:
    _, network = engine(Delayed(), "Flatten()", "Dense(5)")
    first = profile(network, samples(), OBJECTIVE, 4, RATES, steps=1).steps[0]
    assert (first.forward.nbytes, first.backward.nbytes) == (0, 0)
    assert first.forward.of_limit(RATES) is None


def test_tiles_of_a_batch_that_wait_for_each_other_are_counted_once() -> None:
    """A step that is coupled over the batch holds the arrays of all tiles."""
    _, network = engine("BatchNorm2D()", "Flatten()", "Dense(5)")
    size = 2 * network.tile_for(80)
    norm = profile(network, samples(size), OBJECTIVE, size, RATES, steps=1).steps[0]
    tiles = -(-size // network.tile_for(size))
    assert tiles > 1
    assert norm.forward.nbytes == pytest.approx(4 * (2 * 72 + tiles * 4 / size))
    assert norm.backward.nbytes == pytest.approx(4 * (3 * 72 + tiles * 2 * 4 / size))


@pytest.mark.usefixtures("compiled_kernels")
def test_compiled_kernels_count_as_the_layers_that_they_run() -> None:
    from cnnkit.network.kernels.compiled.choice import require

    require()
    layers = "Conv2D(4, 3)", "ReLU()", "MaxPool2D(2)", "Conv2D(4, 2)", "Flatten()", "Dense(5)"
    model = Sequential(layers, (2, 6, 6))
    engines = [model.engine_for(OBJECTIVE.loss, compiled=compiled) for compiled in (False, True)]
    plain, compiled = (profile(one, samples(), OBJECTIVE, 4, RATES, steps=1).steps for one in engines)
    assert [type(step.run).__name__ for step in engines[1].steps[:2]] == ["DirectConvKernel", "DirectConvKernel"]
    for one, other in zip(plain, compiled, strict=True):
        assert one.name == other.name
        for way in one.ways:
            assert one.ways[way].flops == other.ways[way].flops
    assert plain[0].ways["forward"].nbytes == compiled[0].ways["forward"].nbytes
    assert all(way.ms > 0 for one in compiled for way in one.ways.values())


def test_rows_have_shares_rates_and_limits() -> None:
    conv = StepProfile("conv2d_1", WayProfile(1.0, 4_000_000, 1e5), WayProfile(2.0, 8_000_000, 4e7))
    pool = StepProfile("a", WayProfile(0.5, None, 5e6), WayProfile(0.0, None, 0.0))
    found = Profile([conv, pool], 4.0, RATES)
    first, second = found.rows()
    assert first == {
        "step": "conv2d_1",
        "share": 0.75,
        "gflops": 4.0,
        "bytes": 40_100_000,
        "gb_per_second": pytest.approx(40.1 / 3),
        "of_limit": pytest.approx((0.04 + 2.0) / 3),
        "forward_ms": 1.0,
        "forward_flops": 4_000_000,
        "forward_gflops": 4.0,
        "forward_bytes": 100_000,
        "forward_gb_per_second": 0.1,
        "forward_of_limit": pytest.approx(0.04),  # bound by the products
        "backward_ms": 2.0,
        "backward_flops": 8_000_000,
        "backward_gflops": 4.0,
        "backward_bytes": 40_000_000,
        "backward_gb_per_second": 20.0,
        "backward_of_limit": 1.0,  # bound by the copies
    }
    assert (second["share"], second["forward_gflops"], second["gflops"]) == (0.125, None, None)
    assert (second["forward_gb_per_second"], second["forward_of_limit"]) == (10.0, 0.5)
    assert (second["backward_gb_per_second"], second["backward_of_limit"]) == (None, None)
    assert found.between_ms == 0.5
    assert found.to_dict()["machine_gb_per_second"] == 20.0


@pytest.mark.parametrize("ms", [0.0, 1.0])
def test_rows_survive_a_clock_that_stood_still(ms: float) -> None:
    (row,) = Profile([StepProfile("dense_1", WayProfile(0.0, 10, 8), WayProfile(ms, 20, 8))], ms, RATES).rows()
    assert (row["share"], row["forward_gflops"], row["forward_of_limit"]) == (ms, None, None)


def test_it_needs_samples_and_passes() -> None:
    _, network = engine("Flatten()", "Dense(5)")
    with pytest.raises(ShapeError, match="expected at least one sample to profile with, got none"):
        profile(network, samples(0), OBJECTIVE, 4, RATES)
    with pytest.raises(ConfigError, match="steps must be a whole number, 1 or above, got 0"):
        profile(network, samples(), OBJECTIVE, 4, RATES, steps=0)
