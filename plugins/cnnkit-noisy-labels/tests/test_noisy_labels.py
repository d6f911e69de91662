"""The losses: contracts, limits, and that they bear wrong labels better than cross-entropy does."""

from __future__ import annotations

import numpy as np
import pytest
from cnnkit_noisy_labels import GeneralizedCrossEntropy, SymmetricCrossEntropy

from cnnkit import Sequential, Trainer, load_dataset
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.losses import CrossEntropy
from cnnkit.plugin import Example
from cnnkit.testing import check_loss

EXAMPLES = [*GeneralizedCrossEntropy.examples, *SymmetricCrossEntropy.examples]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.expression)
def test_they_keep_the_contract_of_losses(example: Example) -> None:
    check_loss(example.expression, example.in_shape)


def test_they_go_over_into_cross_entropy() -> None:
    rng = np.random.default_rng(0)
    z, t = 3 * rng.normal(size=(50, 4)), rng.integers(4, size=50)
    expected, cache = CrossEntropy().forward(z, t)
    for loss in (GeneralizedCrossEntropy(1e-9), SymmetricCrossEntropy(1.0, 0.0)):
        losses, kept = loss.forward(z, t)
        np.testing.assert_allclose(losses, expected, rtol=1e-6)
        np.testing.assert_allclose(loss.backward(kept, 0.5), CrossEntropy().backward(cache, 0.5), rtol=1e-6, atol=1e-12)


def test_no_sample_pulls_without_bound() -> None:
    z = np.array([[1000.0, 0.0], [0.0, 1000.0]])
    losses, cache = GeneralizedCrossEntropy(0.5).forward(z, np.array([1, 1]))
    np.testing.assert_allclose(losses, [2, 0])
    np.testing.assert_allclose(GeneralizedCrossEntropy(0.5).backward(cache, 1.0), 0, atol=1e-100)


def accuracy(loss: str) -> float:
    """On the test samples, of a network trained on digits of which 45 % have a wrong label."""
    data = load_dataset("Digits()")
    rng = np.random.default_rng(0)
    y = data.train.y.copy()
    wrong = rng.random(len(y)) < 0.5
    y[wrong] = rng.integers(10, size=int(wrong.sum()))
    model = Sequential(["Flatten()", "Dense(64)", "ReLU()", "Dense(10)"], (1, 8, 8), preprocessing=data.preprocessing)
    Trainer(optimizer="Adam(0.003)", loss=loss, epochs=40, batch_size=32, progress=False).fit(model, (data.train.x, y))
    return float((model.predict(data.test.x) == data.test.y).mean())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # training tells of what it cannot learn
def test_they_bear_wrong_labels() -> None:
    plain = accuracy("CrossEntropy()")
    for loss in ("GeneralizedCrossEntropy()", "SymmetricCrossEntropy()"):
        assert accuracy(loss) > plain + 0.05


def test_wrong_arguments_are_explained() -> None:
    with pytest.raises(ConfigError, match=r"^q must be a number above 0, got 0$"):
        GeneralizedCrossEntropy(0)
    with pytest.raises(ShapeError, match=r"^SymmetricCrossEntropy\(\) needs outputs of shape \(N, K\) and N class "):
        SymmetricCrossEntropy().forward(np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(ShapeError, match="class indices from 0 to K - 1"):
        SymmetricCrossEntropy().forward(np.zeros((2, 3)), np.array([0, 3]))
