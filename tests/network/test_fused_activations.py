"""Every activation that kernels take along, in every kernel, against a network that runs it as a layer of its own."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest

from cnnkit.components import Layer, installed_catalog
from cnnkit.losses import CrossEntropy
from cnnkit.network import Objective, Sequential, training_session
from cnnkit.network.kernels import epilogue
from cnnkit.network.kernels.epilogue import ACTIVATIONS, Activation, Epilogue, activation_of
from cnnkit.optimizers import SGD
from cnnkit.types import Array, Samples

FUSED = [example.expression for cls in ACTIVATIONS for example in cls.examples]
BEFORE: dict[str, Sequence[str]] = {
    "convolution": ["Conv2D(3, 3)"],
    "convolution and pooling": ["Conv2D(3, 3)", "MaxPool2D(2)"],
    "convolution in groups": ["Conv2D(4, 3, groups=2)"],
    "normalisation": ["BatchNorm2D()"],
    "dense layer": ["Flatten()", "Dense(30)"],
    "sum": ["Residual(Conv2D(2, 1))"],
    "nothing": ["AvgPool2D(2)"],
}


def one(expression: str) -> Layer:
    return cast(Layer, installed_catalog().build("layer", expression))


def step(layers: Sequence[Any]) -> tuple[Sequential, float, Array]:
    """A network, the loss of a batch in training, and its gradient."""
    model = Sequential([*layers, "Flatten()", "Dense(5)"], (2, 20, 20), dtype="float64")
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, (60, 2, 20, 20)).astype(np.float64)  # with ties and zeros
    data, objective = Samples(x, rng.integers(0, 5, len(x))), Objective(CrossEntropy(), ())
    with training_session(model.engine(logits=True), data, objective, SGD(0.1), len(x), 1) as session:
        loss = session.step(np.arange(len(x)), (0, 0, 0)).loss
        return model, loss, session.gradient.copy()


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("expression", FUSED)
def test_a_fused_activation_equals_its_layer(expression: str, before: str) -> None:
    fused, plain = one(expression), one(expression)
    plain.__class__ = type("Derived", (type(plain),), {})  # kernels take no derived class
    model, loss, gradient = step([*BEFORE[before], fused])
    expected_model, expected_loss, expected = step([*BEFORE[before], plain])
    assert not any(type(each.run) is type(fused) for each in model.engine().steps)
    assert any(type(each.run) is type(plain) for each in expected_model.engine().steps)
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-12)
    x = np.random.default_rng(1).normal(size=(3, 2, 20, 20))
    np.testing.assert_allclose(model.outputs(x), expected_model.outputs(x), rtol=1e-12)


def test_every_activation_of_the_kernels_stands_for_a_layer() -> None:
    written = {
        name
        for name, cls in vars(epilogue).items()
        if isinstance(cls, type) and cls.__module__ == epilogue.__name__ and cls not in (Activation, Epilogue)
    }
    used = {type(activation_of(one(expression))).__name__ for expression in FUSED}
    assert written == used, "an activation is missing in ACTIVATIONS"


@pytest.mark.parametrize("expression", FUSED)
def test_a_fused_activation_never_falls(expression: str) -> None:
    """So that a kernel may pool first."""
    activation = activation_of(one(expression))
    assert activation is not None
    y = np.sort(np.random.default_rng(0).normal(0, 3, 20_000))
    before = copy.copy(y)
    activation.apply(y)
    assert (np.diff(y) >= 0).all()
    assert not np.array_equal(y, before)
