"""The forecast of a training's memory: its parts, what is refused, and that it changes nothing."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from benchmarks.networks import NETWORKS
from cnnkit.components import Layer
from cnnkit.errors import ConfigError, TrainingError
from cnnkit.losses import CrossEntropy
from cnnkit.metrics import Accuracy
from cnnkit.network import Engine, Forecast, Objective, Sequential, training_session
from cnnkit.network.execution.memory_plan import pages
from cnnkit.optimizers import Adam
from cnnkit.training import Run, Trainer
from cnnkit.types import Array, Cache, Context, Grads, Samples, Shape

PLAIN: list[Layer | str] = [
    "Conv2D(16, 3)",
    "ReLU()",
    "MaxPool2D(2)",
    "Conv2D(16, 3)",
    "ReLU()",
    "Flatten()",
    "Dense(10)",
]
COUPLED: list[Layer | str] = ["Conv2D(16, 3)", "BatchNorm2D()", "ReLU()", "Conv2D(8, 3)", "Flatten()", "Dense(10)"]
SHAPE = (3, 20, 20)
OBJECTIVE = Objective(CrossEntropy(), (Accuracy(),))
AVAILABLE = "cnnkit.training.trainer.available_memory"
MIB = 2**20


class Hoards(Layer):
    """What a plugin may do: keep arrays that no workspace knows of."""

    def __init__(self, count: int) -> None:
        self.count = count

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x, np.zeros((len(x), self.count), np.float32)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy, {}


class Exhausts(Layer):
    """Meets the end of the memory in its first large pass."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        if len(x) > 1:
            raise MemoryError("Unable to allocate 9 TiB")
        return x, None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy, {}


def samples(count: int, shape: Shape = SHAPE) -> Samples:
    rng = np.random.default_rng(0)
    return Samples(rng.integers(0, 256, (count, *shape), np.uint8), rng.integers(0, 10, count))


def forecast(model: Sequential, data: Samples, batch: int, workers: int = 1, available: int | None = None) -> Forecast:
    return Forecast(model.engine(logits=True), data, OBJECTIVE, Adam(), batch, workers, available=available)


# The parts


def test_the_parts_of_a_network_that_can_be_counted_by_hand() -> None:
    model, data = Sequential(["Flatten()", "Dense(10)"], SHAPE), samples(128)
    found = forecast(model, data, 128, workers=2).footprint()
    vector = 4 * (1200 * 10 + 10)
    assert found.samples == 128 * (1200 + 8)
    assert (found.parameters, found.optimizer) == (vector, 2 * vector)
    assert found.gradients == 3 * vector  # two tiles, and their sum
    assert found.added == found.gradients + found.optimizer + found.workspaces + found.processes
    assert found.total == sum(found.parts.values()) == found.program + found.samples + found.parameters + found.added
    assert found.program > 10 * MIB
    assert found.largest.name == "flatten_1"  # 1200 values for each of 128 samples


def test_further_workers_and_copies_are_counted() -> None:
    model, data = Sequential(PLAIN, SHAPE), samples(128)
    one, two = (forecast(model, data, 128, workers).footprint() for workers in (1, 2))
    assert two.workspaces == pytest.approx(2 * one.workspaces, rel=0.05)
    assert two.processes > one.processes == 0
    copying = forecast(model, data, 128)
    copying.copies = 2
    found = copying.footprint()
    assert found.parameters == 3 * one.parameters
    new = found.gradients + found.optimizer + found.workspaces
    assert found.added - new == 2 * one.parameters


@pytest.mark.parametrize("layers", [PLAIN, COUPLED])
@pytest.mark.parametrize("batch", [20, 128, 200])
def test_the_workspaces_are_as_large_as_those_of_the_training(layers: list[Layer | str], batch: int) -> None:
    model, data = Sequential(layers, SHAPE), samples(batch)
    engine = model.engine(logits=True)
    expected = Forecast(engine, data, OBJECTIVE, Adam(), batch, 1).footprint().workspaces
    with training_session(engine, data, OBJECTIVE, Adam(), batch, 1) as session:
        for step in range(5):  # in which each workspace has had tiles of both sizes twice
            session.step(np.arange(batch), (0, 0, step))
    held = [workspace.memory.nbytes + workspace.raw.nbytes for workspace in engine.workspaces]
    rest = batch % session.tile / min(batch, session.tile)
    assert sum(held) * 0.98 < expected < 1.1 * max(held) * (len(held) + rest)


def test_what_a_layer_keeps_by_itself_is_counted() -> None:
    data = samples(64)
    little, much = (
        forecast(Sequential([Hoards(count), *PLAIN], SHAPE), data, 64).footprint().workspaces for count in (0, 50_000)
    )
    assert much - little == pytest.approx(32 * 4 * 50_000, rel=0.05)  # a tile has 32 samples


def test_an_evaluation_is_counted() -> None:
    model, data = Sequential(PLAIN, SHAPE), samples(64)
    with_it = forecast(model, data, 64)
    with_it.evaluated = 1000
    assert with_it.footprint().workspaces > 1.2 * forecast(model, data, 64).footprint().workspaces


def test_the_layer_that_takes_most() -> None:
    for layers, name in ((PLAIN, "conv2d_1"), (["Flatten()", "Dense(2000)", "Dense(10)"], "dense_1")):
        assert forecast(Sequential(layers, SHAPE), samples(64), 64).footprint().largest.name == name


# What is refused


def fit(layers: list[Layer | str], batch: int, workers: int = 1) -> Run:
    trainer = Trainer(epochs=1, batch_size=batch, workers=workers)
    return trainer.fit(Sequential(layers, SHAPE), samples(200))


def test_too_large_a_batch_is_refused_with_the_one_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = (forecast(Sequential(COUPLED, SHAPE), samples(200), batch).footprint() for batch in (96, 200))
    monkeypatch.setattr(AVAILABLE, lambda: (small.added + large.added) // 2)
    with pytest.raises(ConfigError) as refused:
        fit(COUPLED, 200)
    message = str(refused.value)
    assert re.match(
        r"training with batch size 200 takes about [\d.]+ MiB of memory in addition to the [\d.,]+ [MG]iB in use, but "
        r"only [\d.]+ MiB is available; the layer that takes most is layer conv2d_1 = Conv2D\(16, 3\), which gives "
        r"16 x 18 x 18 values for each sample: the largest batch size that fits is \d+$",
        message,
    )
    best = int(message.rsplit(" ", 1)[1])
    assert 96 <= best < 200
    assert len(fit(COUPLED, best).history["loss"]) == 1
    with pytest.raises(ConfigError, match=f"batch size {best + 1} takes"):
        fit(COUPLED, best + 1)


@pytest.mark.parametrize("layers", [PLAIN, COUPLED])
def test_the_largest_batch_fits_and_the_next_does_not(layers: list[Layer | str]) -> None:
    model, data = Sequential(layers, SHAPE), samples(200)
    for share in (0.3, 0.6, 0.9):
        one = forecast(model, data, 200)
        one.available = int(share * one.footprint().added)
        best = one.largest_batch()
        assert 0 < best < 200
        assert one.footprint(best).added <= one.available < one.footprint(best + 1).added


def test_where_no_batch_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AVAILABLE, lambda: MIB // 2)
    with pytest.raises(ConfigError, match=r"no batch size fits; use fewer workers, smaller inputs, or a smaller netw"):
        fit(PLAIN, 64)


def test_a_sample_that_does_not_fit_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (1, 50_000, 50_000)
    data = Samples(np.broadcast_to(np.uint8(0), (4, *shape)), np.arange(4))
    model = Sequential(["Conv2D(64, 3)", "ReLU()", "MaxPool2D(49998)", "Flatten()", "Dense(10)"], shape)
    monkeypatch.setattr(Forecast, "_measured", None)  # calling it is an error
    with pytest.raises(ConfigError, match=r"takes about [\d,.]+ GiB .* no batch size fits"):
        forecast(model, data, 4, available=2**40).require()


def test_where_nothing_is_known_nothing_is_refused_or_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AVAILABLE, lambda: None)
    monkeypatch.setattr(Forecast, "_measured", None)
    assert fit(PLAIN, 64).reason == "all epochs done"


# Where memory is ample


HARD: list[tuple[list[Layer | str], Shape]] = [
    (["Conv2D(16, 7, stride=3, padding=6, dilation=2)", "Conv2D(16, 7, stride=3, padding=6)", "Softmax()"], SHAPE),
    (["Conv2D(16, 11, stride=2)", "Softmax()", "Conv2D(64, 1, stride=2, dilation=2)"], (16, 28, 28)),
    (["Conv2D(1, 1, stride=3)", "Concat([Conv2D(3, 5, padding=2)], [], [MaxPool2D(3, 1, padding=1)])"], (16, 12, 13)),
    (["Conv2D(1, 5, padding=2, dilation=2)"], (64, 28, 28)),
    (["AvgPool2D(7, 7)", "Conv2D(64, 11, groups=64, padding=5)"], (64, 28, 28)),
    (["AvgPool2D(7, 7, padding=3)"], SHAPE),
    (["Conv2D(4, 2, stride=3, padding=1, dilation=2)", "Dropout(0.3)"], SHAPE),
    (["BatchNorm2D()", "Residual(Conv2D(3, 3, padding=1), ReLU())"], SHAPE),
]
"""Random networks whose passes took most of what their shapes allow."""
SOME: list[tuple[list[Layer | str], Shape]] = [([*one.layers], one.input_shape) for one in NETWORKS.values()]


@pytest.mark.parametrize("batch", [1, 64, 512])
@pytest.mark.parametrize(("layers", "shape"), SOME + HARD)
def test_no_pass_takes_what_the_shapes_allow(layers: list[Layer | str], shape: Shape, batch: int) -> None:
    ends = [] if layers[-1] == "Dense(10)" else ["Flatten()", "Dense(10)"]
    if batch == 1 and "BatchNorm2D()" in layers[-3:]:
        batch = 2
    one = forecast(Sequential([*layers, *ends], shape), samples(min(batch, 128), shape), batch)
    one.evaluated = batch
    measured = one.footprint()
    bound = one.at_most()
    assert measured.workspaces < bound.workspaces / 1.5
    assert bound.added - measured.added == bound.workspaces - measured.workspaces


def test_where_memory_is_ample_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AVAILABLE, lambda: 2**34)
    monkeypatch.setattr(Forecast, "_measured", None)
    assert fit(PLAIN, 64).reason == "all epochs done"
    with pytest.raises(TypeError, match="'NoneType' object is not callable"):  # what others keep is measured
        fit([Hoards(1), *PLAIN], 64)


# It changes nothing


def test_a_forecast_leaves_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    layers: list[Layer | str] = ["Dropout(0.5)", *COUPLED]
    model = Sequential(layers, SHAPE)
    before = model.state()
    forecast(model, samples(64), 64).footprint()
    assert all(np.array_equal(before[name], value) for name, value in model.state().items())
    with_it = fit(layers, 64).model.parameters.vector
    monkeypatch.setattr(AVAILABLE, lambda: None)
    assert np.array_equal(with_it, fit(layers, 64).model.parameters.vector)


def test_a_pass_that_surely_fits_is_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single sample is run before only where more might not fit; what is found is the same."""
    ran: list[int] = []

    def training(engine: Any, given: Samples, positions: Array, *others: Any) -> Any:
        ran.append(len(positions))
        return run(engine, given, positions, *others)

    run = Engine.training_pass
    monkeypatch.setattr(Engine, "training_pass", training)
    model, data = Sequential(PLAIN, SHAPE), samples(64)
    once = Forecast(model.engine(), data, OBJECTIVE, Adam(), 64, 1, available=2**30).footprint()
    assert ran == [32]
    monkeypatch.setattr(Forecast, "_bound", lambda *_: math.inf)
    carefully = Forecast(model.engine(), data, OBJECTIVE, Adam(), 64, 1, available=2**30).footprint()
    assert ran == [32, 1, 32]
    assert once.workspaces == pytest.approx(carefully.workspaces, rel=0.02)


def test_a_large_pass_is_scaled_from_a_smaller_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """That gives nearly the same."""
    model, data = NETWORKS["vgg-bn"].build(), samples(128, (3, 32, 32))
    engine = model.engine(logits=True)
    monkeypatch.setattr(engine, "tile_for", lambda batch: 128)
    scaled = Forecast(engine, data, OBJECTIVE, Adam(), 128, 1).footprint().workspaces
    monkeypatch.setattr("cnnkit.network.execution.training_memory.MEASURED_BYTES", 2**40)
    measured = Forecast(engine, data, OBJECTIVE, Adam(), 128, 1).footprint().workspaces
    assert measured < scaled < 1.1 * measured


# Memory that runs out all the same


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("foreseen", [None, 2**40])
def test_an_error_of_memory_says_where(workers: int, foreseen: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AVAILABLE, lambda: foreseen)
    with pytest.raises(TrainingError) as caught:
        fit([Exhausts(), *PLAIN], 64, workers)
    assert str(caught.value) == (
        "out of memory in the forward pass of layer exhausts_1 = Exhausts(): Unable to allocate 9 TiB; "
        "use a smaller batch size, fewer workers, or smaller inputs"
    )


@pytest.mark.parametrize("size", [2**62, 2**70])
def test_pages_that_the_system_does_not_give(size: int) -> None:
    with pytest.raises(MemoryError, match=re.escape(f"the system did not provide {size:,} bytes")):
        pages(size)
