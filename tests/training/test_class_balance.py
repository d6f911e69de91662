"""Weights of classes and balanced sampling: exact numbers, the same bits for any workers, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit import Sequential, Trainer, load_recipe
from cnnkit.errors import ConfigError, RecipeError
from cnnkit.losses import CrossEntropy, WeightedCrossEntropy
from cnnkit.network import Network
from cnnkit.registry import Registry
from cnnkit.testing import check_loss
from cnnkit.training.checkpoint import Checkpoints
from cnnkit.training.class_balance import balanced_order, class_weights
from cnnkit.training.interruption import StopRequest
from cnnkit.training.one_batch import overfit_one_batch
from cnnkit.training.range_test import range_test
from cnnkit.training.recipe import Recipe
from cnnkit.training_options import TrainingOptions
from cnnkit.types import Array, Data, Samples

WEIGHTS = np.array([0.5, 2.0, 0.0, 1.25])
RARE = np.repeat([0, 1, 3], [60, 30, 10])
"""Of four classes; one has no samples."""


def weighted(smoothing: float = 0.0) -> WeightedCrossEntropy:
    return WeightedCrossEntropy(WEIGHTS.tolist(), smoothing)


def cases(shape: tuple[int, ...]) -> tuple[Array, list[Array]]:
    """Outputs of four classes with targets: class indices, and shares of the classes."""
    rng = np.random.default_rng(0)
    outputs = 3 * rng.standard_normal((9, 4, *shape))
    shares = rng.random(outputs.shape)
    return outputs, [rng.integers(0, 4, (9, *shape)), shares / shares.sum(axis=1, keepdims=True)]


@pytest.mark.parametrize("shape", [(), (2, 3)], ids=["samples", "pixels"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", [0, 1], ids=["indices", "shares"])
def test_the_weighted_loss_equals_pytorch(shape: tuple[int, ...], smoothing: float, kind: int) -> None:
    torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    outputs, targets = cases(shape)
    theirs = torch.tensor(outputs, requires_grad=True)
    loss = torch.nn.CrossEntropyLoss(torch.tensor(WEIGHTS), label_smoothing=smoothing, reduction="none")
    expected = loss(theirs, torch.tensor(targets[kind])).mean()
    expected.backward()
    losses, cache = weighted(smoothing).forward(outputs, targets[kind])
    np.testing.assert_allclose(losses.mean(), expected.item(), rtol=1e-6)
    gradient = weighted(smoothing).backward(cache, 1 / len(outputs))
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("shape", [(), (2, 3)], ids=["samples", "pixels"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_its_gradient_equals_finite_differences_and_it_keeps_the_contract(
    shape: tuple[int, ...], smoothing: float
) -> None:
    outputs, targets = cases(shape)
    for one in targets:
        check_loss(weighted(smoothing), (4, *shape), targets=one, outputs=outputs)


def test_weights_of_one_change_nothing() -> None:
    outputs, (targets, _) = cases(())
    ones = WeightedCrossEntropy([1.0] * 4, 0.1)
    np.testing.assert_allclose(ones.forward(outputs, targets)[0], CrossEntropy(0.1).forward(outputs, targets)[0])


def options(**given: Any) -> TrainingOptions:
    return TrainingOptions(**given)


def test_balanced_weights_are_those_of_the_training_samples() -> None:
    weights = class_weights(options(class_weight="balanced"), RARE, (), 4)
    assert weights == pytest.approx((100 / 3 / 60, 100 / 3 / 30, 0.0, 100 / 3 / 10))
    assert sum(np.array(weights)[RARE]) == pytest.approx(100)
    shares = np.eye(4)[RARE]
    assert class_weights(options(class_weight="balanced"), shares, (), 4) == weights
    masks = np.broadcast_to(RARE[:, None, None], (100, 2, 2))
    assert class_weights(options(class_weight="balanced"), masks, (), 4) == weights


def test_weights_are_a_list_or_have_names_or_numbers() -> None:
    labels = ("cat", "dog", "cow", "hen")
    for given in ([1, 2, 3, 0.5], np.array([1, 2, 3, 0.5]), (1, 2, 3, 0.5), {0: 1, 1: 2, 2: 3, "hen": 0.5}):
        assert class_weights(options(class_weight=given), RARE, labels, 4) == (1.0, 2.0, 3.0, 0.5)
    assert class_weights(options(class_weight={"dog": 3}), RARE, labels, 4) == (1.0, 3.0, 1.0, 1.0)
    assert class_weights(options(), RARE, labels, 4) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("balance", "class_weight must be one of 'balanced', got 'balance'"),
        ([1, -1], "class_weight must be a number with 0 <= class_weight < inf, got -1"),
        ([0, 0.0], r"class_weight must have a weight above 0, got \[0, 0.0\]"),
        (3, r"class_weight must be a list, such as \[3\], got 3"),
        ([1.0, 2.0], r"class_weight needs one weight for each of the 4 classes, got 2: \[1.0, 2.0\]"),
        ({"horse": 2.0}, "a weight for the class 'horse', which there is not: expected the numbers 0 to 3"),
    ],
)
def test_weights_that_mean_nothing_are_refused(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        class_weights(options(class_weight=given), RARE, (), 4)


def test_only_cross_entropy_has_weights() -> None:
    with pytest.raises(ConfigError, match=r"in the loss CrossEntropy, and the loss is MSE\(\): remove class_weight"):
        class_weights(options(class_weight="balanced", loss="MSE()"), RARE, (), 4)


def test_a_balanced_epoch_has_as_many_of_each_class() -> None:
    for epoch in range(3):
        order = balanced_order(0, epoch, RARE)
        assert order.shape == (100,)
        assert sorted(np.bincount(RARE[order], minlength=4)) == [0, 33, 33, 34]
        times = np.bincount(order, minlength=100)
        assert {*times[RARE == 0]} == {0, 1}
        assert {*times[RARE == 1]} <= {1, 2}
        assert {*times[RARE == 3]} <= {3, 4}
    assert (balanced_order(0, 1, RARE) == balanced_order(0, 1, RARE)).all()
    assert not (balanced_order(0, 1, RARE) == balanced_order(0, 2, RARE)).all()
    assert not (balanced_order(0, 1, RARE) == balanced_order(1, 1, RARE)).all()
    assert sorted(balanced_order(0, 0, np.arange(3))) == [0, 1, 2]


def samples(dtype: str = "int64") -> Samples:
    """Three overlapping clouds, the last one rare."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [300, 280, 20])
    centres = np.array([[-1, 0], [1, 0], [0, 1.5]])
    return Samples((centres[y] + 0.8 * rng.standard_normal((600, 2))).astype(np.float32), y.astype(dtype))


def model(seed: int = 0) -> Network:
    return Sequential(["Dense(16)", "ReLU()", "Dense(3)"], (2,), seed=seed)


BALANCED: list[dict[str, Any]] = [{"class_weight": "balanced"}, {"sampling": "balanced"}]


def trainer(**more: Any) -> Trainer:
    given: dict[str, Any] = {"optimizer": "Adam(0.01)", "epochs": 8, "batch_size": 128}
    return Trainer(**(given | more))


def recall(network: Network) -> float:
    """The share of the rare class that is found."""
    part = samples()
    return float((network.predict(part.x) == 2)[part.y == 2].mean())


@pytest.mark.parametrize("more", BALANCED, ids=str)
def test_more_of_a_rare_class_is_found(more: dict[str, Any]) -> None:
    plain, balanced = (trainer(**one).fit(model(), samples()).model for one in ({}, more))
    assert recall(plain) < 0.5 < recall(balanced)


@pytest.mark.parametrize("more", BALANCED, ids=str)
def test_workers_change_no_bit(more: dict[str, Any]) -> None:
    states = [trainer(workers=workers, epochs=2, **more).fit(model(), samples()).model.state() for workers in (1, 2)]
    for name, array in states[0].items():
        assert array.tobytes() == states[1][name].tobytes()


class Kept:
    """A checkpoint store in memory."""

    def save(self, record: Any, arrays: Any) -> None:
        self.record, self.arrays = dict(record), {name: array.copy() for name, array in arrays.items()}

    def load(self) -> Any:
        return self.record, self.arrays


class AfterSteps(StopRequest):
    """Stops after so many looks."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._left = looks

    @property
    def signal(self) -> int | None:
        self._left -= 1
        return 2 if self._left < 0 else None

    @signal.setter
    def signal(self, value: int | None) -> None:
        """Nobody else decides."""


@pytest.mark.parametrize("more", BALANCED, ids=str)
def test_a_training_goes_on_to_the_same_bits(more: dict[str, Any]) -> None:
    whole = trainer(**more).fit(model(), samples())
    store = Kept()
    stopped = trainer(**more).fit(model(), samples(), stop=AfterSteps(7), checkpoints=Checkpoints(store))
    assert stopped.partial_steps
    resumed = trainer(**more).fit(model(), samples(), checkpoints=Checkpoints(store, resume=True))
    assert resumed.history["loss"] == whole.history["loss"]
    for name, array in whole.model.state().items():
        assert array.tobytes() == resumed.model.state()[name].tobytes()


def test_what_is_recorded(tmp_path: Path) -> None:
    run = trainer(epochs=1, class_weight="balanced").fit(model(), samples())
    assert run.settings["class_weight"] == pytest.approx([600 / 900, 600 / 840, 10.0])
    assert run.recipe
    assert run.recipe["train"]["class_weight"] == "balanced"
    version = Registry(tmp_path).save(run.model, "rare", **run.record())
    assert Registry(tmp_path).read(version.ref).manifest.settings["class_weight"] == run.settings["class_weight"]
    assert "class_weight" not in trainer(epochs=1).fit(model(), samples()).settings


def test_validation_losses_are_without_weights() -> None:
    from cnnkit.types import Data

    data = Data(samples(), samples(), samples())
    run = trainer(epochs=1, class_weight=[100.0, 100.0, 100.0]).fit(model(), data)
    assert run.history["loss"][0] > 20 * run.history["validation_loss"][0]
    assert run.metrics["loss"] == run.history["validation_loss"][0]


@pytest.mark.parametrize("given", ["balanced", [1.0, 5.0], {"cat": 2.0, 'do"g': 0.5}])
def test_recipes_say_it(given: Any) -> None:
    recipe = load_recipe("digits", {"class_weight": given, "sampling": "balanced"})
    assert Recipe.from_toml(recipe.to_toml(), "again") == recipe
    assert recipe.to_dict()["train"]["class_weight"] == given
    assert trainer(class_weight=given).recipe()["class_weight"] == given
    assert load_recipe("digits", ["class_weight={cat = 2.0}"]).train.class_weight == {"cat": 2.0}


def test_recipes_say_what_was_expected() -> None:
    with pytest.raises(RecipeError, match=r'train\.class_weight: expected "balanced", or the weights .* found 3'):
        load_recipe("digits", {"class_weight": 3})
    with pytest.raises(RecipeError, match=r"train\.sampling: expected \"balanced\", found 'even'"):
        load_recipe("digits", {"sampling": "even"})


def test_values_cannot_be_balanced() -> None:
    values = Samples(samples().x, np.zeros((600, 3), np.float32))
    with pytest.raises(ConfigError, match='sampling = "balanced" draws all classes equally often, and the training ta'):
        trainer(sampling="balanced", loss="MSE()", metrics=[]).fit(model(), values)


def test_what_tries_a_training_out_knows_the_classes_by_name_too() -> None:
    x = np.random.default_rng(0).standard_normal((100, 4)).astype(np.float32)
    named = Samples(x, np.where(x[:, 0] > 0, "cat", "dog"))
    one = Trainer(class_weight={"cat": 2.0}, optimizer="SGD(0.1)", progress=False)
    for tried in (overfit_one_batch, range_test):
        tried(one, Sequential(["Dense(2)"], (4,)), Data(named, named), steps=11)
