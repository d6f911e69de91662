"""Training without backpropagation: it learns, repeats, goes on, and says what is wrong."""

from __future__ import annotations

import importlib.metadata
import signal
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from cnnkit import load_recipe, train
from cnnkit.components import GradientMethod
from cnnkit.errors import ComponentError, ConfigError, TrainingError
from cnnkit.network import Sequential
from cnnkit.training import Checkpoints, Run, Trainer
from cnnkit.training.interruption import StopRequest
from cnnkit.training.progress import Progress
from cnnkit.types import Array, Data, Samples


class Differences(GradientMethod):
    """A forward difference for each parameter, with steps to a random side."""

    def gradient(self, loss: Callable[[Array], float], params: Array, rng: np.random.Generator) -> Array:
        here = loss(params)
        steps = 1e-6 * rng.choice([-1.0, 1.0], len(params))
        moved = params + np.diag(steps)
        return np.array([loss(row) - here for row in moved]) / steps


class Broken(GradientMethod):
    """NaN, but for the steps that are told."""

    def __init__(self, wrong: int) -> None:
        self.wrong, self._step = wrong, 0

    def gradient(self, loss: Callable[[Array], float], params: Array, rng: np.random.Generator) -> Array:
        self._step += 1
        return np.full(len(params), np.nan if self._step == self.wrong else 0.1)


def images(count: int, seed: int) -> Samples:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, count)
    return Samples((rng.integers(0, 100, (count, 1, 6, 6)) + 60 * y[:, None, None, None]).astype(np.uint8), y)


DATA = Data(images(96, 0), images(30, 1), images(30, 2), name="Images()", digest="d")


def network() -> Sequential:
    layers = ["Conv2D(2, 3)", "BatchNorm2D()", "ReLU()", "MaxPool2D(2)", "Flatten()", "Dropout(0.2)", "Dense(3)"]
    return Sequential(layers, (1, 6, 6), seed=1)


def trainer(**options: Any) -> Trainer:
    settings: dict[str, Any] = {"optimizer": "Adam(0.05)", "gradient": Differences(), "epochs": 4, "batch_size": 20}
    return Trainer(**{"workers": 1} | settings | options)


def outcome(run: Run) -> dict[str, Any]:
    """All that two equal trainings have in common."""
    history = {name: values for name, values in run.history.items() if name != "seconds"}
    return {"state": {name: array.tobytes() for name, array in run.model.state().items()}, "history": history}


def test_it_learns() -> None:
    run = trainer(epochs=8).fit(network(), DATA)
    assert run.history["loss"][-1] < run.history["loss"][0] / 2
    assert run.metrics["accuracy"] > 0.8


def test_it_follows_backpropagation() -> None:
    one, other = (trainer(optimizer="SGD(0.1)", gradient=g).fit(network(), DATA) for g in (Differences(), None))
    np.testing.assert_allclose(one.model.parameters.vector, other.model.parameters.vector, atol=2e-4)
    assert outcome(one) != outcome(other)


def test_the_same_bits_whatever_the_workers_and_others_for_another_seed() -> None:
    expected = outcome(trainer().fit(network(), DATA))
    assert outcome(trainer().fit(network(), DATA)) == expected
    run = trainer(workers=2).fit(network(), DATA)
    assert outcome(run) == expected
    assert run.settings["workers"] == 1
    assert outcome(trainer(seed=1).fit(network(), DATA)) != expected


class InMemory:
    """Keeps copies, as a file would."""

    content: tuple[dict[str, Any], dict[str, Array]]

    def save(self, record: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.content = dict(record), {name: np.array(array) for name, array in arrays.items()}

    def load(self) -> tuple[dict[str, Any], dict[str, Array]]:
        record, arrays = self.content
        return dict(record), {name: np.array(array) for name, array in arrays.items()}


class StopsAfter(Progress):
    """Asks for a stop after some steps."""

    def __init__(self, steps: int) -> None:
        self.request, self.left = StopRequest(), steps

    def step_done(self, step: int, samples: int, means: Mapping[str, float]) -> None:
        self.left -= 1
        if self.left == 0:
            self.request.signal = signal.SIGINT


@pytest.mark.parametrize("steps", [1, 5, 8, 19])
def test_an_interrupted_training_goes_on_to_the_same_bits(steps: int) -> None:
    options = {"average": 0.9, "keep": "best"}
    expected = outcome(trainer(**options).fit(network(), DATA))
    store, progress = InMemory(), StopsAfter(steps)
    stopped = trainer(progress=progress, **options).fit(
        network(), DATA, stop=progress.request, checkpoints=Checkpoints(store)
    )
    assert stopped.reason == "stopped by the user"
    again = trainer(workers=2, **options).fit(network(), DATA, checkpoints=Checkpoints(store, resume=True))
    assert outcome(again) == expected


def test_a_checkpoint_of_another_gradient_method_is_refused() -> None:
    store, progress = InMemory(), StopsAfter(3)
    trainer(progress=progress).fit(network(), DATA, stop=progress.request, checkpoints=Checkpoints(store))
    with pytest.raises(ConfigError, match="the checkpoint belongs to another training: its train is"):
        trainer(gradient=None).fit(network(), DATA, checkpoints=Checkpoints(store, resume=True))


@pytest.mark.filterwarnings("ignore:the inputs are not scaled")
def test_what_is_not_finite_is_told_and_gone_back_from() -> None:
    with pytest.raises(
        TrainingError,
        match=r"epoch 1, step 3: .* First non-finite value: the gradient 'bias' of dense_1",
    ):
        trainer(gradient=Broken(3)).fit(network(), DATA)
    with pytest.warns(RuntimeWarning, match=r"'bias' of dense_1 .* restarts with 0\.5 times the rate"):
        run = trainer(gradient=Broken(3), rollback=0.5).fit(network(), DATA)
    assert run.history["lr"] == [0.025] * 4


def test_a_run_says_which_gradient_method_it_had() -> None:
    assert trainer().recipe()["gradient"] == "Differences()"
    assert "gradient" not in trainer(gradient=None).recipe()


def test_a_gradient_method_must_be_one() -> None:
    with pytest.raises(ConfigError, match=r"^expected a gradient method or its expression, got 3$"):
        Trainer(gradient=3)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ComponentError, match=r"^there is no gradient method named 'Adam'"):
        Trainer(gradient="Adam()")


@pytest.mark.skipif(
    any(found.name == "cnnkit-finite-difference" for found in importlib.metadata.distributions()),
    reason="cnnkit-finite-difference is installed in the running environment",
)
def test_without_its_plugin_the_shipped_recipe_tells_what_to_install() -> None:
    with pytest.raises(ComponentError) as caught:
        train(load_recipe("mnist-numeric"))
    assert str(caught.value) == (
        "there is no gradient method named 'FiniteDifference'\n"
        "  FiniteDifference comes with cnnkit-finite-difference; from cnnkit's source, run: "
        "pip install ./plugins/cnnkit-finite-difference"
    )
