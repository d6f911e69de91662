"""NaN and infinities: a training stops at the step in which they appear, says where, or goes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnkit.components import Augmentation, Layer, Optimizer
from cnnkit.errors import ConfigError, TrainingError
from cnnkit.layers import BatchNorm2D
from cnnkit.network import Sequential
from cnnkit.training import Checkpoints, Trainer
from cnnkit.training.loop import MOST_ROLLBACKS
from cnnkit.types import Array, Cache, Context, Draws, Grads, Samples
from tests.training.test_checkpoint import DATA, InMemory, StopsAfter, network, outcome, trainer


class Poison(Layer):
    """The identity, but for one infinity in forward or backward."""

    def __init__(self, where: str) -> None:
        self.where = where

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return self._poisoned(x, "forward"), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return self._poisoned(dy, "backward"), {}

    def _poisoned(self, x: Array, where: str) -> Array:
        y = np.array(x)
        if where == self.where:
            y[0, 0] = np.inf
        return y


class Leaps(Optimizer):
    """Plain gradient descent that once makes a step beyond all numbers."""

    def __init__(self, lr: float = 0.1, at: int = 2) -> None:
        self.lr = lr
        self.at = at

    def slots(self) -> tuple[str, ...]:
        return ()

    def update(self, params: Array, grads: Array, state: Any, lr: float, step: int) -> None:
        params -= lr * grads
        if step == self.at and lr > self.lr / 3:
            params[-1] = np.inf


def rows(count: int = 40, dtype: type = np.float32) -> Samples:
    rng = np.random.default_rng(0)
    return Samples(rng.normal(size=(count, 3)).astype(dtype), rng.integers(0, 2, count))


def message(layers: list[Layer | str], samples: Samples, **options: Any) -> str:
    model = Sequential(layers, (3,))
    with pytest.raises(TrainingError) as caught:
        Trainer(**{"epochs": 2, "batch_size": 10, "workers": 1} | options).fit(model, samples)
    return str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_bad_input_is_named_by_its_sample(value: float) -> None:
    samples = rows()
    np.asarray(samples.x)[17, 1] = value
    text = message(["ReLU()", "Dense(2)"], samples)  # which would hide -inf
    assert text.startswith("the input of the training sample 17 is not finite; expected numbers other than NaN")


def test_a_bad_weight_is_named() -> None:
    model = Sequential(["Dense(4)", "ReLU()", "Dense(2)"], (3,))
    model.parameters.vector[13] = np.nan  # of Dense(4) there are 16
    with pytest.raises(TrainingError, match=r"epoch 1, step 1: .* value: the weights 'bias' of dense_1 = Dense\(4"):
        Trainer(epochs=1, workers=1).fit(model, rows())


def test_a_bad_output_is_named_by_its_layer() -> None:
    text = message(["Dense(4)", Poison("forward"), "ReLU()", "Dense(2)"], rows())
    assert 'value: the output of poison_1 = Poison("forward")' in text


def test_a_bad_gradient_is_named_by_the_last_layer_that_has_it() -> None:
    text = message(["Dense(4)", "Dense(5)", Poison("backward"), "Dense(2)"], rows())
    assert "value: the gradient 'bias' of dense_2 = Dense(5" in text


def test_a_bad_target_is_named_by_its_sample() -> None:
    samples = Samples(rows().x, np.ones((40, 1), np.float32))
    samples.y[5] = np.nan
    text = message(["Dense(1)"], samples, loss="MSE()", metrics=[])
    assert text.startswith("the target of the training sample 5 is not finite; expected numbers other than NaN")


def test_an_update_beyond_all_numbers_stops_at_once() -> None:
    text = message(["Dense(4)", "Dense(2)"], rows(), optimizer=Leaps())
    assert text.startswith("epoch 1, step 2: the update overflowed at learning rate 0.1")
    assert "value: the weights 'bias' of dense_2" in text


def test_weights_whose_square_overflows_are_no_mistake() -> None:
    model = Sequential(["Dense(2, bias=False)"], (3,))
    model.parameters.vector[...] = 1e25
    samples = Samples(np.zeros((10, 3), np.float32), np.zeros(10, np.int64))
    run = Trainer(optimizer="SGD(0.1)", epochs=1, workers=1).fit(model, samples)
    assert run.reason == "all epochs done"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_training_goes_back_and_tries_a_lower_rate(workers: int) -> None:
    progress = StopsAfter(99)
    model = Sequential(["Dense(4)", "Dense(2)"], (3,))
    options: dict[str, Any] = {"optimizer": Leaps(at=6), "epochs": 3, "batch_size": 10, "workers": workers}
    run = Trainer(**options, rollback=0.5, progress=progress).fit(model, rows())
    assert len(progress.warnings) == 2
    assert "epoch 2, step 2: the weights 'bias' of dense_2" in progress.warnings[0]
    assert "the epoch restarts with 0.5 times the rate" in progress.warnings[0]
    assert run.history["lr"] == [0.1, 0.025, 0.025]
    assert np.isfinite(model.parameters.vector).all()


def test_a_rollback_goes_back_to_where_the_epoch_began() -> None:
    """The second epoch at a quarter of the rate, after two attempts, is the second epoch at a quarter of the rate."""
    model = Sequential(["Dense(4)", "Dense(2)"], (3,))
    options: dict[str, Any] = {"epochs": 2, "batch_size": 10, "workers": 1}
    Trainer(**options, optimizer=Leaps(at=6), rollback=0.25, progress=StopsAfter(99)).fit(model, rows())
    other = Sequential(["Dense(4)", "Dense(2)"], (3,))
    Trainer(**options | {"epochs": 2}, optimizer="SGD(0.1)", schedule="Step(1, 0.25)").fit(other, rows())
    assert model.parameters.vector.tobytes() == other.parameters.vector.tobytes()


def test_an_epoch_is_begun_again_only_so_often() -> None:
    progress = StopsAfter(99)
    text = message(["Dense(2)", Poison("forward")], rows(), rollback=0.5, clip_norm=1.0, progress=progress)
    assert len(progress.warnings) == MOST_ROLLBACKS
    assert text.endswith("Expected finite numbers: lower the learning rate")  # all else is done already


def test_a_resumed_training_rolls_back_as_the_uninterrupted_one() -> None:
    options: dict[str, Any] = {"optimizer": Leaps(at=8), "rollback": 0.25, "progress": StopsAfter(99)}
    expected = outcome(trainer(**options).fit(network(), DATA))
    for steps in (6, 7, 8, 11):
        store, progress = InMemory(), StopsAfter(steps)
        trainer(**options | {"progress": progress}).fit(
            network(), DATA, stop=progress.request, checkpoints=Checkpoints(store)
        )
        resumed = trainer(**options).fit(network(), DATA, checkpoints=Checkpoints(store, resume=True))
        assert outcome(resumed) == expected


def test_rollback_is_a_factor() -> None:
    for wrong in (0.0, 1.0, 2.0, -0.5):
        with pytest.raises(ConfigError, match="rollback must be a number"):
            Trainer(rollback=wrong)


class Counts(BatchNorm2D):
    """A layer whose forward pass depends on a buffer: it must go back in every worker."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        y, cache = super().forward(x, ctx)
        return y + self.buffers["running_mean"].mean(), cache


@pytest.mark.parametrize("workers", [1, 2])
def test_buffers_go_back_in_every_worker(workers: int) -> None:
    def network() -> Sequential:
        return Sequential(["Conv2D(4, 3)", Counts(), "ReLU()", "Flatten()", "Dense(3)"], (1, 6, 6), seed=1)

    options: dict[str, Any] = {"optimizer": Leaps(at=8), "rollback": 0.25, "batch_size": 80, "metrics": ["Accuracy()"]}
    expected = outcome(trainer(**options, progress=StopsAfter(99)).fit(network(), DATA))
    for steps in (3, 4):
        store, progress = InMemory(), StopsAfter(steps)
        trainer(**options, progress=progress, workers=workers).fit(
            network(), DATA, stop=progress.request, checkpoints=Checkpoints(store)
        )
        resumed = trainer(**options, progress=StopsAfter(99), workers=workers).fit(
            network(), DATA, checkpoints=Checkpoints(store, resume=True)
        )
        assert outcome(resumed) == expected
    unbroken = trainer(**options, progress=StopsAfter(99), workers=workers).fit(network(), DATA)
    assert outcome(unbroken) == expected


def test_a_buffer_beyond_all_numbers_ends_the_epoch() -> None:
    model = network()
    norm = model.nodes[1].layer
    assert isinstance(norm, BatchNorm2D)
    norm.buffers["running_var"][0] = np.inf
    with pytest.raises(TrainingError, match=r"value: the buffer 'running_var' of batch_norm2d_1"):
        trainer().fit(model, DATA)


def test_a_large_gradient_is_clipped_although_its_squares_overflow() -> None:
    model = Sequential(["Dense(1, bias=False)"], (3,))
    x, y = np.full((10, 3), 1e10, np.float32), np.full((10, 1), 1e12, np.float32)
    options: dict[str, Any] = {"loss": "MSE()", "metrics": [], "epochs": 1, "batch_size": 10, "workers": 1}
    run = Trainer(**options, optimizer="SGD(1e-3)", clip_norm=1.0).fit(model, (x, y))
    assert run.reason == "all epochs done"


class Spoils(Augmentation):
    """Makes NaN of the third training sample."""

    def apply(self, x: Array, draws: Draws) -> Array:
        x[x[:, 0, 0, 0] == 3] = np.nan
        return x


def test_nan_from_an_augmentation_is_told_as_such() -> None:
    x = np.zeros((20, 1, 2, 2), np.float32) + np.arange(20, dtype=np.float32)[:, None, None, None]
    trainer = Trainer(augmentations=[Spoils()], epochs=1, batch_size=20)
    with pytest.raises(TrainingError, match="First non-finite value: the training sample 3, after its augmentations"):
        trainer.fit(Sequential(["Flatten()", "Dense(2)"], (1, 2, 2)), Samples(x, np.arange(20) % 2))


def test_after_a_rollback_updates_are_counted_from_where_the_epoch_began() -> None:
    """Adam's first steps are corrected by their number: a wrong one gives other weights."""
    numbers: list[int] = []

    class Counts(Leaps):
        def update(self, params: Array, grads: Array, state: Any, lr: float, step: int) -> None:
            numbers.append(step)
            super().update(params, grads, state, lr, step)

    options: dict[str, Any] = {"epochs": 2, "batch_size": 10, "rollback": 0.25, "workers": 1}
    with pytest.warns(RuntimeWarning, match="the epoch restarts"):
        Trainer(optimizer=Counts(at=6), **options).fit(Sequential(["Dense(2)"], (3,)), rows())
    assert numbers == [1, 2, 3, 4, 5, 6, 5, 6, 7, 8]
