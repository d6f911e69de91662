"""Hints: each trouble has a network that shows it, trainings that learn have none, and nothing they compute changes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from cnnkit import Sequential, Trainer, load_dataset, load_recipe, train
from cnnkit.components import Layer
from cnnkit.network import Network
from cnnkit.training.checkpoint import Checkpoints
from cnnkit.training.data_checks import Validated
from cnnkit.training.one_batch import overfit_one_batch
from cnnkit.training.progress import Progress
from cnnkit.training.training_hints import Hints
from cnnkit.types import Array, Context, Data, Grads, Preprocessing, Samples
from tests.training.test_class_balance import AfterSteps, Kept

DIGITS = load_dataset("Digits()")
BODY = ["Conv2D(8, 3)", "ReLU()", "MaxPool2D(2)", "Flatten()", "Dense(10)"]


class Told(Progress):
    """Remembers warnings."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def warn(self, text: str) -> None:
        self.texts.append(text)


def network(layers: Any = tuple(BODY), **options: Any) -> Network:
    given: dict[str, Any] = {"preprocessing": DIGITS.preprocessing}
    return Sequential(list(layers), DIGITS.input_shape, **(given | options))


def hints(model: Network, data: Any = DIGITS, **options: Any) -> list[str]:
    """What a training tells; the run has the same."""
    told = Told()
    given: dict[str, Any] = {"optimizer": "Adam(0.01)", "epochs": 5, "progress": told}
    run = Trainer(**(given | options)).fit(model, data)
    assert run.settings.get("hints", []) == told.texts
    return told.texts


# Trouble


def test_inputs_that_are_not_scaled() -> None:
    (text,) = hints(network(preprocessing=Preprocessing(), layers=["Flatten()", "Dense(10)"]), optimizer="SGD(1e-4)")
    assert text == (
        "the inputs are not scaled: after preprocessing they reach from 0 to 16, and networks learn best from about "
        "-1 to 1: build the model with Preprocessing(scale=...) or with the data's mean and std"
    )


def dead() -> Network:
    model = network()
    model.load_state({name: array - (100 if name == "conv2d_1.bias" else 0) for name, array in model.state().items()})
    return model


def test_a_layer_of_dead_rectifiers() -> None:
    (text,) = hints(dead(), optimizer="SGD(0.01)")
    assert text == (
        "relu_1: all outputs are 0 for 32 training samples, so no gradient passes: try a lower learning rate, "
        "BatchNorm2D() before it, or LeakyReLU() instead"
    )


def test_a_loss_that_does_not_move() -> None:
    (text,) = hints(network(), optimizer="SGD(1e-9)", epochs=15)
    assert text.startswith("the loss has not changed: 2.")
    assert text.endswith(
        "after 5 epochs, on 32 training samples: try a higher learning rate (--find-lr suggests one), and check layers "
        "of your own with `cnnkit gradcheck`"
    )


class Blind(Layer):
    """Shows nothing of its input."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Array]:
        return np.zeros_like(x), x

    def backward(self, dy: Array, x: Array, ctx: Context) -> tuple[Array, Grads]:
        return np.zeros_like(x), {}


def test_predictions_of_one_class_for_balanced_targets() -> None:
    (text,) = hints(network(["Flatten()", Blind(), "Dense(10)"]))
    assert text.startswith("all predictions for 32 training samples are the class ")
    assert text.endswith("have: try a lower learning rate, and look whether inputs and targets belong together")


def clouds(share: float, distance: float = 0.0, samples: int = 2000) -> Samples:
    """Two classes whose inputs are this far from each other."""
    rng = np.random.default_rng(0)
    y = (rng.random(samples) < share).astype(np.int64)
    return Samples((rng.standard_normal((samples, 8)) + distance * y[:, None]).astype(np.float32), y)


def test_a_rare_class_that_is_never_predicted() -> None:
    model = Sequential(["Dense(16)", "ReLU()", "Dense(2)"], (8,), labels=["sane", "ill"])
    (text,) = hints(model, clouds(0.2), optimizer="SGD(0.05)")
    assert re.fullmatch(
        r"all predictions for 48 training samples are the class 'sane', which 79% of all have; never predicted: "
        r"'ill' \(419 training samples\): try class_weight=\"balanced\" or sampling=\"balanced\", and look whether "
        "inputs and targets belong together",
        text,
    )


def test_a_class_of_one_in_twenty_is_looked_at() -> None:
    y = np.arange(1000) // 950
    x = np.random.default_rng(0).standard_normal((1000, 4)).astype(np.float32)
    (text,) = hints(Sequential(["Dense(2)"], (4,)), Samples(x, y), optimizer="Adam(0.01)", epochs=20)
    assert "are the class 0, which 95% of all have; never predicted: 1 (50 training samples): try class_w" in text


def test_rare_classes_beside_others_that_are_learned() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [900, 900, 60])
    x = rng.standard_normal((len(y), 8)).astype(np.float32) + 3 * (y == 1)[:, None].astype(np.float32)
    (text,) = hints(Sequential(["Dense(3)"], (8,)), Samples(x, y), optimizer="Adam(0.01)")
    assert text == (
        "never predicted for 48 training samples: 2 (60 training samples): try "
        'class_weight="balanced" or sampling="balanced"'
    )


def memorized(share: float, **options: Any) -> list[str]:
    """What is told of a network that has seen this share of what it is asked, of two classes of noise."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((80, 3, 4, 4)).astype(np.float32), np.arange(80) % 2
    seen = round(40 * share)
    order = np.r_[:seen, 40 : 80 - seen]
    model = Sequential(["Flatten()", "Dense(64)", "ReLU()", "Dense(2)"], (3, 4, 4))
    data = Validated(Samples(x[:40], y[:40]), Samples(x[order], y[order]))
    return hints(model, data, epochs=30, batch_size=8, **options)


def test_what_is_learned_by_heart() -> None:
    (text,) = memorized(0.0)
    assert re.fullmatch(
        r"the accuracy is 1.000 on the training samples and 0\.\d{3} on 40 validation samples: what was learned holds "
        r"for the training samples alone \(overfitting\); try more samples, augmentations, channels=1 where colours do "
        r"not matter, weight decay as in AdamW\(0.001, weight_decay=0.1\), or Dropout\(0.3\) before the last layer",
        text,
    )
    assert "more samples, stronger augmentations, channels=1" in memorized(0.0, augmentations=["Brightness(0.1)"])[0]
    assert memorized(1.0) == []
    assert memorized(0.0, metrics=[]) == []


def test_guessing() -> None:
    rng = np.random.default_rng(0)
    noise = Samples(DIGITS.train.x, rng.permutation(DIGITS.train.y))
    (text,) = hints(network(), noise, optimizer="Adam(0.001)")
    assert text.startswith("the accuracy on 32 training samples is 0.")
    assert "about that of guessing, 1/10 = 0.100: try another learning rate (--find-lr suggests one) and" in text


def test_a_trouble_is_told_once() -> None:
    assert len(hints(dead(), optimizer="SGD(0.01)", epochs=9)) == 1


# Trainings that learn


@pytest.mark.parametrize("name", ["digits", "digits-notebook"])
def test_recipes_learn_without_a_word(name: str) -> None:
    told = Told()
    train(load_recipe(name, {"epochs": 3}), progress=told)
    assert told.texts == []


@pytest.mark.parametrize("optimizer", ["SGD(0.01)", "SGD(0.1, momentum=0.9)", "Adam(0.001)", "Adam(0.03)"])
@pytest.mark.parametrize("batch_size", [16, 64, 512])
def test_good_rates_learn_without_a_word(optimizer: str, batch_size: int) -> None:
    assert hints(network(), optimizer=optimizer, batch_size=batch_size, epochs=6) == []


def regression(samples: int = 500) -> Samples:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((samples, 5)).astype(np.float32)
    return Samples(x, (x @ rng.standard_normal((5, 2)) + 3).astype(np.float32))


def test_values_are_learned_without_a_word() -> None:
    model = Sequential(["Dense(16)", "ReLU()", "Dense(2)"], (5,))
    assert hints(model, regression(), loss="MSE()", metrics=[]) == []


def test_labels_are_learned_without_a_word() -> None:
    data = regression()
    labels = Samples(data.x, (data.y > 3).astype(np.uint8))
    model = Sequential(["Dense(16)", "ReLU()", "Dense(2)"], (5,))
    assert hints(model, labels, loss="BinaryCrossEntropy()", metrics=[]) == []


def test_masks_are_learned_without_a_word() -> None:
    masks = Samples(DIGITS.train.x, (DIGITS.train.x[:, 0] > 8).astype(np.int64))
    assert hints(network(["Conv2D(2, 1)"]), masks, optimizer="Adam(0.1)") == []


def test_float64_learns_without_a_word() -> None:
    assert hints(network(dtype="float64")) == []


def test_few_samples_are_learned_without_a_word() -> None:
    for count in (1, 2, 10, 40):
        assert hints(network(), DIGITS.train.take(slice(count)), epochs=30, optimizer="Adam(0.003)") == []


@pytest.mark.parametrize("share", [0.5, 0.3, 0.1, 0.02])
def test_two_classes_are_learned_without_a_word(share: float) -> None:
    model = Sequential(["Dense(16)", "ReLU()", "Dense(2)"], (8,))
    assert hints(model, clouds(share, 1.0), optimizer="Adam(0.01)") == []


def test_inputs_that_are_normalised_or_learned_need_no_hint() -> None:
    raw = Preprocessing()
    assert hints(network(["BatchNorm2D()", *BODY], preprocessing=raw)) == []
    assert hints(network(preprocessing=raw), optimizer="Adam(0.01)") == []
    data = regression()
    x = np.array(data.x)
    x[0, 0] = 20.0
    assert hints(Sequential(["Dense(2)"], (5,)), Samples(x, data.y), loss="MSE()", metrics=[]) == []


# What they must not do


def test_they_change_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = ["Conv2D(8, 3)", "BatchNorm2D()", "ReLU()", "Flatten()", "Dropout(0.2)", "Dense(10)"]
    data = Data(DIGITS.train, DIGITS.test, DIGITS.test)
    options: Any = {"epochs": 2, "average": 0.9, "augmentations": ["Shift(1)"]}
    one = Trainer(**options).fit(network(layers), data)
    monkeypatch.setattr(Hints, "begin", lambda self: None)
    monkeypatch.setattr(Hints, "after", lambda self, epoch, accuracy, is_last: {})
    other = Trainer(**options).fit(network(layers), data)
    for name, array in one.model.state().items():
        assert array.tobytes() == other.model.state()[name].tobytes()
    assert (one.history["loss"], one.metrics) == (other.history["loss"], other.metrics)


class OnlyTrains(Layer):
    """Fails in a prediction."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, None]:
        if not ctx.training:
            raise ZeroDivisionError
        return x, None

    def backward(self, dy: Array, cache: None, ctx: Context) -> tuple[Array, Grads]:
        return dy, {}


def test_a_look_that_fails_does_not_end_the_training() -> None:
    assert hints(network([OnlyTrains(), *BODY]), DIGITS.train) == []


@pytest.mark.parametrize("steps", [30, 130, 140])
def test_a_resumed_training_tells_each_trouble_once(steps: int) -> None:
    options: Any = {"optimizer": "SGD(1e-9)", "epochs": 15}
    expected = hints(network(), **options)
    assert expected[0].startswith("the loss has not changed: ")
    told, store = Told(), Kept()
    trainer = Trainer(**options, progress=told)
    trainer.fit(network(), DIGITS, stop=AfterSteps(steps), checkpoints=Checkpoints(store))
    run = trainer.fit(network(), DIGITS, checkpoints=Checkpoints(store, resume=True))
    assert run.settings["hints"] == told.texts == expected


class Exploding(Layer):
    """The inputs, but once infinities in a training."""

    def __init__(self, at: int) -> None:
        self.at = at
        self._seen = 0

    def forward(self, x: Array, ctx: Context) -> tuple[Array, None]:
        self._seen += ctx.training
        return (x + np.float32(np.inf) if ctx.training and self._seen == self.at else x), None

    def backward(self, dy: Array, cache: None, ctx: Context) -> tuple[Array, Grads]:
        return dy, {}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_training_that_went_back_tells_the_same() -> None:
    told = Told()
    model = network([Exploding(100), *BODY])
    Trainer(optimizer="SGD(1e-9)", epochs=5, rollback=0.5, workers=1, progress=told).fit(model, DIGITS)
    assert "the epoch restarts" in told.texts[0]
    assert told.texts[1].startswith("the loss has not changed: ")


def test_values_that_are_learned_are_learned_after_a_pause_too() -> None:
    data = regression()
    far = Samples(np.asarray(data.x) * 20 + 20, data.y)

    def unscaled() -> Network:
        return Sequential(["Dense(2)"], (5,))

    options: Any = {"optimizer": "Adam(0.01)", "epochs": 30, "loss": "MSE()", "metrics": []}
    assert hints(unscaled(), far, **options) == []
    told, store = Told(), Kept()
    trainer = Trainer(**options, progress=told)
    trainer.fit(unscaled(), far, stop=AfterSteps(3), checkpoints=Checkpoints(store))
    trainer.fit(unscaled(), far, checkpoints=Checkpoints(store, resume=True))
    assert told.texts == []


def test_one_batch_is_looked_at_too() -> None:
    told = Told()
    overfit_one_batch(Trainer(progress=told), network(preprocessing=Preprocessing()), DIGITS, steps=5)
    assert [text[:29] for text in told.texts] == ["the inputs are not scaled: af"]
    overfit_one_batch(Trainer(progress=told), network(), DIGITS, steps=5)
    assert len(told.texts) == 1
