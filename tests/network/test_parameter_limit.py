"""A network whose layers a file asks for takes no more memory than the file's numbers, any other what there is."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.network import Sequential, network, present_memory
from cnnkit.network.graph.keyed_random import keyed_rng
from cnnkit.types import Shape

LAYERS = ["Conv2D(2, 3)", "BatchNorm2D()", "ReLU()", "Flatten()", "Dense(3)"]


def test_a_network_within_its_limit_is_the_same_but_for_its_weights() -> None:
    free = Sequential(LAYERS, (1, 5, 5), seed=3).state()
    count = sum(array.size for array in free.values())
    limited = Sequential(LAYERS, (1, 5, 5), seed=3, limit=count).state()
    for name, array in free.items():
        assert limited[name].shape == array.shape
        np.testing.assert_array_equal(
            limited[name], np.zeros_like(array) if name.endswith(("weight", "gamma")) else array
        )
    with pytest.raises(ShapeError, match=f"layer dense_1 = .*it asks for 57 numbers, more .* of the {count - 1} that"):
        Sequential(LAYERS, (1, 5, 5), limit=count - 1)


class Drawing(Layer):
    """Draws in every way that takes a size."""

    def __init__(self, how: str) -> None:
        self.how = how

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        draws: dict[str, Callable[[], Any]] = {
            "choice": lambda: rng.choice([-1.0, 1.0], (100_000, 1000)),
            "keyword": lambda: rng.normal(size=10**8),
            "standard": lambda: rng.standard_normal([10**4, 10**4]),
            "one": lambda: rng.random(),
            "bounds": lambda: rng.integers(0, 10**12, size=2),
        }
        self.params = {"w": np.array(draws[self.how]())}
        return in_shape


@pytest.mark.parametrize("how", ["choice", "keyword", "standard"])
def test_what_is_drawn_is_refused_before(how: str) -> None:
    with pytest.raises(ShapeError, match="it asks for 100,000,000 numbers, more than remain of the 8 that the netwo"):
        Sequential([Drawing(how)], (3,), limit=8)


@pytest.mark.parametrize("how", ["one", "bounds"])
def test_small_draws_pass(how: str) -> None:
    assert Sequential([Drawing(how)], (3,), limit=8).parameter_count() <= 2


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        (["Dense(60000000)"], (3,)),
        (["Conv2D(60000000, 1)"], (1, 1, 1)),
        (["WeightNorm(Dense(60000000))"], (3,)),
        (["WeightStandardization(ConvTranspose2D(60000000, 1))"], (4, 1, 1)),
        (["Dense(60000000, initializer=Constant(1))"], (3,)),
        (["BatchNorm2D()"], (60_000_000, 1, 1)),
        (["BatchNorm2D()"] * 100, (2**16, 1, 1)),
    ],
)
def test_large_layers_take_no_memory(layers: list[str], shape: Shape) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ShapeError, match="numbers, more than remain of the 8 that the network may have"):
            Sequential(layers, shape, limit=8)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_layers_that_make_nothing_take_inputs_of_any_size() -> None:
    assert Sequential(["ReLU()", "Softmax()"], (10**6,), limit=0).output_shape == (10**6,)


def test_weights_that_are_to_come_take_no_memory() -> None:
    """They are zeros that nobody has written."""
    before = present_memory()
    model = Sequential(["Dense(100000)", "ReLU()", "Dense(10)"], (1000,), limit=2 * 10**8)
    assert model.parameters.vector.nbytes == 4 * model.parameter_count() > 4 * 10**8
    assert present_memory() - before < 2**26
    assert not model.parameters.vector[:: 10**6].any()
    model.parameters.vector[:5] = 1  # memory like any other
    assert model.layers[0].params["weight"].sum() == 5


@pytest.mark.parametrize("how", ["choice", "keyword", "standard"])
def test_a_network_of_ones_own_has_the_memory_for_a_limit(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "available_memory", lambda: 2**30)
    text = (
        "layer drawing_1 = .*: it asks for 100,000,000 numbers, which take 1,200,000,000 bytes to begin with, and "
        "1,073,741,824 bytes of memory are available; use fewer units or filters"
    )
    with pytest.raises(ConfigError, match=text):
        Sequential([Drawing(how)], (3,))


def test_nothing_is_refused_where_the_memory_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "available_memory", lambda: None)
    assert Sequential(["Dense(50000)"], (100,)).parameter_count() == 5_050_000


def test_what_is_not_drawn_is_refused_by_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "available_memory", lambda: 2**20)
    with pytest.raises(ConfigError, match=r"layer batch_norm2d_1 = .* it asks for 60,000,000 numbers, which take"):
        Sequential(["BatchNorm2D()"], (60_000_000, 1, 1))


class Spawning(Layer):
    """Draws with a generator of its own."""

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        (own,) = rng.spawn(1)
        self.params = {"w": own.normal(size=in_shape[0])}
        return in_shape


def test_generators_that_are_spawned_check_too() -> None:
    expected = keyed_rng("weights", 0, 0).spawn(1)[0].normal(size=9).astype(np.float32)
    np.testing.assert_array_equal(Sequential([Spawning()], (9,)).state()["spawning_1.w"], expected)
    with pytest.raises(ShapeError, match="it asks for 9 numbers, more than remain of the 8 that"):
        Sequential([Spawning()], (9,), limit=8)
