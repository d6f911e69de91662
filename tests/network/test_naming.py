"""Errors inside a component name it, in training and prediction, in this process and in others."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.errors import CnnkitError, TrainingError
from cnnkit.losses import CrossEntropy
from cnnkit.metrics import Accuracy
from cnnkit.network import Objective, Sequential, Session
from cnnkit.optimizers import SGD
from cnnkit.types import Array, Cache, Context, Grads, Samples, Shape
from tests.network.test_guards import SAMPLES, Coupled, Zero, network, train


def fails(self: object, *args: Any) -> Any:
    raise KeyError("too odd")


FAILS: Any = fails
"""In the place of a method."""


class BadLoss(CrossEntropy):
    forward = FAILS


class BadGradient(CrossEntropy):
    backward = FAILS


class BadMetric(Accuracy):
    sums = FAILS


class BadRule(SGD):
    update = FAILS


class BadSlots(SGD):
    slots = FAILS


class BadMethod(Zero):
    gradient = FAILS


BROKEN: dict[str, dict[str, Any]] = {
    "in the loss BadLoss()": {"loss": BadLoss()},
    "in the loss BadGradient()": {"loss": BadGradient()},
    "in the metric BadMetric()": {"metric": BadMetric()},
    "in the optimizer BadRule()": {"optimizer": BadRule()},
    "in the optimizer BadSlots()": {"optimizer": BadSlots()},
    "in the gradient method BadMethod()": {"method": BadMethod()},
    "in the forward pass of layer coupled_1 = Coupled()": {"layers": [Coupled(lambda x: x.sum(axis=0), fails)]},
}


@pytest.mark.parametrize("note", BROKEN)
def test_an_error_names_its_component_and_stays_what_it_is(note: str) -> None:
    with pytest.raises(KeyError, match="too odd") as error:
        train(**BROKEN[note])
    assert error.value.__notes__ == [note]


def test_so_does_one_where_partials_are_joined_without_backpropagation() -> None:
    with pytest.raises(KeyError, match="too odd") as error:
        train(method=Zero(), layers=[Coupled(lambda x: x.sum(axis=0), fails)])
    assert error.value.__notes__[0] == "in the forward pass of layer coupled_1 = Coupled()"


class Elsewhere(SGD):
    """Fails in other processes than this one."""

    home = os.getpid()

    def update(self, params: Array, grads: Array, state: Any, lr: float, step: int) -> None:
        if os.getpid() != self.home:
            raise KeyError("too odd")


def test_an_error_of_another_process_names_its_component_too() -> None:
    with pytest.raises(TrainingError, match=r"^a worker process failed: KeyError: 'too odd'") as error:
        train(optimizer=Elsewhere(), workers=2)
    assert error.value.__notes__[0] == "in the optimizer Elsewhere()"


class FailsInPrediction(Layer):
    """The identity in training."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        if not ctx.training:
            raise KeyError("too odd")
        return x, None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy, {}


@pytest.mark.parametrize("ask", [Sequential.predict, Sequential.predict_proba, Sequential.logits, Sequential.trace])
def test_an_error_in_a_prediction_names_the_layer(ask: Callable[..., Any]) -> None:
    with pytest.raises(KeyError) as error:
        ask(network(FailsInPrediction()), SAMPLES.x)
    assert error.value.__notes__ == ["in the forward pass of layer fails_in_prediction_1 = FailsInPrediction()"]


def test_a_user_error_stays_one() -> None:
    with pytest.raises(CnnkitError, match=r"so class indices must be 0 to 4") as error:
        Session(network().engine(), Samples(SAMPLES.x, SAMPLES.y + 9), Objective(CrossEntropy()), SGD(0.1), 40).step(
            np.arange(40), (0, 0, 0)
        )
    assert error.value.__notes__ == ["in the loss CrossEntropy()"]


class BadBuild(Layer):
    """Cannot be built."""

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        raise KeyError("too odd")


def test_an_error_in_build_names_the_layer() -> None:
    with pytest.raises(KeyError) as error:
        network("ReLU()", BadBuild())
    assert error.value.__notes__ == ["in build of layer bad_build_1 = BadBuild(), after relu_1 of shape (6,)"]
