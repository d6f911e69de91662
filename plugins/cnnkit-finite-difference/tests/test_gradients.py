"""FiniteDifference and SPSA: their mathematics, their arguments, and that they train."""

from __future__ import annotations

import os

import numpy as np
import pytest
from cnnkit_finite_difference import SPSA, FiniteDifference

from cnnkit import Sequential, Trainer, load_dataset, load_recipe, train
from cnnkit.plugin import Array, ConfigError, GradientMethod

POINT = np.array([0.3, -1.2, 0.7])
SLOPE = np.array([2 * 0.3 * -1.2, 0.3**2, 3 * 0.7**2])


def curved(p: Array) -> float:
    return float(p[0] ** 2 * p[1] + p[2] ** 3)


def gradient(method: GradientMethod, seed: int = 0) -> Array:
    return method.gradient(curved, POINT.copy(), np.random.default_rng(seed))


def error(method: GradientMethod) -> float:
    return float(np.abs(gradient(method) - SLOPE).max())


def test_the_schemes_have_their_orders() -> None:
    assert error(FiniteDifference(1e-3)) / error(FiniteDifference(5e-4)) == pytest.approx(2, rel=1e-2)
    central = [error(FiniteDifference(h, scheme="central")) for h in (1e-2, 5e-3)]
    assert central[0] / central[1] == pytest.approx(4, rel=1e-2)
    assert error(FiniteDifference()) < 1e-5
    assert error(FiniteDifference(scheme="central")) < 1e-9


def test_the_forward_scheme_is_the_difference_that_it_says() -> None:
    here, h = curved(POINT), 0.25
    expected = [(curved(POINT + h * move) - here) / h for move in np.eye(3)]
    np.testing.assert_allclose(gradient(FiniteDifference(h)), expected, rtol=1e-14)


@pytest.mark.parametrize(("scheme", "calls"), [("forward", 4), ("central", 6)])
def test_as_many_evaluations_as_it_says_and_the_parameters_are_put_back(scheme: str, calls: int) -> None:
    seen = []
    params = POINT.copy()

    def loss(p: Array) -> float:
        seen.append(p.copy())
        return curved(p)

    FiniteDifference(scheme=scheme).gradient(loss, params, np.random.default_rng(0))
    assert len(seen) == calls
    assert all((p != POINT).sum() <= 1 for p in seen)
    np.testing.assert_array_equal(params, POINT)


def test_spsa_expects_the_gradient() -> None:
    assert error(SPSA(directions=4000)) < 0.1
    assert np.array_equal(gradient(SPSA()), gradient(SPSA()))
    assert not np.array_equal(gradient(SPSA(), 0), gradient(SPSA(), 1))
    d = np.random.default_rng(0).choice([-1.0, 1.0], 3)
    np.testing.assert_allclose(gradient(SPSA()), (SLOPE @ d) * d, rtol=1e-6)


def test_wrong_arguments_are_explained() -> None:
    with pytest.raises(ConfigError, match=r"^h must be a number above 0, got 0$"):
        FiniteDifference(0)
    with pytest.raises(ConfigError, match=r"^scheme must be one of 'forward', 'central', got 'both'$"):
        FiniteDifference(scheme="both")
    with pytest.raises(ConfigError, match=r"^directions must be a whole number, 1 or above, got 0$"):
        SPSA(directions=0)


@pytest.mark.parametrize("expression", ['FiniteDifference(h=1e-05, scheme="central")', "SPSA(directions=3)"])
def test_they_are_found_by_their_names(expression: str) -> None:
    for written in (expression, f"cnnkit-finite-difference:{expression}"):
        assert repr(Trainer(gradient=written).gradient) == expression


@pytest.mark.parametrize(
    ("method", "epochs", "accuracy"), [("FiniteDifference()", 3, 0.85), ("SPSA(directions=16)", 8, 0.6)]
)
def test_they_train_the_digits(method: str, epochs: int, accuracy: float) -> None:
    data = load_dataset("Digits()")
    layers = ["Conv2D(2, 3)", "ReLU()", "MaxPool2D(2)", "Flatten()", "Dense(10)"]
    model = Sequential(layers, data.input_shape, preprocessing=data.preprocessing)
    run = Trainer(optimizer="Adam(0.05)", gradient=method, epochs=epochs, batch_size=32).fit(model, data)
    assert run.history["loss"][-1] < 0.6 * run.history["loss"][0]
    assert run.metrics["accuracy"] > accuracy


@pytest.mark.skipif("CNNKIT_DATA_DIR" not in os.environ, reason="CNNKIT_DATA_DIR does not name a folder with MNIST")
def test_the_shipped_recipe_learns_on_a_slice_of_its_slice() -> None:
    recipe = load_recipe("mnist-numeric", {"data.fraction": 0.02, "train.epochs": 1})
    run = train(recipe)
    assert run.model.parameter_count() == 2010
    assert run.metrics["accuracy"] > 0.6
