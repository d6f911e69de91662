"""The data sets, the metric and the loss that the plugin adds to cnnkit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cnnkit_sklearn.datasets import BreastCancer
from cnnkit_sklearn.sample_weighted import SampleWeighted, weighted_targets
from cnnkit_sklearn.scores import KINDS, SklearnScore
from sklearn import metrics

from cnnkit import Sequential, Trainer, load_dataset, train
from cnnkit.losses import MSE, CrossEntropy, SupCon
from cnnkit.plugin import Array, ConfigError, Loss, ShapeError
from cnnkit.testing import check_dataset, check_loss, check_metric

RECIPE = """
[model]
name = "wine"
layers = ["Dense(16)", "ReLU()", "Dense(3)"]
[data]
dataset = "Wine()"
validation = 0.2
[train]
optimizer = "Adam(0.01)"
epochs = 20
batch_size = 16
metrics = ["Accuracy()", 'SklearnScore("cohen_kappa_score")']
"""


@pytest.mark.parametrize("text", ["Iris()", "Wine()", "BreastCancer(test=0.3, seed=1)", "Diabetes()"])
def test_datasets_keep_their_contract(text: str, tmp_path: Path) -> None:
    check_dataset(text, tmp_path)


def test_datasets_are_cut_evenly_and_standardised() -> None:
    data = load_dataset("Iris()")
    assert np.bincount(data.test.y).tolist() == [10, 10, 10]
    assert data.labels == ("setosa", "versicolor", "virginica")
    inputs = (data.train.x - np.array(data.preprocessing.mean)) / np.array(data.preprocessing.std)
    np.testing.assert_allclose(inputs.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(inputs.std(axis=0), 1, rtol=1e-5)
    assert load_dataset("Diabetes()").train.y.shape == (353, 1)
    with pytest.raises(ConfigError, match="test must be a number above 0, got 0"):
        BreastCancer(test=0)


@pytest.mark.parametrize("name", KINDS)
def test_scores_keep_their_contract(name: str) -> None:
    check_metric(f'SklearnScore("{name}")', (1,) if name == "max_error" else (3,))


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.takes != "values"])
def test_scores_of_classes_are_scikit_learns(name: str) -> None:
    rng = np.random.default_rng(0)
    outputs, targets = rng.dirichlet(np.ones(4), 50), rng.integers(4, size=50)
    score = SklearnScore(name)
    found = score.value(score.join([score.sums(outputs[:7], targets[:7]), score.sums(outputs[7:], targets[7:])]))
    given = outputs if KINDS[name].takes == "probabilities" else outputs.argmax(axis=1)
    assert found == pytest.approx(getattr(metrics, name)(targets, given), rel=1e-12)


def test_a_recipe_uses_them(tmp_path: Path) -> None:
    path = tmp_path / "wine.toml"
    path.write_text(RECIPE)
    run = train(path, progress=False)
    assert run.metrics["accuracy"] >= 0.9
    assert run.metrics["cohen_kappa_score"] == pytest.approx(1.5 * run.metrics["accuracy"] - 0.5, abs=0.05)
    assert len(run.history["validation_cohen_kappa_score"]) == 20


def test_a_weighted_loss_keeps_the_contract_of_losses() -> None:
    rng = np.random.default_rng(0)
    weights = rng.uniform(0, 3, 12)
    check_loss(SampleWeighted(CrossEntropy()), (4,), targets=weighted_targets(rng.integers(4, size=12), weights))
    check_loss("SampleWeighted(MSE())", (3,), targets=weighted_targets(rng.normal(size=(12, 3)), weights))


def test_a_weighted_loss_is_the_loss_times_the_weights() -> None:
    rng = np.random.default_rng(0)
    outputs, y, weights = rng.normal(size=(8, 3)), rng.integers(3, size=8), rng.uniform(0, 2, 8)
    pairs: list[tuple[Loss, Array]] = [(CrossEntropy(0.1), y), (MSE(), rng.normal(size=(8, 3)))]
    for plain, targets in pairs:
        expected, cache = plain.forward(outputs, targets)
        losses, kept = SampleWeighted(plain).forward(outputs, weighted_targets(targets, weights))
        np.testing.assert_allclose(losses, weights * expected)
        expected_dy = weights[:, None] * plain.backward(cache, 0.5)
        np.testing.assert_allclose(SampleWeighted(plain).backward(kept, 0.5), expected_dy)


def test_a_weighted_loss_says_what_the_loss_inside_says() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 2)).astype(np.float32), rng.integers(2, size=60)
    model = Sequential(["Dense(2)"], (2,))
    Trainer(loss=SampleWeighted(CrossEntropy()), metrics=[], epochs=1, progress=False).fit(
        model, (x, weighted_targets(y, np.ones(60)))
    )
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1, rtol=1e-6)
    assert repr(SampleWeighted(CrossEntropy(0.1))) == "SampleWeighted(CrossEntropy(label_smoothing=0.1))"


def test_wrong_arguments_are_explained() -> None:
    with pytest.raises(ConfigError, match=r"^SampleWeighted expects a loss of each sample by itself, such as "):
        SampleWeighted(SupCon())
    with pytest.raises(ShapeError, match=r"^SampleWeighted\(CrossEntropy\(\)\) needs outputs \(N, K\) and, in each "):
        SampleWeighted(CrossEntropy()).forward(np.zeros((2, 3)), np.array([0, 1]))
    with pytest.raises(ShapeError, match="needs weights of 0 or above, got -1"):
        SampleWeighted(CrossEntropy()).forward(np.zeros((2, 3)), np.array([[-1.0, 0.0], [1.0, 1.0]]))
    with pytest.raises(ConfigError, match="name must be one of"):
        SklearnScore("accuracy_score")
