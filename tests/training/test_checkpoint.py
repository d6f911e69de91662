"""Checkpoints: a training that goes on from one gives the same bits as one that was never interrupted."""

from __future__ import annotations

import errno
import signal
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Callback, Metric
from cnnkit.errors import ConfigError, RegistryError, ShapeError, TrainingError
from cnnkit.network import Sequential
from cnnkit.training import Checkpoints, Run, Trainer
from cnnkit.training import checkpoint as module
from cnnkit.training.interruption import StopRequest
from cnnkit.training.progress import Progress
from cnnkit.types import Array, Data, Samples

EPOCHS, STEPS = 3, 5


class InMemory:
    """A store; what it was given is copied, as a file would be."""

    def __init__(self) -> None:
        self.content: tuple[dict[str, Any], dict[str, Array]] | None = None
        self.saved = 0
        self.error: Exception | None = None

    def save(self, record: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        if self.error:
            raise self.error
        self.content = dict(record), {name: np.array(array) for name, array in arrays.items()}
        self.saved += 1

    def load(self) -> tuple[dict[str, Any], dict[str, Array]]:
        if self.content is None:
            raise RegistryError("no checkpoint")
        record, arrays = self.content
        return dict(record), {name: np.array(array) for name, array in arrays.items()}


class StopsAfter(Progress):
    """Asks for a stop after some steps."""

    def __init__(self, steps: int) -> None:
        self.request, self.left = StopRequest(), steps
        self.warnings: list[str] = []

    def step_done(self, step: int, samples: int, means: Mapping[str, float]) -> None:
        self.left -= 1
        if self.left == 0:
            self.request.signal = signal.SIGINT

    def warn(self, text: str) -> None:
        self.warnings.append(text)


class ErrorRate(Metric):
    """The share of wrong predictions."""

    greater_is_better = False

    def sums(self, outputs: Array, targets: Array) -> Array:
        return np.array([(outputs.argmax(axis=1) != targets).sum(), len(targets)], np.float64)

    def value(self, total: Array) -> float:
        return float(total[0] / total[1])


def images(count: int, seed: int) -> Samples:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, count)
    return Samples((rng.integers(0, 100, (count, 1, 6, 6)) + 60 * y[:, None, None, None]).astype(np.uint8), y)


DATA = Data(images(96, 0), images(30, 1), images(30, 2), name="Images()", digest="d")


def network() -> Sequential:
    layers = ["Conv2D(4, 3)", "BatchNorm2D()", "ReLU()", "Flatten()", "Dropout(0.3)", "Dense(3)"]
    return Sequential(layers, (1, 6, 6), seed=1)


def trainer(progress: Progress | None = None, **options: Any) -> Trainer:
    settings: dict[str, Any] = {
        "optimizer": "Adam(0.02)",
        "schedule": "Cosine(warmup=0.5)",
        "metrics": ["Accuracy()", ErrorRate()],
        "epochs": EPOCHS,
        "batch_size": 20,
        "workers": 1,
        "keep": "best",
    }
    return Trainer(**settings | options, progress=progress)


def outcome(run: Run) -> dict[str, Any]:
    """All that two equal trainings have in common."""
    history = {name: values for name, values in run.history.items() if name != "seconds"}
    state = {name: array.tobytes() for name, array in run.model.state().items()}
    return {"state": state, "history": history, "metrics": run.metrics, "reason": run.reason}


AVERAGED: dict[str, Any] = {"average": 0.8, "augmentations": ["Shift(1)"], "rollback": 0.5}


@pytest.mark.parametrize("options", [{}, AVERAGED, AVERAGED | {"keep": "last"}], ids=["plain", "averaged", "last"])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("steps", range(1, EPOCHS * STEPS))
def test_an_interrupted_training_goes_on_to_the_same_bits(steps: int, workers: int, options: dict[str, Any]) -> None:
    expected = outcome(trainer(**options).fit(network(), DATA))
    store, progress = InMemory(), StopsAfter(steps)
    stopped = trainer(progress, workers=workers, **options).fit(
        network(), DATA, stop=progress.request, checkpoints=Checkpoints(store)
    )
    assert (stopped.reason, store.saved) == ("stopped by the user", 1)
    resumed = trainer(workers=3 - workers, **options).fit(network(), DATA, checkpoints=Checkpoints(store, resume=True))
    assert outcome(resumed) == expected


@pytest.mark.parametrize(
    "forgotten",
    [
        "updates",
        "sums",
        "Optimizer.mean",
        "conv2d_1.weight",
        "Average_all.parameters",
        "Average_batch_norm2d_1.running_mean",
    ],
)
def test_positive_control_what_a_checkpoint_forgets_is_noticed(forgotten: str) -> None:
    expected = outcome(trainer(**AVERAGED).fit(network(), DATA))
    store, progress = InMemory(), StopsAfter(7)
    trainer(progress, **AVERAGED).fit(network(), DATA, stop=progress.request, checkpoints=Checkpoints(store))
    assert store.content is not None
    record, arrays = store.content
    if forgotten in arrays:
        arrays[forgotten] *= 0
    elif forgotten == "updates":
        record["position"]["updates"] = 0
    else:
        record["position"]["sums"]["loss"] = 0.0
    resumed = trainer(**AVERAGED).fit(network(), DATA, checkpoints=Checkpoints(store, resume=True))
    assert outcome(resumed) != expected


def test_checkpoints_are_written_every_so_many_steps_and_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    by_steps, by_time, never = InMemory(), InMemory(), InMemory()
    trainer().fit(network(), DATA, checkpoints=Checkpoints(by_steps, steps=4, minutes=None))
    assert by_steps.saved == (EPOCHS * STEPS - 1) // 4 + 1  # and one in the end
    clock = iter(range(0, 10**6, 30))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    trainer().fit(network(), DATA, checkpoints=Checkpoints(by_time, minutes=1.0))
    assert by_time.saved == (EPOCHS * STEPS - 1) // 2 + 1
    trainer().fit(network(), DATA, checkpoints=Checkpoints(never, minutes=None))
    assert never.saved == 1


def test_a_checkpoint_that_cannot_be_written_ends_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.0)
    store, progress = InMemory(), StopsAfter(99)
    store.error = OSError(errno.ENOSPC, "No space left on device")
    checkpoints = Checkpoints(store, steps=3, minutes=None)
    run = trainer(progress).fit(network(), DATA, checkpoints=checkpoints)
    assert outcome(run) == outcome(trainer().fit(network(), DATA))
    assert len(progress.warnings) > 2  # it is tried again after each step
    assert "No space left on device" in progress.warnings[0]
    assert "No space left on device" in checkpoints.failure


def test_a_retry_that_succeeds_ends_the_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.0)
    store = InMemory()

    class Recovers(StopsAfter):
        def warn(self, text: str) -> None:
            store.error = None

    store.error = OSError(errno.ENOSPC, "full")
    checkpoints = Checkpoints(store, steps=100, minutes=None)
    monkeypatch.setattr(checkpoints, "_steps_since", 99)
    trainer(Recovers(99)).fit(network(), DATA, checkpoints=checkpoints)
    assert (store.saved, checkpoints.failure) == (2, "")


def test_another_training_is_not_continued() -> None:
    store, progress = InMemory(), StopsAfter(3)
    trainer(progress).fit(network(), DATA, stop=progress.request, checkpoints=Checkpoints(store))
    resume = Checkpoints(store, resume=True)
    with pytest.raises(ConfigError, match=r"to another training: its train is .*Adam\(lr=0.02.*here it is .*0.05"):
        trainer(optimizer="Adam(0.05)").fit(network(), DATA, checkpoints=resume)
    with pytest.raises(ConfigError, match="to another training: its layers is"):
        trainer().fit(Sequential(["Flatten()", "Dense(3)"], (1, 6, 6)), DATA, checkpoints=resume)
    other = Data(DATA.train, DATA.test, DATA.validation, name="Images()", digest="e")
    with pytest.raises(ConfigError, match="to another training: its dataset is"):
        trainer().fit(network(), other, checkpoints=resume)


@pytest.mark.parametrize(
    "position",
    [
        {"epoch": "1"},
        {"epoch": 1.5},
        {"epoch": 2**63},
        {"epoch": 4},
        {"step": -1},
        {"step": 99},
        {"step": 0},
        {"updates": True},
        {"unknown": 1},
        {"sums": {"count": 1}},
        {"sums": {"count": -256, "loss": 1.0, "metrics": []}},
        {"sums": {"count": 20, "loss": 1.0, "metrics": [{"a": 1}]}},
        {"sums": None},
        {"history": {"loss": "low"}},
        {"history": {"loss": [1.0] * 50}},
        {"history": []},
        {"rate_factor": -1.0},
        {"rate_factor": 2.0},
        {"best": "good"},
        {"best": 0.5},
        {"seconds": -1.0},
    ],
    ids=str,
)
def test_a_checkpoint_with_a_wrong_position_is_refused(position: dict[str, Any]) -> None:
    store, progress = InMemory(), StopsAfter(3)
    trainer(progress).fit(network(), DATA, stop=progress.request, checkpoints=Checkpoints(store))
    assert store.content is not None
    store.content[0]["position"] |= position
    with pytest.raises(TrainingError, match="the checkpoint"):
        trainer().fit(network(), DATA, checkpoints=Checkpoints(store, resume=True))


def test_a_checkpoint_with_other_vectors_is_refused() -> None:
    store, progress = InMemory(), StopsAfter(3)
    trainer(progress).fit(network(), DATA, stop=progress.request, checkpoints=Checkpoints(store))
    assert store.content is not None
    store.content[1]["Optimizer.mean"] = np.zeros(3, np.float32)
    with pytest.raises(ShapeError, match="the checkpoint has the vectors"):
        trainer().fit(network(), DATA, checkpoints=Checkpoints(store, resume=True))


class Remembers(Callback):
    """Ends a training after three epochs that it has seen, which it counts itself."""

    def start(self, quantities: Mapping[str, bool]) -> None:
        self.seen = 0

    def after_epoch(self, history: Mapping[str, list[float]]) -> str:
        self.seen += 1
        return "enough" if self.seen == 3 else ""


def test_callbacks_see_every_epoch_again() -> None:
    options: dict[str, Any] = {"epochs": 6, "callbacks": [Remembers()]}
    expected = outcome(trainer(**options).fit(network(), DATA))
    assert expected["reason"] == "enough"
    for steps in (4, 5, 6, 9, 10, 14):
        store, progress = InMemory(), StopsAfter(steps)
        trainer(progress, **options).fit(network(), DATA, stop=progress.request, checkpoints=Checkpoints(store))
        assert outcome(trainer(**options).fit(network(), DATA, checkpoints=Checkpoints(store, resume=True))) == expected


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="steps must be a whole number, 1 or above"):
        Checkpoints(InMemory(), steps=0)
    with pytest.raises(ConfigError, match="minutes must be a number above 0"):
        Checkpoints(InMemory(), minutes=0)


def test_a_training_that_is_done_is_done() -> None:
    store = InMemory()
    done = trainer().fit(network(), DATA, checkpoints=Checkpoints(store))
    again = trainer().fit(network(), DATA, checkpoints=Checkpoints(store, resume=True))
    assert outcome(again) == outcome(done)


def test_weights_that_are_not_finite_are_not_continued() -> None:
    store = InMemory()
    trainer().fit(network(), DATA, checkpoints=Checkpoints(store))
    assert store.content is not None
    store.content[1]["dense_1.weight"][0, 0] = np.nan
    with pytest.raises(TrainingError, match="it has weights that are not finite"):
        trainer().fit(network(), DATA, checkpoints=Checkpoints(store, resume=True))
