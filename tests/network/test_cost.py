"""What a network costs, from its shapes: too much is refused before it is there, what somebody may want is not."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.errors import CostError
from cnnkit.layers import Dense
from cnnkit.network import Node, Sequential
from cnnkit.network.execution import cost
from cnnkit.network.execution.cost import EXPANSION, FREE_BYTES, NAME_BYTES, cost_of
from cnnkit.network.execution.plan import plain_steps
from cnnkit.training import Trainer
from cnnkit.training.training_plan import plan_of
from cnnkit.types import Array, Cache, Context, Data, Samples, Shape

DIGIT = (1, 8, 8)
MIB = 1 << 20
WANTED: dict[str, tuple[list[str], Shape]] = {
    "large images": (["Conv2D(16, 3, padding=1)", "ReLU()", "MaxPool2D(2)"], (3, 4096, 4096)),
    "many classes": (["Flatten()", "Dense(10000)"], DIGIT),
    "deep": (["Conv2D(8, 3, padding=1)", "ReLU()"] * 1000, DIGIT),
    "deep and wide": (["Residual(Conv2D(32, 3, padding=1))"] * 300, (32, 64, 64)),
    "large kernels": (['Conv2D(64, 31, padding="same", groups=64)'] * 10, (64, 56, 56)),
    "large windows": (["AvgPool2D(31, 1, 15)", "MaxPool2D(31, 1, 15)"], (3, 512, 512)),
    "dilated": (["Conv2D(16, 3, padding=16, dilation=16)"] * 8, (16, 256, 256)),
    "patches": (["Conv2D(256, 16, stride=16)"], (3, 224, 224)),
    "strides beyond the image": (["Conv2D(4, 3, stride=1000000000)"], (3, 64, 64)),
}  # fmt: skip


@pytest.mark.parametrize("kind", WANTED)
def test_what_somebody_may_want_is_not_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "available_memory", lambda: 16 << 30)
    engine = Sequential(*WANTED[kind]).engine()
    assert 1 <= engine.cost.threads(64, engine.largest_prediction_tile, 2) <= 2
    assert engine.plain_cost.threads(1, 1, 1) == 1


def test_nor_is_a_large_dense_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100 million weights, which nobody has to make for that."""
    node = Node(0, "dense_1", Dense(10_000), (-1,), ((10_000,),), (10_000,))
    found = cost_of([node], plain_steps([node]), 400_000_000, 4)
    found.check()
    found.check_names(670_000)
    assert found.threads(64, 64, 2) == 1


@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        (["Conv2D(1, 1, padding=5000)"], DIGIT, r"layer conv2d_1 = .* gives 1 x 10,008 x 10,008"),
        (["Flatten()", *["Concat([], [])"] * 28], DIGIT, r"concat_28 = .*128.0 GiB, and a .* of 256 bytes may"),
        (["ReLU()", "Conv2D(1, 1, padding=1000)", *["ReLU()"] * 9], DIGIT, "conv2d_1 = .* 1 x 2,008 x 2,008.* 128"),
        (["Conv2D(1, 2, padding=9000, dilation=18000)"], DIGIT, "conv2d_1 = .* gives 1 x 8 x 8 .*give and copy "),
        (["Conv2D(1, 1, 50000000, padding=50000000)"], DIGIT, "conv2d_1 = .* gives 1 x 3 x 3 .*give and copy takes "),
        (["Conv2D(1, 1, padding=500)", "MaxPool2D(500, 1)"], DIGIT, "layer max_pool2d_1 = .* takes too long"),
        (["AvgPool2D(1000, 1)"], (1, 2000, 2000), r"layer avg_pool2d_1 = .* touch about 1,007,001,000,000 numbers for"),
        (["Conv2D(1, 1, padding=300)", "MaxPool2D(160, 1)"], DIGIT, "about 5,28.* and may touch 1,000,000,000;"),
        (["Conv2D(1, 300, padding=1500)"], DIGIT, "( 660,.* multiplications .* 100,000,000,000;|give and copy)"),
        (["Conv2D(1, 99, padding=2000)", "MaxPool2D(3910)"], DIGIT, "conv2d_1 .* 1 x 3,910 .*give and copy takes"),
    ],
)  # fmt: skip
def test_what_is_too_much_is_refused(layers: list[str], shape: Shape, message: str) -> None:
    model = Sequential(layers, shape)
    with pytest.raises(CostError, match=message):
        model.check_cost()
    with pytest.raises(CostError, match=message):
        model.logits(np.broadcast_to(np.float32(0), (1, *shape)))
    with pytest.raises(CostError, match=message):
        model.trace(np.broadcast_to(np.float32(0), (1, *shape)))


def test_it_is_refused_before_memory_is_taken() -> None:
    model = Sequential(["Conv2D(1, 1, padding=5000)", "Flatten()"], DIGIT)
    x, y = np.zeros((4, *DIGIT), np.float32), np.zeros(4, np.int64)
    tracemalloc.start()
    try:
        for work in (lambda: model.predict(x), lambda: Trainer().evaluate(model, Samples(x, y))):
            with pytest.raises(CostError, match="10,008 x 10,008"):
                work()
        with pytest.raises(CostError, match="10,008 x 10,008"):
            Trainer().fit(model, (x, y))
        assert tracemalloc.get_traced_memory()[1] < 2 * MIB
    finally:
        tracemalloc.stop()


def test_a_training_is_refused_where_nothing_is_known_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.training.trainer.available_memory", lambda: None)
    model = Sequential(["Conv2D(1, 1, padding=5000)", "Flatten()"], DIGIT)
    with pytest.raises(CostError, match="10,008 x 10,008"):
        Trainer().fit(model, (np.zeros((4, *DIGIT), np.float32), np.zeros(4, np.int64)))


PAIRS = ["Conv2D(40000, 1)", "Conv2D(40000, 1, groups=20000)"]
"""A kernel for each of many groups, and outputs so large that a tile has two samples."""


def test_loops_that_are_short_for_one_sample_may_be_too_long_for_all() -> None:
    engine = Sequential(PAIRS, DIGIT).engine()
    tile = engine.largest_prediction_tile
    engine.cost.threads(1, tile, 1)
    with pytest.raises(CostError, match=r"conv2d_2 = .* go round 18,000,000 times for 360 samples, and may go round "):
        engine.cost.threads(360, tile, 1)
    with pytest.raises(
        CostError, match=r"conv2d_2 = .* for a step of training, with 64 samples, and may go round 100,"
    ):
        engine.check_training(64, 64)


@pytest.mark.parametrize(
    "layers",
    [
        ["Conv2D(4000, 1)", "Conv2D(4000, 3, padding=1, groups=4000)"],
        ["Conv2D(4000, 1)", "Conv2D(4000, 3, padding=1, groups=1000)"],
        ["Conv2D(64, 1)", *["Conv2D(64, 3, padding=1, groups=32)", "ReLU()"] * 50],
    ],
)
def test_thousands_of_groups_are_trained_on_thousands_of_samples(layers: list[str]) -> None:
    engine = Sequential(layers, DIGIT).engine()
    engine.check_training(1437, 64)
    engine.cost.threads(360, engine.largest_prediction_tile, 2)


def test_a_training_with_too_many_groups_is_refused_by_its_plan_too() -> None:
    model = Sequential(["Conv2D(8000, 1)", "Conv2D(8000, 1, groups=4000)", "Flatten()", "Dense(2)"], DIGIT)
    samples = Samples(np.zeros((64, *DIGIT), np.float32), np.arange(64) % 2)
    data = Data(samples, samples, name="zeros", digest="")
    with pytest.raises(CostError, match=r"conv2d_2 = .* for a step of training, with 64 samples"):
        Trainer(batch_size=64).check(model, data)
    with pytest.raises(CostError, match=r"conv2d_2 = .* for a step of training, with 64 samples"):
        plan_of(Trainer(batch_size=64), model, data)


def test_the_outputs_of_all_samples_are_kept_for_a_picture_only_if_they_are_in_proportion() -> None:
    model = Sequential([Growing(100_000)], (1,))
    model.check_report(300)
    with pytest.raises(CostError, match=r"growing_1 = .* for 400 samples takes 152.6 MiB, and a picture may take 128"):
        model.check_report(400)


class Growing(Layer):
    """A plugin's layer, of which nothing but its shapes is known."""

    def __init__(self, times: int) -> None:
        self.times = times

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        return (self.times * in_shape[0],)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return np.tile(x, self.times), None


def test_of_a_layer_that_is_not_known_its_shapes_count() -> None:
    model = Sequential([Growing(1000)], (3,))
    assert model.outputs(np.ones((2, 3))).shape == (2, 3000)
    with pytest.raises(CostError, match=r"layer growing_1 = Growing\(1000000000\) gives 3,000,000,000 values"):
        Sequential([Growing(10**9)], (3,)).outputs(np.ones((2, 3)))


def test_the_bound_follows_what_goes_in() -> None:
    """An input of 4 MiB may become 1,000 times as much, one of 4 KiB 128 MiB."""
    most = EXPANSION // 4
    Sequential([Growing(most)], (1 << 20,)).engine().cost.check()
    with pytest.raises(CostError, match="values for each sample"):
        Sequential([Growing(EXPANSION + 1)], (1 << 20,)).engine().cost.check()
    Sequential([Growing(FREE_BYTES // 4096)], (1024,)).engine().cost.check()
    with pytest.raises(CostError, match="values for each sample"):
        Sequential([Growing(FREE_BYTES // 4096 + 1)], (1024,)).engine().cost.check()


def test_so_do_the_names_of_classes() -> None:
    small = Sequential(["Flatten()"], (FREE_BYTES // NAME_BYTES,))
    small.check_report()
    large = Sequential(["Dense(140000)"], (64,), limit=10_000_000)
    large.check_report()  # so many weights
    with pytest.raises(CostError, match="a report on 2,000,000 classes"):
        Sequential(["Flatten()"], (2_000_000,)).check_report()
    with pytest.raises(
        CostError, match=r"a report on 200,000 classes takes 190.7 MiB, and a network with .* 128.0 MiB"
    ):
        Sequential([Growing(200_000)], (1,)).check_report()


def test_the_bound_follows_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Sequential(["Conv2D(4, 3, padding=1)", "ReLU()"], (3, 1024, 1024))
    engine = model.engine()
    tile = engine.largest_prediction_tile
    needed = min(tile, 8) * engine.cost.peak + 8 * engine.cost.result
    assert needed > FREE_BYTES
    monkeypatch.setattr(cost, "available_memory", lambda: None)
    assert engine.cost.threads(8, tile, 2, kept=8) == 2
    monkeypatch.setattr(cost, "available_memory", lambda: 8 * needed)
    assert engine.cost.threads(8, tile, 2, kept=8) == 2
    monkeypatch.setattr(cost, "available_memory", lambda: needed)
    assert engine.cost.threads(8, tile, 2, kept=8) == 1
    monkeypatch.setattr(cost, "available_memory", lambda: needed - 1)
    with pytest.raises(CostError, match=r"conv2d_1 = .* takes about .* MiB of memory, but only .* MiB is available"):
        engine.cost.threads(8, tile, 2, kept=8)


@pytest.mark.parametrize(
    "layers",
    [
        ["Conv2D(4, 5)", "ReLU()", "MaxPool2D(3, 1)", "Conv2D(4, 3, stride=2)", "AvgPool2D(2)"],
        ["Conv2D(8, 3, padding=1)", "Residual(Conv2D(8, 3, padding=1), BatchNorm2D())", "Concat([], ReLU())"],
        ["Conv2D(8, 3, padding=2, dilation=2)", "Conv2D(8, 3, groups=8)", "ReLU()", "Flatten()", "Dense(10)"],
    ],
)  # fmt: skip
def test_the_estimate_is_near_what_a_tile_takes(layers: list[str]) -> None:
    """Not above three times it, nor below a third."""
    engine = Sequential(layers, (3, 96, 96)).engine()
    x = np.zeros((16, 3, 96, 96), np.float32)
    for _ in range(2):
        engine.predict(x, 1)
    (workspace,) = engine.workspaces
    assert 1 / 3 < 16 * engine.cost.peak / workspace.memory.planned() < 3


def test_an_explanation_and_a_report_need_room(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Sequential(["Flatten()"], (8 << 20,)).engine().cost
    found.check_copies(6)
    wide = Sequential(["Flatten()"], (16 << 20,)).engine().cost
    wide.check_names(200_000)
    monkeypatch.setattr(cost, "available_memory", lambda: FREE_BYTES)
    with pytest.raises(
        CostError,
        match=r"an explanation takes about 192.0 MiB of memory, but only 128.0 MiB is available",
    ):
        found.check_copies(6)
    with pytest.raises(
        CostError,
        match=r"a report on 200,000 classes takes about 190.7 MiB of memory, but only 128.0 MiB",
    ):
        wide.check_names(200_000)


def test_what_a_wide_kernel_sees_of_one_image_is_copied_in_parts() -> None:
    """All that 28 rows of 345 pixels see would be 160 MiB; the copies are bounded, and the numbers are the same."""
    model = Sequential(["Conv2D(2, 64, padding=200)"], DIGIT)
    engine = model.engine()
    x = np.random.default_rng(0).normal(size=(1, *DIGIT)).astype(np.float32)
    for _ in range(2):
        found = engine.predict(x, 1)
    (workspace,) = engine.workspaces
    assert workspace.memory.planned() < 64 * MIB
    np.testing.assert_allclose(found, engine.predict(np.repeat(x, 3, axis=0), 1)[:1], rtol=1e-4, atol=1e-5)


DILATED = ["Conv2D(4000, 1)", "Conv2D(4000, 3, padding=3, dilation=3, groups=2000)"]
"""What it gives is small, and what it copies to get there is large."""


def test_a_tile_follows_what_its_layers_copy() -> None:
    engine = Sequential(DILATED, DIGIT).engine()
    tile = engine.largest_prediction_tile
    assert tile < 2 * engine.largest_tile
    assert engine.cost.peak * tile <= cost.TILE_BYTES < engine.cost.peak * 2 * tile
    assert engine.cost.threads(64, tile, 2) == 2


def test_fewer_tiles_of_one_large_sample_are_on_their_way_at_once() -> None:
    engine = Sequential(["Conv2D(1, 1, padding=1600)", "ReLU()", "Flatten()"], DIGIT).engine()
    assert engine.largest_prediction_tile == 1
    assert engine.cost.peak > cost.TILE_BYTES
    assert engine.cost.threads(64, 1, 2) == 1
    large = Sequential(["Conv2D(1, 1, padding=1600)", "ReLU()", "Flatten()"], (1, 1000, 1000)).engine()
    assert large.cost.threads(64, 1, 2) == 2  # it was given as much


def test_large_memory_of_tiles_does_not_stay() -> None:
    model = Sequential(["Concat([], [])"] * 14, DIGIT)
    x = np.ones((64, *DIGIT), np.float32)
    engine = model.engine()
    assert engine.predict(x, 1).shape == (64, 2**14, 8, 8)
    assert engine.workspaces == []
    small = Sequential(["Concat([], [])"] * 4, DIGIT).engine()
    small.predict(np.ones((512, *DIGIT), np.float32), 1)
    assert len(small.workspaces) == 1
