"""Trainer: it learns, repeats, stops when asked, keeps the best, and says what is wrong."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping

import numpy as np
import pytest

from cnnkit.components import Metric
from cnnkit.errors import ConfigError, ShapeError, TrainingError
from cnnkit.network import Sequential
from cnnkit.training import Run, Trainer
from cnnkit.training.callbacks import StopAt
from cnnkit.training.interruption import StopRequest, stop_on_signals
from cnnkit.training.progress import Progress
from cnnkit.types import Array, Data, Samples


def blobs(count: int, seed: int) -> Samples:
    """Three classes around three corners; a linear network can tell them apart."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, count)
    return Samples((np.eye(3)[y] * 4 + rng.normal(size=(count, 3))).astype(np.float32), y)


def data() -> Data:
    return Data(blobs(200, 0), blobs(60, 1), blobs(60, 2), labels=("a", "b", "c"), name="Blobs()", digest="d")


def network(seed: int = 0) -> Sequential:
    return Sequential(["Dense(8)", "ReLU()", "Dropout(0.1)", "Dense(3)"], (3,), seed=seed)


def fit(**options: object) -> Run:
    return Trainer(**({"epochs": 3, "batch_size": 20, "workers": 1} | options)).fit(network(), data())  # type: ignore[arg-type]  # options of any type


def test_it_learns_and_records_every_epoch() -> None:
    run = fit(epochs=10, optimizer="Adam(0.02)", schedule="Cosine(warmup=1.0)")
    assert run.metrics["accuracy"] > 0.9
    assert set(run.history) == {"loss", "accuracy", "validation_loss", "validation_accuracy", "lr", "seconds"}
    assert {len(values) for values in run.history.values()} == {10}
    assert run.history["loss"][-1] < run.history["loss"][0] / 2
    assert run.history["lr"][-1] < run.history["lr"][2]
    assert run.reason == "all epochs done"
    assert run.dataset == {"name": "Blobs()", "digest": "d"}


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    def bits(**options: object) -> bytes:
        return fit(**options).model.parameters.vector.tobytes()

    assert bits() == bits() == bits(workers=2)
    assert bits() != bits(seed=1)


def test_clipping_limits_the_step() -> None:
    def moved(**options: object) -> float:
        model = network()
        before = model.parameters.vector.copy()
        trainer = Trainer(optimizer="SGD(1.0)", epochs=1, batch_size=200, workers=1, **options)  # type: ignore[arg-type]  # options of any type
        trainer.fit(model, data())
        return float(np.linalg.norm(model.parameters.vector - before))

    assert moved(clip_norm=0.01) == pytest.approx(0.01, rel=1e-4)
    assert moved() > 0.02


def test_callbacks_end_the_training_with_a_reason() -> None:
    run = fit(epochs=50, optimizer="Adam(0.02)", callbacks=["StopAt(0.8)"])
    assert len(run.history["loss"]) < 50
    assert run.reason.startswith("validation_accuracy has reached")


def test_keeping_the_best_goes_back_to_it() -> None:
    run = fit(epochs=6, optimizer="SGD(4.0)", keep="best")
    best = max(run.history["validation_accuracy"])
    assert best > run.history["validation_accuracy"][-1]  # else keeping the last would look the same
    validation = data().validation
    assert validation is not None
    assert np.mean(run.model.predict(validation.x) == validation.y) == pytest.approx(best)


class ErrorRate(Metric):
    """The share of wrong predictions."""

    greater_is_better = False

    def sums(self, outputs: Array, targets: Array) -> Array:
        return np.array([(outputs.argmax(axis=1) != targets).sum(), len(targets)], np.float64)

    def value(self, total: Array) -> float:
        return float(total[0] / total[1])


def test_the_best_may_be_the_smallest() -> None:
    run = fit(
        epochs=6,
        optimizer="SGD(4.0)",
        keep="best",
        metrics=[ErrorRate()],
        callbacks=[StopAt(-1, "validation_errorrate")],
    )
    validation = data().validation
    assert validation is not None
    best = min(run.history["validation_errorrate"])
    assert best < run.history["validation_errorrate"][-1]
    assert np.mean(run.model.predict(validation.x) != validation.y) == pytest.approx(best)


def test_every_epoch_has_an_order_of_its_own() -> None:
    seen: list[bytes] = []

    class Watch(Progress):
        def step_done(self, step: int, samples: int, means: Mapping[str, float]) -> None:
            seen.append(np.float64(means["loss"]).tobytes())

    model = Sequential(["Dense(3)"], (3,))
    Trainer(optimizer="SGD(1e-30)", epochs=2, batch_size=50, workers=1, progress=Watch()).fit(model, data())
    assert len(seen) == 8
    assert seen[:4] != seen[4:]  # the weights stay, so only the batches can make a difference


def test_keeping_the_best_needs_validation() -> None:
    with pytest.raises(
        ConfigError,
        match=r"compares epochs by validation samples, and there are none: set data\.validation in the recipe",
    ):
        Trainer(keep="best").fit(network(), (blobs(20, 0).x, blobs(20, 0).y))


def test_callbacks_look_at_what_is_recorded() -> None:
    progress = Recorder(StopRequest(), after=99)
    with pytest.raises(ConfigError, match=r"'validation_loss' is not recorded .* set data\.validation in the recipe"):
        Trainer(callbacks=["EarlyStopping()"], progress=progress).fit(network(), blobs(20, 0))
    assert progress.steps == 0


def test_a_run_says_how_it_was_trained() -> None:
    recipe = fit(optimizer="SGD(0.1, momentum=0.5)", clip_norm=1.0).recipe
    assert recipe is not None
    assert recipe["train"]["optimizer"] == "SGD(lr=0.1, momentum=0.5)"
    assert recipe["train"]["clip_norm"] == 1.0
    again = Trainer(**recipe["train"], workers=1).fit(network(), data())
    assert again.model.parameters.vector.tobytes() == fit(**recipe["train"]).model.parameters.vector.tobytes()


def test_pairs_of_arrays_and_regression() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)).astype(np.float32)
    target = x @ np.array([[1.0], [-2.0], [0.5]], np.float32)
    model = Sequential(["Dense(1)"], (3,))
    run = Trainer(optimizer="Adam(0.05)", loss="MSE()", metrics=[], epochs=30).fit(model, (x, target))
    assert run.history["loss"][-1] < 1e-3
    assert run.metrics == {}


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    with pytest.raises(TrainingError, match=r"epoch 1, step \d+: the loss is .* lower the learning rate"):
        fit(optimizer="SGD(1e30)")


def test_misfits_are_told() -> None:
    with pytest.raises(ShapeError, match=r"takes inputs of shape \(3,\), the data has \(4,\)"):
        Trainer().fit(network(), (np.zeros((2, 4)), np.zeros(2, int)))
    with pytest.raises(ShapeError, match="at least one sample"):
        Trainer().fit(network(), (np.zeros((0, 3)), np.zeros(0, int)))
    with pytest.raises(ConfigError, match=r"expected a dataset, or a pair of arrays \(inputs, targets\), .*; got str"):
        Trainer().fit(network(), "data")  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ConfigError, match="epochs must be a whole number, 1 or above, got 0"):
        Trainer(epochs=0)
    with pytest.raises(ConfigError, match=r"metrics must be a list, such as \['Accuracy\(\)'\], got 'Accuracy\(\)'"):
        Trainer(metrics="Accuracy()")
    with pytest.raises(ConfigError, match=r"expected an optimizer or its expression, got 0\.1"):
        Trainer(optimizer=0.1)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ConfigError, match=r"two metrics are named 'accuracy'"):
        Trainer(metrics=["Accuracy()", "Accuracy()"])


class Recorder(Progress):
    """Keeps what it is told, and may ask for a stop."""

    def __init__(self, stop: StopRequest, after: int) -> None:
        self.stop, self.after, self.steps, self.lines = stop, after, 0, 0

    def step_done(self, step: int, samples: int, means: Mapping[str, float]) -> None:
        self.steps += 1
        if self.steps == self.after:
            self.stop.signal = signal.SIGINT

    def epoch_done(self, means: Mapping[str, float]) -> None:
        self.lines += 1


def test_a_stop_request_ends_after_the_step_and_keeps_the_best() -> None:
    stop = StopRequest()
    progress = Recorder(stop, after=25)
    trainer = Trainer(epochs=50, batch_size=20, workers=1, keep="best", progress=progress)
    run = trainer.fit(network(), data(), stop=stop)
    assert (progress.steps, progress.lines) == (25, 2)
    assert run.signal == signal.SIGINT
    assert run.reason == "stopped by the user"
    assert len(run.history["loss"]) == 2
    assert "accuracy" in run.metrics
    progress.after = 99
    assert trainer.fit(network(), data()).signal is None  # the next one starts afresh


def test_a_stop_in_the_last_step_comes_too_late() -> None:
    stop = StopRequest()
    run = Trainer(epochs=1, batch_size=20, workers=1, progress=Recorder(stop, after=10)).fit(
        network(), data(), stop=stop
    )
    assert (run.reason, len(run.history["loss"])) == ("all epochs done", 1)


def test_the_first_signal_is_a_request_and_the_second_is_obeyed() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_on_signals() as request:
        os.kill(os.getpid(), signal.SIGINT)
        assert request.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_cannot_be_interrupted() -> None:
    found: list[int | None] = []

    def work() -> None:
        with stop_on_signals() as request:
            found.append(request.signal)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [None]


def test_samples_may_be_read_only() -> None:
    samples = blobs(40, 0)
    for array in map(np.asarray, (samples.x, samples.y)):
        array.flags.writeable = False
    assert Trainer(epochs=1, workers=2).fit(network(), samples).history["loss"]


def test_what_is_no_number_is_refused() -> None:
    for x in (np.ones((4, 3), complex), np.ones((4, 3), bool), np.ones((4, 3), object)):
        with pytest.raises(ShapeError, match="expected numbers, uint8 or float"):
            Trainer(epochs=1).fit(network(), (x, np.zeros(4, int)))


def test_no_test_samples_give_no_metrics() -> None:
    empty = Samples(np.zeros((0, 3), np.float32), np.zeros(0, int))
    assert Trainer(epochs=1, workers=1).fit(network(), Data(blobs(40, 0), empty)).metrics == {}
