"""The gradient check of whole networks: right ones pass, one wrong layer, join or sharing anywhere is found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Layer, Loss
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.layers import Add, Conv2D, Dense
from cnnkit.losses import MSE, BinaryCrossEntropy, CrossEntropy, Huber
from cnnkit.network import Graph, Network, Sequential
from cnnkit.testing import network_gradient_check
from cnnkit.types import Array, Cache, Context, Grads, Samples

PLAIN = ["Conv2D(4, 3)", "BatchNorm2D()", "ReLU()", "MaxPool2D(2)", "Dropout(0.3)", "Flatten()", "Dense(3)"]
JOINED: dict[str, Any] = {
    "a": "Conv2D(4, 3, padding=1)",
    "b": "MaxPool2D(2)",
    "c": "ReLU()",
    "up": "Upsample2D(2)",
    "both": ("Add()", ["a", "up"]),
    "end": "Conv2D(3, 1)",
}


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        (lambda: Sequential(PLAIN, (2, 8, 8)), CrossEntropy()),
        (lambda: Sequential(PLAIN, (2, 8, 8)), MSE()),
        (lambda: Sequential(PLAIN, (2, 8, 8)), BinaryCrossEntropy()),
        (lambda: Sequential([*PLAIN, "Softmax()"], (2, 8, 8)), CrossEntropy(0.1)),
        (lambda: Sequential([*PLAIN, "Softmax()"], (2, 8, 8)), Huber(0.1)),
        (lambda: Graph(JOINED, (2, 8, 8)), CrossEntropy()),
        (lambda: Sequential(["Residual(Conv2D(2, 3, padding=1), ReLU())", "Flatten()", "Dense(3)"], (2, 5, 4)), MSE()),
        (lambda: Sequential(["Conv1D(4, 3, padding=1)", "ReLU()", "Conv1D(3, 1)"], (2, 9)), CrossEntropy()),
    ],
)
def test_right_networks_pass(model: Any, loss: Loss) -> None:
    given: Network = model()
    before = given.state()
    for seed in range(3):
        report = network_gradient_check(given, loss, seed=seed)
        assert report.ok, report
        assert set(report.errors) == {name for name in before if "running" not in name}
    for name, value in given.state().items():
        np.testing.assert_array_equal(value, before[name])


class WrongBias(Dense):
    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        dx, grads = super().backward(dy, cache, ctx)
        return dx, grads | {"bias": grads["bias"] * (1 + 1e-4)}


class OneSided(Add):
    """Only the first of its inputs gets a gradient."""

    def backward(self, dy: Array, inputs: Cache, ctx: Context) -> Sequence[Array]:
        return [dy, *(np.zeros_like(dy) for _ in range(inputs - 1))]


class Straight(Layer):
    """Rounds, and passes the gradient on, on purpose."""

    surrogate_gradients = ("x",)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return np.round(x), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy, {}


def wrong(model: Network, loss: Loss) -> list[str]:
    report = network_gradient_check(model, loss)
    return [name for name, error in report.errors.items() if error > report.threshold]


def test_positive_control_a_wrong_gradient_is_found_where_it_is() -> None:
    model = Sequential(["Flatten()", "Dense(6)", "ReLU()", WrongBias(3)], (1, 4, 4))
    assert wrong(model, CrossEntropy()) == ["wrong_bias_1.bias"]


def test_positive_control_a_wrong_join_is_found() -> None:
    nodes = JOINED | {"a2": ("Conv2D(4, 1)", "up"), "both": (OneSided(), ["a", "a2"])}
    assert wrong(Graph(nodes, (2, 8, 8)), CrossEntropy()) == ["a.weight", "a.bias", "a2.weight", "a2.bias"]


def test_layers_that_are_shared_are_checked_as_one() -> None:
    shared = Conv2D(2, 3, padding=1)
    nodes = {"a": shared, "b": ("ReLU()", "a"), "c": (shared, "b"), "d": "Flatten()", "e": "Dense(3)"}
    report = network_gradient_check(Graph(nodes, (2, 5, 5)), CrossEntropy())
    assert report.ok
    assert list(report.errors) == ["a.weight", "a.bias", "e.weight", "e.bias"]


def test_what_lies_before_a_surrogate_gradient_is_not_compared() -> None:
    model = Sequential(["Dense(4)", Straight(), "Dense(3)"], (5,))
    report = network_gradient_check(model, CrossEntropy())
    assert report.ok
    assert report.surrogates == ("dense_1.weight", "dense_1.bias")
    assert list(report.errors) == ["dense_2.weight", "dense_2.bias"]


def test_samples_of_bytes_and_shapes_of_targets() -> None:
    rng = np.random.default_rng(0)
    model = Sequential(PLAIN, (2, 8, 8), input_dtype="uint8")
    x, y = rng.integers(0, 256, (20, 2, 8, 8), dtype=np.uint8), rng.integers(0, 3, 20)
    assert network_gradient_check(model, CrossEntropy(), samples=Samples(x, y)).ok
    assert network_gradient_check(model, MSE(), target_shape=(3,)).ok
    with pytest.raises(ShapeError, match="the targets must be class indices"):
        network_gradient_check(model, CrossEntropy(), target_shape=(7,))


def test_without_parameters_there_is_nothing_to_compare() -> None:
    with pytest.raises(ConfigError) as caught:
        network_gradient_check(Sequential(["Flatten()"], (3, 2, 2)), MSE())
    assert str(caught.value) == "expected a network with parameters: there is nothing to compare in one without"
