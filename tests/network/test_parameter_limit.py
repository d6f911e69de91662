"""A network whose layers a file asks for takes no more memory than the file's numbers."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.errors import ShapeError
from cnnkit.network import Sequential
from cnnkit.types import Shape

LAYERS = ["Conv2D(2, 3)", "BatchNorm2D()", "ReLU()", "Flatten()", "Dense(3)"]


def test_a_network_within_its_limit_is_the_same_but_for_its_weights() -> None:
    free = Sequential(LAYERS, (1, 5, 5), seed=3).state()
    count = sum(array.size for array in free.values())
    limited = Sequential(LAYERS, (1, 5, 5), seed=3, limit=count).state()
    for name, array in free.items():
        assert limited[name].shape == array.shape
        np.testing.assert_array_equal(limited[name], np.zeros_like(array) if name.endswith("weight") else array)
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
