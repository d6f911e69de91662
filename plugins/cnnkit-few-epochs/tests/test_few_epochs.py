"""Adan and REX: their contracts, their formulas, and that they learn."""

from __future__ import annotations

import numpy as np
import pytest
from cnnkit_few_epochs import REX, Adan

from cnnkit import Sequential, Trainer, load_dataset
from cnnkit.errors import ConfigError
from cnnkit.plugin import Array
from cnnkit.testing import check_optimizer, check_schedule


@pytest.mark.parametrize("example", Adan.examples, ids=lambda one: one.expression)
def test_adan_keeps_the_contract_of_optimizers(example: object) -> None:
    check_optimizer(example.expression)  # type: ignore[attr-defined]


@pytest.mark.parametrize("epochs", [1, 5, 100])
def test_rex_keeps_the_contract_of_schedules(epochs: int) -> None:
    check_schedule("REX()", epochs=epochs)


def by_the_formulas(gradients: Array, lr: float, decay: float) -> Array:
    """Adan in float64, with every number written as in the docstring."""
    b1, b2, b3 = 0.98, 0.92, 0.99
    p = np.ones(gradients.shape[1])
    h, m, v, n = gradients[0], 0 * p, 0 * p, 0 * p
    for t, g in enumerate(gradients, 1):
        d = g - h
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * d
        n = b3 * n + (1 - b3) * (g + b2 * d) ** 2
        u = (m / (1 - b1**t) + b2 * v / (1 - b2**t)) / (np.sqrt(n / (1 - b3**t)) + 1e-8)
        p, h = (p - lr * u) / (1 + lr * decay), g
    return p


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_adan_computes_its_formulas(decay: float) -> None:
    gradients = np.random.default_rng(0).normal(size=(20, 5))
    optimizer = Adan(0.01, weight_decay=decay)
    params, state = np.ones(5), {name: np.zeros(5) for name in optimizer.slots()}
    for step, gradient in enumerate(gradients, 1):
        optimizer.update(params, gradient.copy(), state, 0.01, step)
    np.testing.assert_allclose(params, by_the_formulas(gradients, 0.01, decay), rtol=1e-12)


def test_rex_stays_high_for_long() -> None:
    assert [REX().factor(epoch, 4) for epoch in (0, 2, 3)] == pytest.approx([1, 2 / 3, 0.4])


def test_they_learn_the_digits_in_five_epochs() -> None:
    data = load_dataset("Digits()")
    layers = ["Conv2D(8, 3)", "ReLU()", "MaxPool2D(2)", "Flatten()", "Dense(10)"]
    model = Sequential(layers, data.input_shape, preprocessing=data.preprocessing)
    trainer = Trainer(optimizer="Adan(0.02)", schedule="REX()", epochs=5, batch_size=32, progress=False)
    assert trainer.fit(model, data).metrics["accuracy"] >= 0.93


def test_wrong_arguments_are_explained() -> None:
    with pytest.raises(ConfigError, match=r"^beta3 must be a number with 0 <= beta3 < 1, got 1\.0$"):
        Adan(beta3=1.0)
