"""A loss that compares the samples of a batch equals its loop, and depends on neither tiles nor workers."""

from __future__ import annotations

import re

import numpy as np
import pytest

from cnnkit import Sequential, Trainer, load_dataset, load_recipe, train
from cnnkit.components import BatchCoupledLoss
from cnnkit.errors import CheckError, ConfigError, ShapeError
from cnnkit.losses import SupCon
from cnnkit.network import Engine, Objective, Session, training_session
from cnnkit.network.execution.training_memory import Forecast
from cnnkit.optimizers import SGD
from cnnkit.testing import check_loss
from cnnkit.types import Array, Cache, Samples

LAYERS = ("Conv2D(4, 3)", "BatchNorm2D()", "ReLU()", "Flatten()", "Dropout(0.2)", "Dense(6)")
OBJECTIVE = Objective(SupCon(0.2))


def loop(x: Array, classes: Array, temperature: float) -> list[float]:
    """The loss of each sample, term by term."""
    z = [row / np.sqrt(np.sum(row * row)) for row in x]
    losses = []
    for i in range(len(x)):
        others = [a for a in range(len(x)) if a != i]
        alike = [p for p in others if classes[p] == classes[i]]
        below = sum(np.exp(np.dot(z[i], z[a]) / temperature) for a in others)
        shares = [np.exp(np.dot(z[i], z[p]) / temperature) / below for p in alike]
        losses.append(-sum(map(np.log, shares)) / len(alike) if alike else 0.0)
    return losses


def data(count: int = 40) -> Samples:
    rng = np.random.default_rng(1)
    return Samples(rng.normal(size=(count, 1, 6, 6)).astype(np.float32), rng.integers(0, 4, count))


def gradient(tile: int, workers: int, monkeypatch: pytest.MonkeyPatch, dtype: str = "float32") -> Array:
    """That of one step over all samples."""
    monkeypatch.setattr(Engine, "tile_for", lambda engine, batch_size: tile)
    layers = [one for one in LAYERS if not one.startswith("Dropout") or dtype == "float32"]
    model = Sequential(layers, (1, 6, 6), seed=3, dtype=dtype)  # type: ignore[arg-type]  # one of two
    with training_session(model.engine(), data(), OBJECTIVE, SGD(0.1), 40, workers) as session:
        session.step(np.arange(40), (7, 0, 0))
        return session.gradient.copy()


@pytest.mark.parametrize("classes", [4, 30], ids=["many alike", "some alone"])
def test_it_is_the_loop(classes: int) -> None:
    rng = np.random.default_rng(0)
    x, targets = rng.normal(size=(20, 5)), rng.integers(0, classes, 20)
    losses, _ = SupCon(0.3).forward(x, targets)
    np.testing.assert_allclose(losses, loop(x, targets, 0.3), rtol=1e-12)


def test_no_samples_have_no_losses() -> None:
    losses, cache = SupCon().forward(np.zeros((0, 3), np.float32), np.zeros(0, np.int64))
    assert losses.shape == (0,)
    assert SupCon().backward(cache, 1.0).shape == (0, 3)


def test_outputs_without_a_direction_are_left_alone() -> None:
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    x[2] = 0
    losses, cache = SupCon().forward(x, np.array([0, 1, 0, 1, 0, 1]))
    dx = SupCon().backward(cache, 1.0)
    assert np.isfinite(losses).all()
    assert np.abs(dx).max() < 100
    assert not dx[2].any()


def test_the_size_of_outputs_does_not_matter() -> None:
    x, classes = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32), np.array([0, 1, 0, 1, 0, 1])
    losses, _ = SupCon().forward(x, classes)
    for size in (1e-25, 1e25):
        np.testing.assert_allclose(SupCon().forward(x * np.float32(size), classes)[0], losses, rtol=1e-5)


def test_a_batch_whose_pairs_do_not_fit_is_refused() -> None:
    model = Sequential(["Flatten()", "Dense(3)"], (1, 6, 6))
    forecast = Forecast(model.engine(), data(), OBJECTIVE, SGD(0.1), 40, 1)
    assert forecast.footprint(40_000).workspaces > 3 * 4 * 40_000**2


def test_scores_that_overflow_in_float32_do_not() -> None:
    x = np.array([[1e3, 0.0], [1e3, 1.0], [-1e3, 0.0]], np.float32)
    losses, cache = SupCon(1e-3).forward(x, np.array([0, 0, 0]))
    assert np.isfinite(losses).all()
    assert np.isfinite(SupCon(1e-3).backward(cache, 1.0)).all()


@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_workers_gives_the_same_bits(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    np.testing.assert_array_equal(gradient(16, workers, monkeypatch), gradient(16, 1, monkeypatch))


@pytest.mark.parametrize("tile", [8, 16])
def test_tiles_give_the_gradient_of_the_whole_batch(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = gradient(64, 1, monkeypatch, "float64")
    np.testing.assert_allclose(gradient(tile, 1, monkeypatch, "float64"), whole, rtol=1e-10, atol=1e-12)


def test_an_evaluation_does_not_depend_on_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, losses = data(300), []
    model = Sequential(LAYERS, (1, 6, 6), seed=3)
    for size in (16, 256):
        monkeypatch.setattr(Engine, "largest_prediction_tile", size)
        losses.append(model.engine().evaluate(samples, OBJECTIVE, 2).loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    outputs = model.outputs(samples.x).astype(np.float64)
    order = np.random.default_rng(0).permutation(300)
    both = [loop(outputs[group], samples.y[group], 0.2) for group in (order[:150], order[150:])]
    assert losses[0] == pytest.approx(sum(map(sum, both)), rel=1e-5)


def test_a_gradient_method_compares_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "tile_for", lambda engine, batch_size: 8)
    from cnnkit.network.execution.numeric import NumericSession
    from tests.network.test_numeric import Differences

    model = Sequential(["Flatten()", "Dense(3)"], (1, 6, 6), dtype="float64")
    args = model.engine(), data(), OBJECTIVE, SGD(0.1), 40
    found, expected = NumericSession(*args, Differences()), Session(*args)
    for session in (found, expected):
        session.step(np.arange(40), (7, 0, 0))
    np.testing.assert_allclose(found.gradient, expected.gradient, rtol=1e-5, atol=1e-8)


def test_a_training_brings_classes_together() -> None:
    digits = load_dataset("Digits()")
    model = Sequential(
        ["Flatten()", "Dense(32)", "ReLU()", "Dense(8)"], digits.input_shape, preprocessing=digits.preprocessing, seed=1
    )
    before = model.evaluate(digits.test.x, digits.test.y, loss="SupCon()")["loss"]
    run = Trainer(optimizer="Adam(0.005)", loss="SupCon()", metrics=[], epochs=8, batch_size=256).fit(model, digits)
    assert run.metrics["loss"] < before - 1
    z = model.predict(digits.test.x)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    similar = z @ z.T
    np.fill_diagonal(similar, -1)
    nearest = digits.test.y[similar.argmax(axis=1)]
    assert np.mean(nearest == digits.test.y) > 0.93


def test_a_recipe_trains_embeddings_of_any_size() -> None:
    layers = {"model.layers": ["Flatten()", "Dense(7)"], "train.loss": "SupCon()", "train.epochs": 1}
    recipe = load_recipe("digits", layers)
    with pytest.raises(ConfigError, match=re.escape("the metric Accuracy() needs an output for each class")):
        train(recipe)
    run = train(recipe.override({"train.metrics": []}))
    assert run.model.output_shape == (7,)
    assert run.model.labels == ()
    assert run.metrics.keys() == {"loss"}


class LooksAtItsTile(SupCon):
    """Forgets that the batch is more than its own samples."""

    def forward(self, outputs: Array, targets: Array, own: slice = slice(None)) -> tuple[Array, Cache]:
        return super().forward(outputs[own], targets[own])

    def backward(self, cache: Cache, weight: float, everyones: Array | None = None) -> Array:
        return super().backward(cache, weight)


def test_one_that_looks_at_its_tile_alone_is_caught() -> None:
    assert issubclass(SupCon, BatchCoupledLoss)
    with pytest.raises(CheckError, match="in smaller tiles; give those of `own` alone"):
        check_loss(LooksAtItsTile())


def test_wrong_outputs_and_targets_are_told() -> None:
    with pytest.raises(ConfigError, match="temperature must be"):
        SupCon(0.0)
    with pytest.raises(ShapeError, match=re.escape("outputs of shape (N, F), got (2, 3, 4, 4)")):
        SupCon().forward(np.zeros((2, 3, 4, 4)), np.zeros(2, np.int64))
    with pytest.raises(ShapeError, match=re.escape("integers of shape (2,); got float64 of shape (2, 3)")):
        SupCon().forward(np.zeros((2, 3)), np.zeros((2, 3)))
